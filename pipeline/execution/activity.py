"""What each actor does, in the journal: its heartbeat, the time of its stages, its present shard.

`fld status` reads from this how busy the groups are, and `fld plan` what a stage takes.
"""

from __future__ import annotations

import json
import threading
import time
import uuid
from collections.abc import Iterator, Mapping
from contextlib import contextmanager, suppress
from dataclasses import asdict

from pipeline.errors import RunFailed
from pipeline.execution.clock import CLOCK, StageTime
from pipeline.storage import layout, layout_journal
from pipeline.storage.json_types import Json
from pipeline.storage.lease import holder, process_of
from pipeline.storage.process import Process, this_process
from pipeline.storage.store import Store
from pipeline.storage.threads import mapped

BEAT_SECONDS = 5.0
WRITE_SECONDS = 1.0
"""Behind a shard nothing is written if the last words are not older."""
FIRST_SHARDS = 3
"""After these it is written in any case: Ray ends an actor without a word."""
SILENT_SECONDS = 60.0
"""An actor that has not written for so long is gone, or its machine is."""


class ActorState(Process):
    """What an actor last wrote of itself."""

    group: str
    since: float
    """When it began, in seconds since 1970."""
    beat: float
    """When it wrote this."""
    busy: float
    """Seconds that it worked on shards since then."""
    shards: int
    shard: str
    """The shard that it works on, "" if it waits for one."""
    stage: str
    """The stage that runs."""
    stages: dict[str, Json]
    """`StageTime` by name of the stage."""
    run: Process | None
    """The driver."""


class Activity:
    """Writes down what the actor of this process does."""

    def __init__(self, store: Store, group: str) -> None:
        self._store = store
        driver = holder(store)
        self._state: ActorState = {
            **this_process(),
            "group": group,
            "since": time.time(),
            "beat": time.time(),
            "busy": 0.0,
            "shards": 0,
            "shard": "",
            "stage": "",
            "stages": {},
            "run": process_of(driver) if driver else None,
        }
        self._begun = 0.0
        self._written = 0.0
        self._name = layout_journal.actor(group, uuid.uuid4().hex)
        threading.Thread(target=self._beat, name="activity", daemon=True).start()

    @contextmanager
    def working(self, shard: str) -> Iterator[None]:
        """Count the time of the block as work on a shard."""
        self._begun = time.monotonic()
        self._state["shard"] = shard
        try:
            yield
        finally:
            self._state["busy"] += time.monotonic() - self._begun
            self._state["shard"] = ""
            self._state["shards"] += 1
            is_new = self._state["shards"] <= FIRST_SHARDS
            if is_new or time.monotonic() - self._written > WRITE_SECONDS:
                self.write()

    def write(self) -> None:
        """Write the present state. If that fails, the work is not at fault."""
        self._written = time.monotonic()
        state = self._state.copy()
        state["beat"] = time.time()
        state["stage"] = CLOCK.stage
        state["stages"] = {name: asdict(spent) for name, spent in CLOCK.stages.copy().items()}
        if state["shard"]:
            # The present shard is not counted yet.
            state["busy"] += time.monotonic() - self._begun
        with suppress(OSError, RunFailed):
            self._store.publish_json(self._name, state)

    def _beat(self) -> None:
        while True:
            time.sleep(BEAT_SECONDS)
            self.write()


def actors(store: Store) -> list[ActorState]:
    """What every actor wrote last, since the journal was last tidied."""
    names = []
    for group in store.list(layout_journal.ACTORS):
        for file in store.list(layout_journal.actors(group)):
            names.append(layout.within(layout_journal.actors(group), file))

    def read(name: str) -> ActorState | None:
        try:
            state: ActorState = json.loads(store.read(name))
        except (FileNotFoundError, ValueError):
            return None
        return state

    return [state for state in mapped(read, names) if state is not None]


def tidy(store: Store) -> None:
    """Add the times of earlier runs up, and forget their actors. For the holder of the lease."""
    found = actors(store)
    if found:
        times = {name: asdict(spent) for name, spent in stage_times(store).items()}
        store.publish_json(layout_journal.RATES, times)
        store.remove(layout_journal.ACTORS)


def stage_times(store: Store) -> Mapping[str, StageTime]:
    """What the stages of all runs of a work folder have done, by name."""
    total: dict[str, StageTime] = {}
    if store.exists(layout_journal.RATES):
        for name, spent in store.read_json(layout_journal.RATES).items():
            total[name] = StageTime(**spent)
    for actor in actors(store):
        for name, spent in actor["stages"].items():
            sum_ = total.setdefault(name, StageTime())
            sum_.shards += spent["shards"]
            sum_.samples += spent["samples"]
            sum_.seconds += spent["seconds"]
    return total


def add_time(store: Store, stage: str, samples: int, seconds: float) -> None:
    """Add what the driver has measured of a step itself. For the holder of the lease."""
    kept = store.read_json(layout_journal.RATES) if store.exists(layout_journal.RATES) else {}
    spent = StageTime(**kept.get(stage, {}))
    total = StageTime(spent.shards + 1, spent.samples + samples, spent.seconds + seconds)
    store.publish_json(layout_journal.RATES, {**kept, stage: asdict(total)})
