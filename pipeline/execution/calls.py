"""Calling a stage on a batch: one result per sample, whatever the stage does."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from typing import Any

from pipeline.execution.isolation import StageDied
from stages.base import Failed, Result, SampleError, is_out_of_memory

MAX_DETAIL = 200


def call(
    stage: Callable[[Sequence[Any]], list[Result]],
    batch: Sequence[Any],
) -> list[Result]:
    """One result per sample, whatever the stage does.

    A batch that runs out of memory, raises, or kills its process is halved until the sample at
    fault stands alone. That sample fails with a reason.
    """
    try:
        results = stage(batch)
    except Exception as error:
        # This is the one place where any error of a stage becomes a row with a reason.
        if len(batch) <= 1:
            return [_failure(error)]
        half = len(batch) // 2
        first = call(stage, batch[:half])
        second = call(stage, batch[half:])
        return first + second
    message = f"the stage gave {len(results)} results for {len(batch)} samples"
    assert len(results) == len(batch), message
    return results


def _failure(error: Exception) -> Failed:
    """The result of a sample on which the stage raised."""
    if isinstance(error, SampleError):
        return Failed(error.reason, error.detail)
    message = f"{type(error).__name__}: {error}"
    first_line = message.split("\n")[0]
    detail = first_line[:MAX_DETAIL]
    if is_out_of_memory(error):
        return Failed("out_of_memory", detail)
    if isinstance(error, StageDied):
        return Failed("crashed", detail)
    return Failed("error", detail)
