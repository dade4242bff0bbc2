"""The labelled samples that a training run reads, and their order.

The order is a function of the seed and the step alone: an epoch permutes the shards, and the
samples of a few shards (a block) are shuffled together. The ranks of a step take slices of one
global batch. So a resumed run starts in the middle of an epoch without reading what came before,
and the number of ranks does not change the result. `webdataset` reads the shards, from any URL
that fsspec knows. The next batches are decoded while a step computes.
"""

from __future__ import annotations

import io
import json
import random
from collections import deque
from collections.abc import Iterator, Mapping, Sequence
from concurrent.futures import Future, ThreadPoolExecutor
from dataclasses import dataclass, replace
from functools import lru_cache
from typing import Protocol

from pipeline.schema import KINDS, IndexRow, Record
from pipeline.storage import layout
from pipeline.storage.arrow import from_dict
from pipeline.storage.images import decode_image
from pipeline.storage.manifest import digest
from pipeline.storage.parquet import read_table
from pipeline.storage.store import Store
from stages.base import Sample, thread_count

# Shards whose samples are shuffled together.
BLOCK_SHARDS = 4
# Decoded batches that wait for a step.
AHEAD = 2
IMAGE_EXTENSIONS = ("jpg", "jpeg", "png", "webp", "bmp", "gif", "tif", "tiff", "avif")


class ShardLocation(Protocol):
    """Where shards lie in a store: a round's node, or a `ShardFolder`."""

    @property
    def fingerprint(self) -> str: ...

    def tar(self, shard: str) -> str: ...


@dataclass(frozen=True, slots=True)
class ShardFolder:
    """A folder of shards; it need not belong to a run."""

    name: str
    """Path of the folder below the store; empty for the store itself."""
    fingerprint: str = ""
    """Empty: such a folder has no recipe."""

    def tar(self, shard: str) -> str:
        return layout.tar_in(self.name, shard)


@dataclass(frozen=True, slots=True)
class TrainingSet:
    """The samples that may be trained on."""

    store: Store
    """The store that holds the shards."""
    node: ShardLocation
    """Where in the store they lie."""
    keys: Mapping[str, Sequence[str]]
    """Keys of the samples, by shard."""

    def __len__(self) -> int:
        return sum(len(keys) for keys in self.keys.values())

    def batches(
        self, first_step: int, size: int, seed: int, rank: int, world_size: int
    ) -> Iterator[list[Sample]]:
        """Yield this rank's slice of each step's global batch of `size` samples, without end."""
        waiting: deque[Future[list[Sample]]] = deque()
        with ThreadPoolExecutor(1) as reader, ThreadPoolExecutor(thread_count()) as decoders:

            def load_batch(items: Sequence[tuple[str, str]]) -> list[Sample]:
                encoded = [self.read(shard, key) for shard, key in items]
                return list(decoders.map(_decoded, encoded))

            for items in self._slices(first_step, size, seed, rank, world_size):
                waiting.append(reader.submit(load_batch, items))
                if len(waiting) > AHEAD:
                    yield waiting.popleft().result()

    def read(self, shard: str, key: str) -> tuple[bytes, Record]:
        """Return the encoded image of a sample and its record with the kept labels only."""
        return _shard(self.store.url, self.node.tar(shard))[key]

    def samples(self, shard: str, keys: Sequence[str]) -> list[Sample]:
        """Decode these samples of a shard, in this order."""
        return [_decoded(self.read(shard, key)) for key in keys]

    def _slices(
        self, first_step: int, size: int, seed: int, rank: int, world_size: int
    ) -> Iterator[list[tuple[str, str]]]:
        """Yield (shard, key) of the samples of each of this rank's batches."""
        epoch, skip = divmod(first_step * size, len(self))
        first = rank * size // world_size
        last = (rank + 1) * size // world_size
        batch: list[tuple[str, str]] = []
        while True:
            for item in self._epoch(seed, epoch, skip):
                batch.append(item)
                if len(batch) == size:
                    yield batch[first:last]
                    batch = []
            epoch += 1
            skip = 0

    def _epoch(self, seed: int, epoch: int, skip: int) -> Iterator[tuple[str, str]]:
        """Yield (shard, key) of an epoch's samples after the first `skip`."""
        draw = random.Random(f"{seed} {epoch}")
        shards = sorted(self.keys)
        draw.shuffle(shards)
        for start in range(0, len(shards), BLOCK_SHARDS):
            order: list[tuple[str, str]] = []
            for shard in shards[start : start + BLOCK_SHARDS]:
                order += [(shard, key) for key in self.keys[shard]]
            draw.shuffle(order)
            yield from order[skip:]
            skip = max(0, skip - len(order))


def find_training_set(url: str) -> tuple[TrainingSet, str]:
    """Find all labelled samples at `url`, and the digest of their labels.

    `url` names a round, a folder of a round's shards, or a work folder, which stands for its head.

    Raises:
        ValueError: there are no shards, or they hold no labels.
    """
    store, folder = Store(url), ""
    if store.exists(layout.HEAD):
        folder = layout.named_round(store.read_json(layout.HEAD)["round"])
    index = layout.round_index(folder)
    name = layout.round_shards(folder) if store.list(layout.round_shards(folder)) else folder
    found = [layout.shard_of_tar(file) for file in store.list(name)]
    shards = [shard for shard in found if shard is not None]
    if not shards:
        raise ValueError(
            f"{url}: no shards there; give WORK, WORK/rounds/NN-.. or a folder of .tar files "
            "of a round"
        )
    location = ShardFolder(name)
    if store.exists(index):
        keys, labels = _read_index(store, index)
    else:
        keys, labels = _scan(store, location, shards)
    labelled = {shard: shard_keys for shard, shard_keys in keys.items() if shard_keys}
    data = TrainingSet(store, location, labelled)
    if not len(data):
        raise ValueError(f"{url}: no labelled sample in {len(shards)} shards; nothing to train on")
    return data, labels


def _read_index(store: Store, index: str) -> tuple[dict[str, list[str]], str]:
    """Return the keys of the labelled samples by shard, and the digest of the index."""
    keys: dict[str, list[str]] = {}
    rows: list[IndexRow] = read_table(store, index, IndexRow)
    for row in rows:
        if any(getattr(row, kind) for kind in KINDS):
            keys.setdefault(row.shard, []).append(row.key)
    return keys, digest(store.read(index).hex())


def _scan(
    store: Store, location: ShardLocation, shards: Sequence[str]
) -> tuple[dict[str, list[str]], str]:
    """Read shards that have no index; return what `_read_index` does, with the records' digest."""
    keys: dict[str, list[str]] = {}
    records: list[str] = []
    for shard in shards:
        keys[shard] = []
        for key, members in _members(store, location.tar(shard)):
            record = from_dict(Record, json.loads(members["json"]))
            records.append(members["json"].decode())
            if len(record.annotations.kept()):
                keys[shard].append(key)
    return keys, digest(*records)


# The last few shards stay in memory: a batch can lie in two blocks, and a small set is read again
# in every epoch.
@lru_cache(maxsize=2 * BLOCK_SHARDS)
def _shard(url: str, tar: str) -> dict[str, tuple[bytes, Record]]:
    """Read a shard: encoded image and record with kept labels, by key."""
    return {key: _parsed(key, members) for key, members in _members(Store(url), tar)}


def _members(store: Store, tar: str) -> Iterator[tuple[str, dict[str, bytes]]]:
    """Yield (key, {extension: bytes}) of each sample of a shard.

    Raises:
        ValueError: a sample has no record (`KEY.json`).
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
    kept = replace(record, annotations=record.annotations.kept())
    for name, data in members.items():
        if name in IMAGE_EXTENSIONS:
            return data, kept
    raise ValueError(f"{key}: its shard holds no image; give a round that holds its images")


def _decoded(encoded: tuple[bytes, Record]) -> Sample:
    image, record = encoded
    return Sample(
        key=record.key,
        size=(record.width, record.height),
        annotations=record.annotations,
        image=decode_image(image),
    )
