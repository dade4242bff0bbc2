"""Several processes that train one model together."""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    import torch

_BUCKET = 1 << 25  # most numbers in one message between processes


@dataclass(frozen=True, slots=True)
class Distributed:
    """This process among those that train together.

    If there are several, the caller has set up `torch.distributed`.
    """

    rank: int = 0
    """Number of this process, from 0."""

    world_size: int = 1
    """Number of processes."""

    def sum_over_ranks(self, tensors: Sequence[torch.Tensor]) -> None:
        """Replace each tensor by its sum over all processes, in few messages.

        Args:
            tensors: float tensors of any shape, changed in place. All processes pass the same
                shapes, in the same order, and one dtype and device for all tensors.
        """
        import torch.distributed

        if self.world_size == 1:
            return
        for bucket in _buckets(tensors):
            flat = torch.cat([tensor.flatten() for tensor in bucket])
            torch.distributed.all_reduce(flat)
            sums = flat.split([tensor.numel() for tensor in bucket])
            for tensor, value in zip(bucket, sums, strict=True):
                tensor.copy_(value.view_as(tensor))


SINGLE_PROCESS = Distributed()
"""The only process of a run."""


def _buckets(tensors: Sequence[torch.Tensor]) -> Iterator[list[torch.Tensor]]:
    """Group tensors, in order, into buckets of up to `_BUCKET` numbers; a larger one is alone."""
    bucket: list[torch.Tensor] = []
    size = 0
    for tensor in tensors:
        if bucket and size + tensor.numel() > _BUCKET:
            yield bucket
            bucket = []
            size = 0
        bucket.append(tensor)
        size += tensor.numel()
    if bucket:
        yield bucket
