"""Batches within a stage: items of one shape together, and smaller batches when memory runs out."""

from __future__ import annotations

from collections.abc import Callable, Hashable, Sequence
from typing import TypeVar

from stages.base import is_out_of_memory

Item = TypeVar("Item")
Output = TypeVar("Output")


def map_batches(
    items: Sequence[Item],
    run: Callable[[list[Item]], Sequence[Output]],
    size: int,
    shape_of: Callable[[Item], Hashable] | None = None,
) -> list[Output]:
    """One output of `run` per item, in the order of the items.

    Inputs of one shape need no padding, so the output for an item does not depend on the other
    items of its batch.

    Args:
        items: the inputs.
        run: gives one output per item of a batch; all items of a batch have the same shape.
        size: the most items of a batch.
        shape_of: the shape of an item; None if all of them have the same.
    """
    groups: dict[Hashable, list[int]] = {}
    for index, item in enumerate(items):
        shape = shape_of(item) if shape_of else None
        groups.setdefault(shape, []).append(index)

    # By the index of the item.
    outputs: dict[int, Output] = {}
    for indices in groups.values():
        for start in range(0, len(indices), size):
            stop = start + size
            batch_indices = indices[start:stop]
            batch = [items[index] for index in batch_indices]
            results = run_halving(batch, run)
            outputs.update(zip(batch_indices, results, strict=True))
    return [outputs[index] for index in range(len(items))]


def run_halving(
    batch: list[Item],
    run: Callable[[list[Item]], Sequence[Output]],
) -> list[Output]:
    """The outputs of `run(batch)`; if memory runs out, those of its two halves.

    Halves are halved again, down to single items.

    Raises:
        MemoryError, RuntimeError: a single item is too large, or something else failed.
    """
    import torch

    try:
        return list(run(batch))
    except (MemoryError, RuntimeError) as error:
        if len(batch) == 1 or not is_out_of_memory(error):
            raise
    # Outside of the `except` block, because the error keeps the tensors of the failed batch alive.
    if torch.cuda.is_available():
        torch.cuda.empty_cache()
    middle = len(batch) // 2
    first_half = run_halving(batch[:middle], run)
    second_half = run_halving(batch[middle:], run)
    return first_half + second_half
