"""Counters on Ray's Prometheus endpoint; `grafana.json` beside this file is a dashboard of them.

Each node of a cluster has an endpoint (`ray start --metrics-export-port`). Ray puts `ray_` before
the names, and labels each value with its node.
"""

from __future__ import annotations

from typing import TYPE_CHECKING

from pipeline.execution.clock import CLOCK, StageTime

if TYPE_CHECKING:
    from ray.util.metrics import Counter

SAMPLES = "fld_samples"
STAGE_SECONDS = "fld_stage_seconds"
BUSY_SECONDS = "fld_busy_seconds"
SHARDS = "fld_shards"
ERRORS = "fld_shard_errors"


class Metrics:
    """The counters of one actor. Ray must run."""

    def __init__(self, group: str) -> None:
        from ray.util.metrics import Counter

        by_stage = ("group", "stage")
        self._samples = Counter(SAMPLES, "Samples that a stage has seen.", by_stage)
        self._seconds = Counter(STAGE_SECONDS, "Seconds of a stage, without loading.", by_stage)
        self._busy = Counter(BUSY_SECONDS, "Seconds that actors worked on shards.", ("group",))
        self._shards = Counter(SHARDS, "Shards that a group of stages has done.", ("group",))
        self._errors = Counter(ERRORS, "Tries of a shard that have failed.", ("group",))
        self._group = {"group": group}
        self._told: dict[str, StageTime] = {}

    def end_shard(self, seconds: float, failed: bool) -> None:
        """Count a try of a shard that has taken so long."""
        counter = self._errors if failed else self._shards
        counter.inc(1, self._group)
        _add(self._busy, seconds, self._group)
        for name, spent in CLOCK.stages.items():
            told = self._told.setdefault(name, StageTime())
            tags = {**self._group, "stage": name}
            _add(self._samples, spent.samples - told.samples, tags)
            _add(self._seconds, spent.seconds - told.seconds, tags)
            told.samples, told.seconds = spent.samples, spent.seconds


def _add(counter: Counter, value: float, tags: dict[str, str]) -> None:
    """Ray refuses to add nothing."""
    if value > 0:
        counter.inc(value, tags)
