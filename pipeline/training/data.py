"""The labelled samples that a training run reads, and its batches.

The next batches are decoded while a step computes.
"""

from __future__ import annotations

from collections import deque
from collections.abc import Iterator, Mapping, Sequence
from concurrent.futures import Future, ThreadPoolExecutor
from dataclasses import dataclass
from typing import Protocol

from pipeline.errors import RunFailed
from pipeline.rows import IndexRow
from pipeline.storage import layout
from pipeline.storage.checks import broken
from pipeline.storage.parquet import read_table
from pipeline.storage.store import Store
from pipeline.training.order import Order, SampleId
from pipeline.training.selection import Selection
from pipeline.training.shards import EncodedSample, ShardLocation, read_shard
from stages.base import Sample, thread_count

# Decoded batches that wait for a step.
AHEAD = 2


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
        order = Order(self.counts, self.keys, seed)
        waiting: deque[Future[list[Sample]]] = deque()
        with (
            ThreadPoolExecutor(1) as reader,
            ThreadPoolExecutor(thread_count()) as decoders,
        ):

            def load_batch(ids: Sequence[SampleId]) -> list[Sample]:
                encoded = [self.read(sample.shard, sample.key) for sample in ids]
                return list(decoders.map(EncodedSample.decoded, encoded))

            for ids in order.slices(first_step, size, rank, world_size):
                batch = reader.submit(load_batch, ids)
                waiting.append(batch)
                if len(waiting) > AHEAD:
                    ready = waiting.popleft()
                    yield ready.result()

    def read(self, shard: str, key: str) -> EncodedSample:
        """Return a sample as it is stored.

        Raises:
            BrokenFiles: the shard is broken, or has no such sample.
        """
        tar = self.node.tar(shard)
        samples = read_shard(self.store.url, tar, shard)
        if key not in samples:
            raise broken(self.store, tar, f"{key} is missing")
        return samples[key]

    def samples(self, shard: str, keys: Sequence[str]) -> list[Sample]:
        """Decode these samples of a shard, in this order."""
        decoded = []
        for key in keys:
            sample = self.read(shard, key)
            decoded.append(sample.decoded())
        return decoded
