"""Marks of started work, so that a shard that kills its worker is noticed.

A mark is written before a shard and removed after it, also after an error that Python sees; only the death of the
process leaves it. From the third attempt on the stages run in child processes (`pipeline.execution.isolation`).
"""

from __future__ import annotations

import time
import uuid
from collections.abc import Iterator
from contextlib import contextmanager
from typing import Any

from pipeline.storage import layout
from pipeline.storage.lease import alive, holder, this_process
from pipeline.storage.store import Store

DEATHS_BEFORE_ISOLATION = 2


@contextmanager
def mark(store: Store, work: str, shard: str) -> Iterator[bool]:
    """Mark `shard` as begun for the block; yields whether earlier attempts have died often enough to isolate it."""
    folder = layout.attempts(work, shard)
    run = _run(store)
    deaths = sum(
        _died(store.read_json(layout.within(folder, name)), run) for name in store.list(folder)
    )
    store.publish_json(
        layout.attempt(work, shard, f"{uuid.uuid4().hex}.json"),
        {**this_process(), "since": time.time(), "run": run},
    )
    try:
        yield deaths >= DEATHS_BEFORE_ISOLATION
    finally:
        store.remove(folder)


def workers(store: Store, running: bool) -> dict[str, Any]:
    """How many attempts are under way, and those that died. A process on another host cannot be seen: it counts as
    alive while the driver is."""
    alive_count, dead = 0, []
    for work in store.list(layout.ATTEMPTS):
        for shard in store.list(layout.attempts(work)):
            for name in store.list(layout.attempts(work, shard)):
                try:
                    who = store.read_json(layout.attempt(work, shard, name))
                except FileNotFoundError:  # done since the folder was listed
                    continue
                seen = alive(who)
                if seen or (seen is None and running):
                    alive_count += 1
                else:
                    dead.append(
                        {
                            "work": work,
                            "shard": shard,
                            **{k: who.get(k) for k in ("host", "pid", "since")},
                        }
                    )
    return {"alive": alive_count, "stale": dead}


def _run(store: Store) -> dict[str, Any] | None:
    """The driver that holds the lease: a run is known by its process."""
    driver = holder(store)
    return {key: driver[key] for key in ("host", "boot", "pid", "started")} if driver else None


def _died(who: dict[str, Any], run: dict[str, Any] | None) -> bool:
    """A reboot takes every process with it, so a mark of an earlier boot of this host says nothing about the shard.

    A process on another host cannot be seen. A run gives a shard to one worker at a time, so that its own earlier
    marks are those of deaths; whether one of another run died at the shard nobody knows.
    """
    seen = alive(who)
    if seen is None:
        return run is not None and who.get("run") == run
    return not seen and who["boot"] == this_process()["boot"]
