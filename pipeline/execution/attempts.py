"""Marks of started work, so that a shard that kills its worker is noticed.

A worker writes a mark before a shard and removes it afterwards, even after a Python error. Only the
death of the process leaves the mark. After two deaths the stages run in child processes
(`pipeline.execution.isolation`).
"""

from __future__ import annotations

import json
import time
import uuid
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import asdict, dataclass

from pipeline.execution.activity import SILENT_SECONDS, actors
from pipeline.storage import layout, layout_journal
from pipeline.storage.json_types import Json
from pipeline.storage.lease import holder, process_of
from pipeline.storage.process import Process, alive, this_process
from pipeline.storage.store import Store

DEATHS_BEFORE_ISOLATION = 2


class Attempt(Process):
    """The content of a mark: the worker's process, and when and in which run it began."""

    since: float
    """In seconds since 1970."""
    run: Process | None
    """The process of the run's driver."""


@dataclass(frozen=True, slots=True, kw_only=True)
class DeadAttempt:
    """A worker that died at a shard."""

    work: str
    """STAGE-FINGERPRINT, or `images`."""
    shard: str
    host: str | None
    pid: int | None
    since: float | None
    """When it began, in seconds since 1970."""


@contextmanager
def mark(store: Store, work: str, shard: str) -> Iterator[bool]:
    """Mark `shard` as begun while the block runs.

    Yields whether earlier attempts died so often that the stages must be isolated.
    """
    folder = layout_journal.attempts(work, shard)
    run = _present_run(store)
    deaths = 0
    for name in store.list(folder):
        earlier: Attempt = json.loads(store.read(layout.within(folder, name)))
        if _died(earlier, run):
            deaths += 1
    attempt: Attempt = {**this_process(), "since": time.time(), "run": run}
    store.publish_json(layout_journal.attempt(work, shard, f"{uuid.uuid4().hex}.json"), attempt)
    try:
        yield deaths >= DEATHS_BEFORE_ISOLATION
    finally:
        store.remove(folder)


def workers(store: Store, running: bool) -> Json:
    """How many attempts are under way (`alive`), and those that died (`stale`).

    A process on another host cannot be seen. It counts as alive while the driver is (`running`) and
    its actor writes heartbeats (`pipeline.execution.activity`).
    """
    alive_count = 0
    silent = set()
    for actor in actors(store):
        if time.time() - actor["beat"] > SILENT_SECONDS:
            silent.add((actor["host"], actor["pid"]))
    dead = []
    for work, shard, attempt in _all_attempts(store):
        is_alive = alive(attempt)
        beats = (attempt.get("host"), attempt.get("pid")) not in silent
        if is_alive or (is_alive is None and running and beats):
            alive_count += 1
            continue
        dead.append(
            DeadAttempt(
                work=work,
                shard=shard,
                host=attempt.get("host"),
                pid=attempt.get("pid"),
                since=attempt.get("since"),
            )
        )
    return {"alive": alive_count, "stale": [asdict(attempt) for attempt in dead]}


def _all_attempts(store: Store) -> Iterator[tuple[str, str, Attempt]]:
    """(work, shard, content) of every mark."""
    for work in store.list(layout_journal.ATTEMPTS):
        for shard in store.list(layout_journal.attempts(work)):
            for name in store.list(layout_journal.attempts(work, shard)):
                try:
                    attempt: Attempt = json.loads(
                        store.read(layout_journal.attempt(work, shard, name))
                    )
                except FileNotFoundError:
                    # The worker has finished since the folder was listed.
                    continue
                yield work, shard, attempt


def _present_run(store: Store) -> Process | None:
    """The process that holds the lease; it identifies a run."""
    driver = holder(store)
    return process_of(driver) if driver else None


def _died(attempt: Attempt, run: Process | None) -> bool:
    """Whether an earlier attempt ended because its process died at the shard.

    A reboot ends every process, so a mark from an earlier boot of this host does not count. A
    process on another host cannot be seen. A run gives a shard to one worker at a time, so its own
    earlier marks on other hosts are deaths; marks of other runs on other hosts tell nothing.
    """
    is_alive = alive(attempt)
    if is_alive is None:
        return run is not None and attempt.get("run") == run
    return not is_alive and attempt["boot"] == this_process()["boot"]
