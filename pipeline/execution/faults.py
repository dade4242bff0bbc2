"""Faults that are no sample's: they end the run in one line, instead of becoming a row per sample.

A worker raises them as `StageError` (the user can change something), as `DiskFull`, `StoreSilent`
or `SamplesFailAlike`. `Fault` carries such an error from a worker to the driver, as two strings.
"""

from __future__ import annotations

import re
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass

from pipeline.errors import (
    DiskFull,
    RunFailed,
    SamplesFailAlike,
    disk_full,
    is_disk_full,
)
from pipeline.plan.graph import Node
from stages.base import Failed, StageError
from stages.errors import StoreSilent

MAX_DETAIL = 200
"""Characters of an error that are kept."""
IN_A_ROW = 64
"""The run ends when so many samples in a row fail alike. If a stage failed on every second sample
by chance, this would happen once in 10^19."""
WHOLE_SHARD = 8
"""The run ends, too, when every sample of a shard fails alike and the shard has at least so many.
This ends runs that have fewer than `IN_A_ROW` samples. If a stage failed on every second sample by
chance, it would fail on all of 8 samples once in 256; fewer samples prove too little."""
# Numbers and addresses differ from sample to sample although the failure is the same.
NUMBERS = re.compile(r"0x[0-9a-fA-F]+|\d+(\.\d+)?")


@dataclass(frozen=True, slots=True)
class Fault:
    """Why no other shard can be done either."""

    message: str
    """One line; "" if there is no fault."""
    is_users: bool = False
    """Whether the user can change something, such as a setting or a key."""

    def error(self) -> Exception:
        """The error to raise in the driver: a `ValueError` if the user can change something."""
        if self.is_users:
            return ValueError(self.message)
        return RunFailed(self.message)


NO_FAULT = Fault("")


def ends_run(error: BaseException) -> bool:
    """Whether an error is no sample's fault, so that the next sample or shard would fail, too."""
    no_samples = (StageError, DiskFull, SamplesFailAlike, StoreSilent)
    return isinstance(error, no_samples) or is_disk_full(error)


def fault_of(error: BaseException) -> Fault:
    """The fault that an error is; `NO_FAULT` if another try or another shard may succeed."""
    if not ends_run(error):
        return NO_FAULT
    message = " ".join(str(error).split())
    return Fault(message, is_users=isinstance(error, StageError))


@contextmanager
def naming_stage(node: Node) -> Iterator[None]:
    """Put the name of the stage before the message of a `StageError`."""
    try:
        yield
    except StageError as error:
        raise StageError(f"stage {node.entry.name}: {error}") from error


@contextmanager
def naming_disk(folder: str) -> Iterator[None]:
    """Raise `DiskFull` where a disk is full; `folder` is where the block stores its results."""
    try:
        yield
    except OSError as error:
        if is_disk_full(error):
            raise disk_full(error, folder) from error
        raise


def first_line(error: BaseException) -> str:
    """The type of an error, and the first line of its message."""
    message = f"{type(error).__name__}: {error}"
    return message.split("\n")[0][:MAX_DETAIL]


class FailureWatch:
    """Notices that a stage fails unexpectedly on one sample after the other, in the same way.

    `call` tells it about every sample. A shard is over when `end_shard` is called. Failures in a
    row are counted across shards.
    """

    def __init__(self, stage: str) -> None:
        self._stage = stage
        self._kind = ""
        self._detail = ""
        self._alike = 0
        self._in_shard = 0

    def succeed(self, count: int) -> None:
        """Note that the stage did `count` samples, or said itself why it could not."""
        self._alike = 0
        self._in_shard += count

    def fail(self, key: str, failure: Failed) -> None:
        """Note that the stage failed on the sample `key`, and did not say so itself.

        Raises:
            SamplesFailAlike: it is the last of `IN_A_ROW` samples that failed alike.
        """
        kind = NUMBERS.sub("0", f"{failure.reason} {failure.detail.replace(key, '')}")
        if kind != self._kind:
            self._kind = kind
            self._alike = 0
        self._detail = failure.detail
        self._alike += 1
        self._in_shard += 1
        if self._alike >= IN_A_ROW:
            raise self._error(f"{self._alike} samples in a row")

    def begin_shard(self) -> None:
        """Note that the next samples are those of another shard, or of another try."""
        self._in_shard = 0

    def end_shard(self, samples: int) -> None:
        """Check a shard that has `samples` samples.

        Samples that the watch was not told about were not done by the stage.

        Raises:
            SamplesFailAlike: the stage failed on all of them alike, and they are `WHOLE_SHARD`.
        """
        is_whole = self._in_shard == samples >= WHOLE_SHARD
        if is_whole and self._alike >= samples:
            raise self._error(f"all {samples} samples of a shard")

    def _error(self, which: str) -> SamplesFailAlike:
        return SamplesFailAlike(
            f"stage {self._stage}: {which} failed alike: {self._detail}; "
            "`fld run --keep-going` makes each a row"
        )
