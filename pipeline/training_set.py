"""What a training run reads: samples of a round in an order that is a function of the seed and the step alone.

Epochs permute shards, blocks of shards are shuffled together, and the ranks of a step take slices of one global batch.
So a resumed run starts in the middle of an epoch without reading what came before, and the number of ranks changes
nothing.
"""

from __future__ import annotations

import random
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass
from functools import lru_cache

from pipeline.lineage import Node
from pipeline.records import decode_image, read_image_bytes, read_table
from pipeline.schema import Record
from pipeline.store import Store
from stages.base import Sample

BLOCK_SHARDS = 4


@dataclass(frozen=True, slots=True)
class TrainingSet:
    """The samples of round `node` that may be trained on: keys by shard."""

    store: Store
    node: Node
    keys: Mapping[str, Sequence[str]]

    def __len__(self) -> int:
        return sum(len(keys) for keys in self.keys.values())

    def batches(self, first_step: int, size: int, seed: int, rank: int, world_size: int) -> Iterator[list[Sample]]:
        """This rank's slice of the global batch of each step from `first_step` on, without end."""
        epoch, skip = divmod(first_step * size, len(self))
        mine = slice(rank * size // world_size, (rank + 1) * size // world_size)
        batch: list[tuple[str, str]] = []
        while True:
            for item in self._epoch(seed, epoch, skip):
                batch.append(item)
                if len(batch) == size:
                    yield [self._sample(shard, key) for shard, key in batch[mine]]
                    batch = []
            epoch, skip = epoch + 1, 0

    def _epoch(self, seed: int, epoch: int, skip: int) -> Iterator[tuple[str, str]]:
        """(shard, key) of an epoch from number `skip` on."""
        draw = random.Random(f"{seed} {epoch}")
        shards = sorted(self.keys)
        draw.shuffle(shards)
        for start in range(0, len(shards), BLOCK_SHARDS):
            order = [(shard, key) for shard in shards[start : start + BLOCK_SHARDS] for key in self.keys[shard]]
            draw.shuffle(order)
            yield from order[skip:]
            skip = max(0, skip - len(order))

    def _sample(self, shard: str, key: str) -> Sample:
        data, record = _load(self.store.url, self.node.table(shard), shard)[key]
        size = (record.width, record.height)
        return Sample(key=key, size=size, annotations=record.annotations.kept(), image=decode_image(data))


@lru_cache(maxsize=2 * BLOCK_SHARDS)
def _load(url: str, table: str, shard: str) -> dict[str, tuple[bytes, Record]]:
    """Image bytes and record of every key of a shard; the last few shards stay in memory, for a batch may straddle two
    blocks and a small set is read in every epoch."""
    store = Store(url)
    rows: list[Record] = read_table(store, table, Record)
    return {row.key: (data, row) for row, data in zip(rows, read_image_bytes(store, shard), strict=True)}
