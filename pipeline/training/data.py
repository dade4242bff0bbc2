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

from pipeline.errors import RunFailed
from pipeline.schema import IndexRow, Record
from pipeline.storage import layout
from pipeline.storage.arrow import from_dict
from pipeline.storage.images import StoredSample, decode_image, with_images
from pipeline.storage.manifest import digest
from pipeline.storage.parquet import read_table
from pipeline.storage.round_parts import read_parts
from pipeline.storage.rounds import read_head
from pipeline.storage.store import Store
from pipeline.training.selection import Selection
from stages.base import Sample, thread_count

# Shards whose samples are shuffled together.
BLOCK_SHARDS = 4
# Decoded batches that wait for a step.
AHEAD = 2


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


@dataclass(frozen=True, slots=True)
class SampleId:
    """Where a sample is."""

    shard: str
    key: str


class KeySource(Protocol):
    """Tells the keys of a shard's samples that may be trained on."""

    def keys(self, store: Store, shard: str) -> Sequence[str]:
        """Return the keys, in the order of the shard."""
        ...


@dataclass(frozen=True, slots=True)
class ListedKeys:
    """Keys that somebody has listed."""

    by_shard: Mapping[str, Sequence[str]]

    def keys(self, store: Store, shard: str) -> Sequence[str]:
        """Return the keys of a shard."""
        return self.by_shard[shard]


@dataclass(frozen=True, slots=True)
class IndexedKeys:
    """Keys that are read from the index of a round when they are needed."""

    folder: str
    """Folder of the round below the store."""
    selection: Selection
    """Which of its samples are taken."""

    def keys(self, store: Store, shard: str) -> Sequence[str]:
        """Read the keys of a shard."""
        name = layout.shard_index(self.folder, shard)
        rows: list[IndexRow] = read_table(store, name, IndexRow)
        human = self.selection.held_out.human_keys(store, shard)
        return [row.key for row in rows if self.selection.takes(row, row.key in human)]


@dataclass(frozen=True, slots=True)
class TrainingSetRef:
    """A training set without an open store, so that it can be sent to another process."""

    url: str
    """URL of the store."""
    node: ShardLocation
    """Where in the store the shards lie."""
    source: KeySource
    """The keys of the samples."""
    counts: Mapping[str, int]
    """The number of samples by shard."""

    def open(self) -> TrainingSet:
        """Open the training set, in the process that has received this."""
        return TrainingSet(Store(self.url), self.node, self.source, self.counts)


@dataclass(frozen=True, slots=True)
class TrainingSet:
    """The samples that may be trained on. Their keys are known shard by shard, when needed."""

    store: Store
    """The store that holds the shards."""
    node: ShardLocation
    """Where in the store they lie."""
    source: KeySource
    """The keys of the samples."""
    counts: Mapping[str, int]
    """The number of samples by shard, of the shards that have any."""

    @classmethod
    def listed(
        cls, store: Store, node: ShardLocation, keys: Mapping[str, Sequence[str]]
    ) -> TrainingSet:
        """Return the set of these samples, which are given by their keys by shard."""
        filled = {shard: shard_keys for shard, shard_keys in keys.items() if shard_keys}
        counts = {shard: len(shard_keys) for shard, shard_keys in filled.items()}
        return cls(store, node, ListedKeys(filled), counts)

    def __len__(self) -> int:
        """Return the number of samples."""
        return sum(self.counts.values())

    def ref(self) -> TrainingSetRef:
        """Return these samples in a form that another process can take."""
        return TrainingSetRef(self.store.url, self.node, self.source, dict(self.counts))

    def keys(self, shard: str) -> Sequence[str]:
        """Return the keys of a shard's samples.

        Raises:
            RunFailed: there are more or fewer than were counted.
        """
        keys = self.source.keys(self.store, shard)
        if len(keys) != self.counts[shard]:
            raise RunFailed(
                f"{self.store.shown(self.node.tar(shard))}: {len(keys)} samples to train on, "
                f"{self.counts[shard]} were counted; `fld verify` finds broken files"
            )
        return keys

    def batches(
        self, first_step: int, size: int, seed: int, rank: int, world_size: int
    ) -> Iterator[list[Sample]]:
        """Yield the samples of one rank in each step from `first_step` on, without end.

        `size` is that of the global batch: the number of samples of a step over all ranks.

        One thread reads shards while others decode, and a few batches are kept ready.
        """
        waiting: deque[Future[list[Sample]]] = deque()
        with (
            ThreadPoolExecutor(1) as reader,
            ThreadPoolExecutor(thread_count()) as decoders,
        ):

            def load_batch(ids: Sequence[SampleId]) -> list[Sample]:
                encoded = [self.read(sample.shard, sample.key) for sample in ids]
                return list(decoders.map(EncodedSample.decoded, encoded))

            for ids in self._slices(first_step, size, seed, rank, world_size):
                batch = reader.submit(load_batch, ids)
                waiting.append(batch)
                if len(waiting) > AHEAD:
                    ready = waiting.popleft()
                    yield ready.result()

    def read(self, shard: str, key: str) -> EncodedSample:
        """Return a sample as it is stored."""
        tar = self.node.tar(shard)
        return _read_shard(self.store.url, tar, shard)[key]

    def samples(self, shard: str, keys: Sequence[str]) -> list[Sample]:
        """Decode these samples of a shard, in this order."""
        decoded = []
        for key in keys:
            sample = self.read(shard, key)
            decoded.append(sample.decoded())
        return decoded

    def _slices(
        self, first_step: int, size: int, seed: int, rank: int, world_size: int
    ) -> Iterator[list[SampleId]]:
        """Yield one rank's slice of each global batch from step `first_step` on, without end.

        A batch may begin in one epoch and end in the next.
        """
        seen = first_step * size
        epoch, skip = divmod(seen, len(self))
        first = rank * size // world_size
        last = (rank + 1) * size // world_size
        batch: list[SampleId] = []
        while True:
            for sample in self._epoch(seed, epoch, skip):
                batch.append(sample)
                if len(batch) == size:
                    yield batch[first:last]
                    batch = []
            epoch += 1
            skip = 0

    def _epoch(self, seed: int, epoch: int, skip: int) -> Iterator[SampleId]:
        """Yield the samples of an epoch in their order, without the first `skip`.

        The whole order is drawn in any case, so it does not depend on `skip`.
        """
        draw = random.Random(f"{seed} {epoch}")
        shards = sorted(self.counts)
        draw.shuffle(shards)
        for start in range(0, len(shards), BLOCK_SHARDS):
            block = shards[start : start + BLOCK_SHARDS]
            size = sum(self.counts[shard] for shard in block)
            if skip >= size:
                # A shuffle of as many items takes as many random numbers; no key is read.
                draw.shuffle(list(range(size)))
                skip -= size
                continue
            order: list[SampleId] = []
            for shard in block:
                for key in self.keys(shard):
                    order.append(SampleId(shard, key))
            draw.shuffle(order)
            yield from order[skip:]
            skip = 0


def find_training_set(url: str) -> tuple[TrainingSet, str]:
    """Find all labelled samples at `url`, and the digest of their labels.

    `url` names a round, a folder of a round's shards, or a work folder, which stands for its head.

    Raises:
        ValueError: there are no shards, or they hold no labels.
    """
    store, folder = _open(url)
    name = layout.round_shards(folder) if store.list(layout.round_shards(folder)) else folder
    found = [layout.shard_of_tar(file) for file in store.list(name)]
    shards = [shard for shard in found if shard is not None]
    if not shards:
        raise ValueError(
            f"{url}: no shards there; give WORK, WORK/rounds/NN-.. or a folder of .tar files "
            "of a round"
        )
    location = ShardFolder(name)
    parts = read_parts(store, folder)
    if parts:
        counts = {part.shard: part.labelled for part in parts if part.labelled}
        data = TrainingSet(store, location, IndexedKeys(folder, Selection()), counts)
        labels = digest(store.read(layout.round_parts(folder)).hex())
    else:
        keys, labels = _scan(store, location, shards)
        data = TrainingSet.listed(store, location, keys)
    if not len(data):
        raise ValueError(f"{url}: no labelled sample in {len(shards)} shards; nothing to train on")
    return data, labels


def _open(url: str) -> tuple[Store, str]:
    """Open what `url` names; return the store, and the folder of the round or of the shards in it.

    A round is opened in its work folder, which may hold its images.
    """
    store = Store(url)
    split = layout.split_round(store.url)
    if split:
        work, folder = split
        return Store(work), folder
    head = read_head(store)
    return store, head.folder if head else ""


def _scan(
    store: Store, location: ShardLocation, shards: Sequence[str]
) -> tuple[dict[str, list[str]], str]:
    """Read the records of shards that have no index.

    Returns the keys of the labelled samples by shard, and the digest of all records.
    """
    keys: dict[str, list[str]] = {}
    records: list[str] = []
    for shard in shards:
        keys[shard] = []
        for key, members in _members(store, location.tar(shard)):
            text = members["json"].decode()
            records.append(text)
            record = from_dict(Record, json.loads(text))
            labels = record.annotations.kept()
            if len(labels):
                keys[shard].append(key)
    return keys, digest(*records)


# The last few shards stay in memory: a batch can lie in two blocks, and a small set is read again
# in every epoch.
@lru_cache(maxsize=2 * BLOCK_SHARDS)
def _read_shard(url: str, tar: str, shard: str) -> dict[str, EncodedSample]:
    """Read all samples of a shard, by key."""
    store = Store(url)
    samples: dict[str, EncodedSample] = {}
    for sample in with_images(store, shard, _members(store, tar)):
        samples[sample.key] = _encoded_sample(sample)
    return samples


def _members(store: Store, tar: str) -> Iterator[tuple[str, dict[str, bytes]]]:
    """Yield (key, {extension: bytes}) of each sample of a shard.

    Raises:
        ValueError: a sample has no record (`KEY.json`).
    """
    from webdataset.tariterators import group_by_keys, tar_file_expander

    stream = io.BytesIO(store.read(tar))
    files = tar_file_expander([{"url": tar, "stream": stream}])
    for sample in group_by_keys(files):
        key = sample["__key__"]
        # webdataset's own entries begin with two underscores.
        members = {name: data for name, data in sample.items() if not name.startswith("__")}
        if "json" not in members:
            raise ValueError(f"{store.shown(tar)}: {key} has no .json; give shards of a round")
        yield key, members


def _encoded_sample(sample: StoredSample) -> EncodedSample:
    """Parse the record of a sample, and leave out its dropped labels."""
    record: Record = from_dict(Record, json.loads(sample.record))
    kept = record.annotations.kept()
    return EncodedSample(sample.image, replace(record, annotations=kept))
