"""An actor of the engine that shows what it does: in the journal, and to Prometheus."""

from __future__ import annotations

import time

from pipeline.execution.activity import Activity
from pipeline.execution.clock import CLOCK
from pipeline.execution.metrics import Metrics
from pipeline.execution.steps import ShardResult, Step, StepActor
from pipeline.storage.json_types import Json
from pipeline.storage.store import Store


class WatchedActor:
    """A `StepActor` for the work folder behind `url`."""

    def __init__(self, step: Step, threads: int, url: str) -> None:
        self._activity = Activity(Store(url), step.name)
        self._metrics = Metrics(step.name)
        self._actor = StepActor(step, threads)
        self._name = step.name

    def __call__(self, batch: Json) -> Json:
        begun = time.monotonic()
        with self._activity.working(str(batch["shard"][0])):
            answer = self._actor(batch)
        given = ShardResult.of_row({name: values[0] for name, values in batch.items()})
        if not given.failed:
            # A shard that has failed before is only passed on.
            seconds = time.monotonic() - begun
            CLOCK.add_whole(self._name, seconds)
            self._metrics.end_shard(seconds, bool(answer["error"][0] or answer["fault"][0]))
        return answer
