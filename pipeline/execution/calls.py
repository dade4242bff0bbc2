"""Calling a stage on a batch: one result per sample, unless something else is at fault."""

from __future__ import annotations

import logging
from collections.abc import Callable, Sequence
from typing import Any

from pipeline.execution.faults import FailureWatch, ends_run, first_line
from pipeline.execution.isolation import StageDied
from pipeline.execution.shard_log import SAMPLES
from stages.base import Failed, Result, SampleError, is_out_of_memory

log = logging.getLogger(SAMPLES)


class NotDecoded(Exception):
    """The stored image of a sample could not be decoded. The stage has not seen it."""

    def __init__(self, cause: Exception) -> None:
        super().__init__(cause)
        self.cause = cause


def call(
    stage: Callable[[Sequence[Any]], list[Result]],
    batch: Sequence[Any],
    watch: FailureWatch | None = None,
) -> list[Result]:
    """One result per sample; a sample that the stage fails on gets a reason.

    A batch that runs out of memory, raises, or kills its process is halved until the sample at
    fault stands alone. `watch` is told about every sample; the batch then holds objects with a
    `sample`.

    Raises:
        StageError, OSError: no sample is at fault (`faults.ends_run`).
        SamplesFailAlike: `watch` has seen enough failures.
    """
    try:
        results = stage(batch)
    except Exception as error:
        # This is the one place where any error of a stage becomes a row with a reason.
        if ends_run(error):
            raise
        if len(batch) <= 1:
            return [_failed(batch, error, watch)]
        half = len(batch) // 2
        first = call(stage, batch[:half], watch)
        second = call(stage, batch[half:], watch)
        return first + second
    message = f"the stage gave {len(results)} results for {len(batch)} samples"
    assert len(results) == len(batch), message
    if watch is not None:
        watch.succeed(len(batch))
    return results


def _failed(batch: Sequence[Any], error: Exception, watch: FailureWatch | None) -> Failed:
    """The result of a lone sample on which the stage raised."""
    failure = _failure(error)
    sample = getattr(batch[0], "sample", batch[0])
    log.warning("%s: %s", sample.key, failure.reason, exc_info=error)
    if watch is not None:
        if isinstance(error, (SampleError, NotDecoded)):
            watch.succeed(1)
        else:
            watch.fail(batch[0].sample.key, failure)
    return failure


def _failure(error: Exception) -> Failed:
    if isinstance(error, NotDecoded):
        return _failure(error.cause)
    if isinstance(error, SampleError):
        return Failed(error.reason, error.detail)
    detail = first_line(error)
    if is_out_of_memory(error):
        return Failed("out_of_memory", detail)
    if isinstance(error, StageDied):
        return Failed("crashed", detail)
    return Failed("error", detail)
