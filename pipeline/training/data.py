"""What a training run reads: shards of a round, in an order that is a function of the seed and the step alone.

Epochs permute shards, blocks of shards are shuffled together, and the ranks of a step take slices of one global batch.
So a resumed run starts in the middle of an epoch without reading what came before, and the number of ranks changes
nothing. Shards are read by `webdataset`, from any URL that fsspec knows; the next batches are decoded while a step
computes.
"""

from __future__ import annotations

import io
import json
import random
from collections import deque
from collections.abc import Iterator, Mapping, Sequence
from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass, replace
from functools import lru_cache
from typing import Any, Protocol

from pipeline.schema import KINDS, IndexRow, Record
from pipeline.storage import layout
from pipeline.storage.arrow import from_dict
from pipeline.storage.images import decode_image
from pipeline.storage.manifest import digest
from pipeline.storage.parquet import read_table
from pipeline.storage.rounds import read_head
from pipeline.storage.store import Store
from stages.base import Sample, thread_count

BLOCK_SHARDS = 4
AHEAD = 2  # batches that wait decoded
IMAGE_EXTENSIONS = ("jpg", "jpeg", "png", "webp", "bmp", "gif", "tif", "tiff", "avif")


class Shards(Protocol):
    """Where shards lie in a work folder: a round's node, or a `Folder`."""

    @property
    def fingerprint(self) -> str: ...

    def tar(self, shard: str) -> str: ...


@dataclass(frozen=True, slots=True)
class Folder:
    """A folder of shards that no run of ours need have made."""

    name: str
    fingerprint: str = ""

    def tar(self, shard: str) -> str:
        return layout.tar_in(self.name, shard)


@dataclass(frozen=True, slots=True)
class TrainingSetRef:
    """A training set without an open store, so that it can be sent to another process."""

    url: str
    node: Shards
    keys: Mapping[str, Sequence[str]]

    def open(self) -> TrainingSet:
        """The training set, in the process that has received this."""
        return TrainingSet(Store(self.url), self.node, self.keys)


@dataclass(frozen=True, slots=True)
class TrainingSet:
    """The samples that may be trained on: keys by shard."""

    store: Store
    node: Shards
    keys: Mapping[str, Sequence[str]]

    def __len__(self) -> int:
        return sum(len(keys) for keys in self.keys.values())

    def ref(self) -> TrainingSetRef:
        """These samples in a form that another process can take."""
        return TrainingSetRef(self.store.url, self.node, dict(self.keys))

    def batches(
        self, first_step: int, size: int, seed: int, rank: int, world_size: int
    ) -> Iterator[list[Sample]]:
        """This rank's slice of the global batch of each step from `first_step` on, without end."""
        waiting: deque[Any] = deque()
        with ThreadPoolExecutor(1) as reader, ThreadPoolExecutor(thread_count()) as decoders:

            def read(items: Sequence[tuple[str, str]]) -> list[Sample]:
                return list(decoders.map(_sample, [self.read(*item) for item in items]))

            for items in self._slices(first_step, size, seed, rank, world_size):
                waiting.append(reader.submit(read, items))
                if len(waiting) > AHEAD:
                    yield waiting.popleft().result()

    def read(self, shard: str, key: str) -> tuple[bytes, Record]:
        """The image's bytes and the kept labels of a sample."""
        return _load(self.store.url, self.node.tar(shard))[key]

    def _slices(
        self, first_step: int, size: int, seed: int, rank: int, world_size: int
    ) -> Iterator[list[tuple[str, str]]]:
        epoch, skip = divmod(first_step * size, len(self))
        mine = slice(rank * size // world_size, (rank + 1) * size // world_size)
        batch: list[tuple[str, str]] = []
        while True:
            for item in self._epoch(seed, epoch, skip):
                batch.append(item)
                if len(batch) == size:
                    yield batch[mine]
                    batch = []
            epoch, skip = epoch + 1, 0

    def _epoch(self, seed: int, epoch: int, skip: int) -> Iterator[tuple[str, str]]:
        """(shard, key) of an epoch from number `skip` on."""
        draw = random.Random(f"{seed} {epoch}")
        shards = sorted(self.keys)
        draw.shuffle(shards)
        for start in range(0, len(shards), BLOCK_SHARDS):
            order = [
                (shard, key)
                for shard in shards[start : start + BLOCK_SHARDS]
                for key in self.keys[shard]
            ]
            draw.shuffle(order)
            yield from order[skip:]
            skip = max(0, skip - len(order))


def find(url: str) -> tuple[TrainingSet, str]:
    """All labelled samples of the round or of the folder of round shards that `url` names, and the digest of their
    labels. WORK stands for its head.

    Raises:
        ValueError: there are no shards, or they hold no labels.
    """
    store, folder = Store(url), ""
    head = read_head(store)
    if head is not None:
        folder = head.folder
    index = layout.round_index(folder)
    name = layout.round_shards(folder) if store.list(layout.round_shards(folder)) else folder
    found = [layout.shard_of_tar(file) for file in store.list(name)]
    shards = [shard for shard in found if shard is not None]
    if not shards:
        raise ValueError(
            f"{url}: no shards there; give WORK, WORK/rounds/NN-.. or a folder of .tar files of a round"
        )
    where = Folder(name)
    if store.exists(index):
        keys: dict[str, list[str]] = {}
        rows: list[IndexRow] = read_table(store, index, IndexRow)
        for row in rows:
            if any(getattr(row, kind) for kind in KINDS):
                keys.setdefault(row.shard, []).append(row.key)
        mark = digest(store.read(index).hex())
    else:
        keys, mark = _scanned(store, where, shards)
    data = TrainingSet(store, where, {shard: each for shard, each in keys.items() if each})
    if not len(data):
        raise ValueError(f"{url}: no labelled sample in {len(shards)} shards; nothing to train on")
    return data, mark


def _scanned(
    store: Store, where: Shards, shards: Sequence[str]
) -> tuple[dict[str, list[str]], str]:
    """The labelled keys of shards without an index, and the digest of their records."""
    keys: dict[str, list[str]] = {}
    seen = []
    for shard in shards:
        keys[shard] = []
        for key, members in _samples(store, where.tar(shard)):
            record = from_dict(Record, json.loads(members["json"]))
            seen.append(members["json"].decode())
            if len(record.annotations.kept()):
                keys[shard].append(key)
    return keys, digest(*seen)


@lru_cache(maxsize=2 * BLOCK_SHARDS)
def _load(url: str, tar: str) -> dict[str, tuple[bytes, Record]]:
    """Image bytes and kept labels of every key of a shard; the last few shards stay in memory, for a batch may straddle
    two blocks and a small set is read in every epoch."""
    return {key: _parsed(key, members) for key, members in _samples(Store(url), tar)}


def _samples(store: Store, tar: str) -> Iterator[tuple[str, dict[str, bytes]]]:
    """(key, {extension: bytes}) of each sample of a shard.

    Raises:
        ValueError: one has no labels of ours.
    """
    from webdataset.tariterators import group_by_keys, tar_file_expander

    stream = io.BytesIO(store.read(tar))
    for sample in group_by_keys(tar_file_expander([{"url": tar, "stream": stream}])):
        key = sample["__key__"]
        members = {name: data for name, data in sample.items() if not name.startswith("__")}
        if "json" not in members:
            raise ValueError(f"{store.path(tar)}: {key} has no .json; give shards of a round")
        yield key, members


def _parsed(key: str, members: dict[str, bytes]) -> tuple[bytes, Record]:
    record: Record = from_dict(Record, json.loads(members["json"]))
    image = next((data for name, data in members.items() if name in IMAGE_EXTENSIONS), None)
    if image is None:
        raise ValueError(f"{key}: its shard holds no image; give a round that holds its images")
    return image, replace(record, annotations=record.annotations.kept())


def _sample(read: tuple[bytes, Record]) -> Sample:
    image, record = read
    size = (record.width, record.height)
    return Sample(
        key=record.key, size=size, annotations=record.annotations, image=decode_image(image)
    )
