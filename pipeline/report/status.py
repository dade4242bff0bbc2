"""`fld status`: how far a run is. It only reads files, so it works from another machine, too."""

from __future__ import annotations

import itertools
import time
from typing import TypedDict

from pipeline.execution import attempts
from pipeline.ingest.assignment_log import count_shards
from pipeline.plan.journal import INGEST, NodeRef, read_graph
from pipeline.report import failures
from pipeline.storage import layout, lease
from pipeline.storage.json_types import Json
from pipeline.storage.rounds import read_head, read_round_state
from pipeline.storage.store import Store


class Progress(TypedDict):
    """The step that is going on."""

    what: str
    """The title of the step."""
    done: int
    """Shards, or steps of a training."""
    total: int
    per_second: float
    eta_seconds: float | None
    """Remaining time, None before anything is done."""
    silent_seconds: float
    """Time since the last report."""


class RoundStatus(TypedDict):
    """A round that the gate has judged."""

    round: str
    """NN-FINGERPRINT."""
    status: str
    reason: str
    kept: dict[str, int]
    """Annotations by kind."""
    dropped: dict[str, dict[str, int]]
    """Annotations by kind and reason."""


class RunStatus(TypedDict):
    """What `fld status --json` prints."""

    work: str
    state: str
    """`running`, `stale`, `finished` or `never run`."""
    shards: int
    stages: list[failures.StageCounts]
    now: Progress | None
    workers: Json
    """`pipeline.execution.attempts.workers`."""
    rounds: list[RoundStatus]
    head: str | None
    failures_total: int
    failures: list[failures.FailedSample]
    """The first of them."""


def status(store: Store, limit: int) -> RunStatus:
    """How far a run is.

    The state of its driver, shards done by stage, failures by reason and one by one (at most
    `limit`), rate and remaining time, workers that died, and the rounds. It reads the names of all
    manifests, but opens only those of shards with failures.
    """
    shards = count_shards(store)
    graph = read_graph(store)
    head = read_head(store)
    driver = lease.holder(store)
    state = driver["state"] if driver else "never run"
    stages = [failures.count(store, INGEST, layout.IMAGES, shards)]
    rounds: list[RoundStatus] = []
    for node in graph:
        stages.append(failures.count(store, node.name, node.folder, shards))
        if node.is_round:
            rounds += _round(store, node)
    failed = 0
    for stage in stages:
        failed += sum(stage["samples"]["failed"].values())
    listed = itertools.islice(failures.failed_samples(store, graph), limit)
    return {
        "work": store.url,
        "state": state,
        "shards": shards,
        "stages": stages,
        "now": _rate(store),
        "workers": attempts.workers(store, state == "running"),
        "rounds": rounds,
        "head": head.round if head else None,
        "failures_total": failed,
        "failures": list(listed),
    }


def _rate(store: Store) -> Progress | None:
    """The progress of the present step, None if there was none yet."""
    if not store.exists(layout.PROGRESS):
        return None
    progress = store.read_json(layout.PROGRESS)
    seconds = max(progress["now"] - progress["started"], 1e-3)
    rate = progress["done"] / seconds
    remaining = None
    if rate:
        remaining = (progress["total"] - progress["done"]) / rate
    return {
        "what": progress["title"],
        "done": progress["done"],
        "total": progress["total"],
        "per_second": rate,
        "eta_seconds": remaining,
        "silent_seconds": time.time() - progress["now"],
    }


def _round(store: Store, node: NodeRef) -> list[RoundStatus]:
    """A round's verdict and counts; nothing while the round is being made."""
    state = read_round_state(store, node.folder)
    if state is None:
        return []
    metrics = {}
    if store.exists(layout.round_metrics(node.folder)):
        metrics = store.read_json(layout.round_metrics(node.folder))
    return [
        {
            "round": layout.round_name(node.folder),
            "status": state.status,
            "reason": state.reason,
            "kept": metrics.get("kept", {}),
            "dropped": metrics.get("dropped", {}),
        }
    ]
