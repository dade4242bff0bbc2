"""The order in which a training run sees the samples: a function of the seed and the step alone.

An epoch permutes the shards, and the samples of a few shards (a block) are shuffled together. The
ranks of a step take slices of one global batch. So a resumed run starts in the middle of an epoch
without reading what came before, and the number of ranks does not change the result.
"""

from __future__ import annotations

import random
from collections.abc import Callable, Iterator, Mapping, Sequence
from dataclasses import dataclass

# Shards whose samples are shuffled together.
BLOCK_SHARDS = 4


@dataclass(frozen=True, slots=True)
class SampleId:
    """Where a sample is."""

    shard: str
    key: str


@dataclass(frozen=True, slots=True)
class Order:
    """The order of the samples of a training set."""

    counts: Mapping[str, int]
    """The number of samples by shard."""
    keys: Callable[[str], Sequence[str]]
    """Returns the keys of a shard. It is called once the order comes to the shard."""
    seed: int
    """Seed of the training run."""

    def slices(
        self, first_step: int, size: int, rank: int, world_size: int
    ) -> Iterator[list[SampleId]]:
        """Yield one rank's slice of each global batch from step `first_step` on, without end.

        `size` is that of the global batch. A batch may begin in one epoch and end in the next.
        """
        seen = first_step * size
        epoch, skip = divmod(seen, sum(self.counts.values()))
        first = rank * size // world_size
        last = (rank + 1) * size // world_size
        batch: list[SampleId] = []
        while True:
            for sample in self._epoch(epoch, skip):
                batch.append(sample)
                if len(batch) == size:
                    yield batch[first:last]
                    batch = []
            epoch += 1
            skip = 0

    def _epoch(self, epoch: int, skip: int) -> Iterator[SampleId]:
        """Yield the samples of an epoch in their order, without the first `skip`.

        The whole order is drawn in any case, so it does not depend on `skip`.
        """
        draw = random.Random(f"{self.seed} {epoch}")
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
