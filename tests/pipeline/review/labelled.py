"""A small labelled work folder whose samples are reviewed."""

from __future__ import annotations

from pathlib import Path
from typing import Any

from pipeline.config import saved
from pipeline.config.compose import compose
from pipeline.config.parse import parse
from pipeline.config.run import RunConfig
from pipeline.execution.worker import Worker
from pipeline.ingest.assignment import assign, ingest_state, list_source
from pipeline.ingest.shard import Ingest
from pipeline.plan import graph, shard_state
from pipeline.rows import Record
from pipeline.storage.layout import IMAGES, round_name
from pipeline.storage.rounds import Head, HeadAttempt, open_round, publish_head
from pipeline.storage.store import Store

# Detector, captions of boxes and parse: enough to see what a review changes.
ONLY = [f"~specialists.{name}" for name in ("ocr", "describe", "ground", "segment")]
ONLY += [
    "specialists.parse.after=[caption]",
    "refine.complete=[]",
    "refine.rounds=0",
    "refine.gate.held_out=0.6",
]
COUNT = 10
WHO = "ada@example.org"


def run_config(top: Path) -> RunConfig:
    words = ["source=folder", f"work={top / 'work'}", f"source.path={top / 'images'}"]
    values = compose([*words, "source.shard_size=5", *ONLY])
    saved.save(Store(str(top / "work")), values)
    return parse(values)


def label(top: Path) -> dict[str, Record]:
    """What `fld run` does for round 0, without Ray."""
    store = Store(str(top / "work"))
    run = run_config(top)
    listing = assign(store, run.source, list_source(run.source))
    state = ingest_state(store, run.source, listing)
    store.withdraw(IMAGES, dict.fromkeys(state.relabelled, ()))
    states = {}
    for shard, images in state.states.items():
        states[shard] = images
        if not images.has(IMAGES):
            states[shard] = Ingest(store.url, run.source, listing)(shard, images)
    nodes = graph.round_zero(run)
    planned = shard_state.plan(store, nodes, states)
    planned.withdraw_stale(store)
    worker = Worker(store.url, nodes, [node.name for node in nodes])
    for shard, todo in planned.states.items():
        worker(shard, todo)
    name = round_name(nodes[-1].folder)
    attempt = HeadAttempt(round=name, model=None, status="accepted")
    publish_head(store, Head(round=name, model=None, attempts=[attempt]))
    return {record.key: record for record in open_round(store.url).records()}


def submitted(tasks: list[Any]) -> list[Any]:
    """What Label Studio exports when each prediction was submitted as it stands."""
    for number, task in enumerate(tasks):
        result = [dict(each) for prediction in task["predictions"] for each in prediction["result"]]
        who = {"id": 3, "email": WHO}
        task["id"] = number
        task["annotations"] = [{"id": number, "completed_by": who, "result": result}]
    return tasks
