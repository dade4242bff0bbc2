"""How long the stages of this process take, and what it is doing now."""

from __future__ import annotations

import time
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass, field


@dataclass(slots=True)
class StageTime:
    """What one stage has done in this process."""

    shards: int = 0
    samples: int = 0
    """0 for a step that does not count them, such as the one that writes a round."""
    seconds: float = 0.0
    """Without the loading of its model."""


@dataclass(slots=True)
class Clock:
    """The times of all stages of a process; an actor has the process to itself."""

    stages: dict[str, StageTime] = field(default_factory=dict)
    """By name of the stage."""
    stage: str = ""
    """The stage that runs now, "" if none does."""
    loading_seconds: float = 0.0
    """For loading models."""

    @contextmanager
    def running(self, stage: str, samples: int = 0) -> Iterator[None]:
        """Count the time of the block for a stage that works on so many samples."""
        begun = time.monotonic()
        loaded = self.loading_seconds
        self.stage = stage
        try:
            yield
        finally:
            self.stage = ""
        spent = self.stages.setdefault(stage, StageTime())
        spent.samples += samples
        spent.seconds += time.monotonic() - begun - (self.loading_seconds - loaded)

    @contextmanager
    def loading(self) -> Iterator[None]:
        """Count the time of the block for loading a model."""
        begun = time.monotonic()
        try:
            yield
        finally:
            self.loading_seconds += time.monotonic() - begun

    def add_whole(self, step: str, seconds: float) -> None:
        """Count a shard for a step that has not said which stages its time went to."""
        if self.stages.keys() <= {step}:
            spent = self.stages.setdefault(step, StageTime())
            spent.seconds += seconds
            spent.shards += 1

    def end_shard(self, stage: str) -> None:
        """Note that a stage has done a shard."""
        self.stages.setdefault(stage, StageTime()).shards += 1


CLOCK = Clock()
"""That of this process."""
