"""What is there to see of a work folder while a run goes on or after it."""

from __future__ import annotations

import itertools
import time
from typing import Any

from pipeline.execution import attempts
from pipeline.ingest.listing import count_shards
from pipeline.report import failures
from pipeline.storage import layout, lease
from pipeline.storage.store import Store


def status(store: Store, limit: int) -> dict[str, Any]:
    """How far a run is: state of its driver, shards done by stage, failures by reason and one by one (no more than
    `limit`), rate and ETA, workers that died, rounds.

    Reads the names of manifests, and the content of those with failures only.
    """
    shards = count_shards(store)
    graph = store.read_json(layout.GRAPH) if store.exists(layout.GRAPH) else []
    state = (lease.holder(store) or {"state": "never run"})["state"]
    stages = [
        failures.count(store, node["name"], node["folder"], shards)
        for node in [failures.INGEST, *graph]
    ]
    made = [node["folder"] for node in graph if node["kind"] == "round"]
    return {
        "work": store.url,
        "state": state,
        "shards": shards,
        "stages": stages,
        "now": _rate(store),
        "workers": attempts.workers(store, state == "running"),
        "rounds": [
            _said(store, folder) for folder in made if store.exists(layout.round_state(folder))
        ],
        "head": store.read_json(layout.HEAD)["round"] if store.exists(layout.HEAD) else None,
        "failures_total": sum(sum(stage["samples"]["failed"].values()) for stage in stages),
        "failures": list(itertools.islice(failures.each(store, graph), limit)),
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


def _said(store: Store, folder: str) -> dict[str, Any]:
    said = store.read_json(layout.round_state(folder))
    metrics = (
        store.read_json(layout.round_metrics(folder))
        if store.exists(layout.round_metrics(folder))
        else {}
    )
    return {
        "round": layout.round_name(folder),
        "status": said["status"],
        "reason": said["reason"],
        "kept": metrics.get("kept", {}),
        "dropped": metrics.get("dropped", {}),
    }
