"""`fld status`: how far a run is. It only reads files, so it works from another machine, too."""

from __future__ import annotations

import itertools
import shutil
import time
from collections.abc import Sequence
from typing import TypedDict

from pipeline.execution import attempts
from pipeline.ingest import failures
from pipeline.ingest.assignment_log import count_shards
from pipeline.ingest.by_source import SourceCounts, counts_by_source
from pipeline.plan.journal import INGEST, SUMMARY, NodeRef, read_graph
from pipeline.report.actors import Bottleneck, GroupStatus, bottleneck, group_states
from pipeline.storage import layout, layout_journal, lease
from pipeline.storage.json_types import Json
from pipeline.storage.rounds import read_head, read_round_state
from pipeline.storage.store import Store

SMALL_FILE_BYTES = 1 << 16
KILLED = "its process ended without a word (killed, or the machine went down)"
LEFT_TO_DO = "the last command, such as `fld retry`, has left shards to do"


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


class Stop(TypedDict):
    """Where a run stopped before its end. The same `fld run` goes on from there."""

    where: str
    """The first stage with shards to do, or else the last step that was reported."""
    done: int
    """Shards of that stage, or steps of a training."""
    total: int
    why: str
    """What the driver said when it ended, or what can be seen if it said nothing."""


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
    """`running`, `finished`, `never run`, `stopped` (it ended before its work was done) or `stale`
    (it is gone without a word: it was killed, or its machine went down)."""
    stopped: Stop | None
    """Where and why, if it is stopped or stale."""
    shards: int
    stages: list[failures.StageCounts]
    now: Progress | None
    workers: Json
    """`pipeline.execution.attempts.workers`."""
    groups: list[GroupStatus]
    """How busy the actors of the last run are or were."""
    bottleneck: Bottleneck | None
    """The stage that the others wait for."""
    rounds: list[RoundStatus]
    head: str | None
    sources: list[SourceCounts]
    """The stages of each source; empty where the only source has no name."""
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
    stages = _stages(store, graph, shards)
    rounds: list[RoundStatus] = []
    for node in graph:
        if node.is_round:
            rounds += _round(store, node)
    driver = lease.holder(store)
    state = driver["state"] if driver else "never run"
    now = _rate(store)
    stop = _stop(store, driver, stages, now)
    failed = 0
    for stage in stages:
        failed += sum(stage["samples"]["failed"].values())
    groups = group_states(store, state == "running")
    listed = itertools.islice(failures.failed_samples(store, graph), limit)
    return {
        "work": store.url,
        "state": "stopped" if stop and state == "finished" else state,
        "stopped": stop,
        "shards": shards,
        "stages": stages,
        "now": now,
        "workers": attempts.workers(store, state == "running"),
        "groups": groups,
        "bottleneck": bottleneck(groups),
        "rounds": rounds,
        "head": head.round if head else None,
        "sources": counts_by_source(store, graph),
        "failures_total": failed,
        "failures": list(listed),
    }


def _stages(store: Store, graph: Sequence[NodeRef], shards: int) -> list[failures.StageCounts]:
    """How far each stage is. One that only counts is shown if nothing else is left to do."""
    stages = [failures.count(store, INGEST, layout.IMAGES, shards)]
    counts: list[failures.StageCounts] = []
    for node in graph:
        stage = failures.count(store, node.name, node.folder, shards)
        if node.kind == SUMMARY:
            counts.append(stage)
        else:
            stages.append(stage)
    if all(stage["done"] == stage["total"] for stage in stages):
        stages += [stage for stage in counts if stage["done"] < stage["total"]]
    return stages


def _stop(
    store: Store,
    driver: lease.Lease | None,
    stages: Sequence[failures.StageCounts],
    now: Progress | None,
) -> Stop | None:
    """Where a run stopped; None if it goes on, has done everything, or never began.

    The last driver may have been that of another command, such as `fld retry`, which leaves shards
    to do. So the shards decide whether a run is finished, and the driver says why it is not.
    """
    if driver is None or driver["state"] == "running":
        return None
    why = driver.get("why") or LEFT_TO_DO
    if driver["state"] == "stale":
        is_full = store.local and _is_full(store)
        why = f"the disk of {store.url} is full" if is_full else KILLED
    for stage in stages:
        if stage["done"] < stage["total"]:
            return Stop(where=stage["stage"], done=stage["done"], total=stage["total"], why=why)
    if driver["state"] == "finished":
        return None
    if now is None:
        return Stop(where="start", done=0, total=0, why=why)
    return Stop(where=now["what"], done=now["done"], total=now["total"], why=why)


def _is_full(store: Store) -> bool:
    """Whether the disk of a work folder has no room for another small file."""
    return shutil.disk_usage(store.root).free < SMALL_FILE_BYTES


def _rate(store: Store) -> Progress | None:
    """The progress of the present step, None if there was none yet."""
    if not store.exists(layout_journal.PROGRESS):
        return None
    progress = store.read_json(layout_journal.PROGRESS)
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
