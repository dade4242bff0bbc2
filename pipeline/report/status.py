"""What is there to see of a work folder while a run goes on or after it."""

from __future__ import annotations

import itertools
import time
from typing import Any

from pipeline.execution import attempts
from pipeline.ingest.assignment_log import count_shards
from pipeline.plan.journal import INGEST, read_graph
from pipeline.report import failures
from pipeline.storage import layout, lease
from pipeline.storage.rounds import RoundState, read_head, read_round_state
from pipeline.storage.store import Store


def status(store: Store, limit: int) -> dict[str, Any]:
    """How far a run is: state of its driver, shards done by stage, failures by reason and one by one (no more than
    `limit`), rate and ETA, workers that died, rounds.

    Reads the names of manifests, and the content of those with failures only.
    """
    shards = count_shards(store)
    graph = read_graph(store)
    head = read_head(store)
    state = (lease.holder(store) or {"state": "never run"})["state"]
    stages = [
        failures.count(store, INGEST, layout.IMAGES, shards),
        *(failures.count(store, node.name, node.folder, shards) for node in graph),
    ]
    rounds = []
    for node in graph:
        if node.is_round:
            state_of_round = read_round_state(store, node.folder)
            if state_of_round is not None:
                rounds.append(_round(store, node.folder, state_of_round))
    return {
        "work": store.url,
        "state": state,
        "shards": shards,
        "stages": stages,
        "now": _rate(store),
        "workers": attempts.workers(store, state == "running"),
        "rounds": rounds,
        "head": head.round if head else None,
        "failures_total": sum(sum(stage["samples"]["failed"].values()) for stage in stages),
        "failures": list(itertools.islice(failures.failed_samples(store, graph), limit)),
    }


def _rate(store: Store) -> dict[str, Any] | None:
    if not store.exists(layout.PROGRESS):
        return None
    state = store.read_json(layout.PROGRESS)
    seconds = max(state["now"] - state["started"], 1e-3)
    rate = state["done"] / seconds
    left = (state["total"] - state["done"]) / rate if rate else None
    return {
        "what": state["title"],
        "done": state["done"],
        "total": state["total"],
        "per_second": rate,
        "eta_seconds": left,
        "silent_seconds": time.time() - state["now"],
    }


def _round(store: Store, folder: str, state: RoundState) -> dict[str, Any]:
    metrics = {}
    if store.exists(layout.round_metrics(folder)):
        metrics = store.read_json(layout.round_metrics(folder))
    return {
        "round": layout.round_name(folder),
        "status": state.status,
        "reason": state.reason,
        "kept": metrics.get("kept", {}),
        "dropped": metrics.get("dropped", {}),
    }
