"""The samples of a shard, as a training run reads them from its tar.

`webdataset` reads the tar, from any URL that fsspec knows.
"""

from __future__ import annotations

import io
import tarfile
from collections.abc import Iterator
from dataclasses import dataclass, replace
from functools import lru_cache
from typing import Protocol

from pipeline.rows import Record
from pipeline.storage import layout
from pipeline.storage.checks import broken
from pipeline.storage.images import decode_image, with_images
from pipeline.storage.store import Store
from pipeline.storage.tars import END
from pipeline.training.order import BLOCK_SHARDS
from stages.base import Sample

NO_TAR = "it is no tar, or its end is cut off"


class ShardLocation(Protocol):
    """Where shards lie in a store: a round's node, or a `ShardFolder`."""

    @property
    def fingerprint(self) -> str:
        """Name of the recipe that made the shards; empty if it is not known."""
        ...

    def tar(self, shard: str) -> str:
        """Return the path of a shard's tar below the store."""
        ...


@dataclass(frozen=True, slots=True)
class ShardFolder:
    """A folder of shards; it need not belong to a run."""

    name: str
    """Path of the folder below the store; empty for the store itself."""
    fingerprint: str = ""
    """Empty: such a folder has no recipe."""

    def tar(self, shard: str) -> str:
        """Return the path of a shard's tar below the store."""
        return layout.tar_in(self.name, shard)


@dataclass(frozen=True, slots=True)
class EncodedSample:
    """A sample as it is stored."""

    image: bytes
    """The encoded image, such as a JPEG."""
    record: Record
    """Its record, with the kept labels only."""

    def decoded(self) -> Sample:
        """Decode the image; the result is what stages and the training read."""
        return Sample(
            key=self.record.key,
            size=(self.record.width, self.record.height),
            annotations=self.record.annotations,
            image=decode_image(self.image),
        )


# The last few shards stay in memory: a batch can lie in two blocks, and a small set is read again
# in every epoch.
@lru_cache(maxsize=2 * BLOCK_SHARDS)
def read_shard(url: str, tar: str, shard: str) -> dict[str, EncodedSample]:
    """Read all samples of a shard, by key.

    Raises:
        ValueError: nothing holds the image of a sample.
        BrokenFiles: an image or the tar has other bytes than were stored.
    """
    store = Store(url)
    samples: dict[str, EncodedSample] = {}
    for sample in with_images(store, shard, tar, read_members(store, tar)):
        labels = sample.record.annotations.kept()
        record = replace(sample.record, annotations=labels)
        samples[sample.key] = EncodedSample(sample.image, record)
    return samples


def read_members(store: Store, tar: str) -> Iterator[tuple[str, dict[str, bytes]]]:
    """Yield (key, {extension: bytes}) of each sample of a shard.

    Raises:
        ValueError: a sample has no record (`KEY.json`).
        BrokenFiles: it is no tar, or a cut one.
    """
    from webdataset.tariterators import group_by_keys, tar_file_expander

    data = store.read(tar)
    if not data.endswith(END):
        # A tar that is cut between two members looks like a shorter one.
        raise broken(store, tar, NO_TAR)
    stream = io.BytesIO(data)
    files = tar_file_expander([{"url": tar, "stream": stream}])
    samples = group_by_keys(files)
    while True:
        try:
            sample = next(samples, None)
        except tarfile.TarError as error:
            raise broken(store, tar, NO_TAR) from error
        if sample is None:
            return
        key = sample["__key__"]
        # webdataset's own entries begin with two underscores.
        members = {name: data for name, data in sample.items() if not name.startswith("__")}
        if "json" not in members:
            raise ValueError(f"{store.shown(tar)}: {key} has no .json; give shards of a round")
        yield key, members
