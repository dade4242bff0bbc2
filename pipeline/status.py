"""What is there to see of a work folder: plan, status, and the report's data.

Reads only files; `status` works while a run goes on, after a crash, and from another machine.
"""

from __future__ import annotations

import itertools
import time
from collections.abc import Sequence
from typing import Any

from pipeline import attempts, failures, lease, lineage, rounds
from pipeline.config import RunConfig
from pipeline.ingest import assign, ingested
from pipeline.lineage import IMAGES
from pipeline.listing import count_shards
from pipeline.quality.commands import AUDIT
from pipeline.quality.truth import Interval
from pipeline.records import read_image_bytes, read_images, read_table, read_truth
from pipeline.report.terminal import rounds_table
from pipeline.report.views import PictureView, ReportData, RoundView
from pipeline.schema import Annotations, Record
from pipeline.store import Store
from pipeline.train import Training, trained

PICTURES = 16


def plan(store: Store, run: RunConfig, names: Sequence[str]) -> list[dict[str, Any]]:
    """What `fld run` would do: a line per stage with its folder and the shards that are done and to do.

    Rounds whose labels or model do not exist yet can only be announced: `folder` is None there.
    """
    listing = assign(store, run.source, names, publish=False)
    shards, _ = ingested(store, run.source, listing)
    missing = sum(not done for done in shards.values())
    lines = [{"stage": "ingest", "folder": IMAGES, "done": len(shards) - missing, "todo": missing}]
    nodes = lineage.round_zero(run)
    planned = lineage.plan(store, nodes, shards)
    lines += _lines(planned)
    head, done = nodes[-1], planned.done
    models: lineage.Models | None = None

    def known(training: Training) -> str | None:
        revision = trained(store, training)
        trained_yet = {"done": int(bool(revision)), "todo": int(not revision)}
        lines.append({"stage": f"{training.number}.train", "folder": training.folder, **trained_yet})
        return revision

    for number in range(1, run.refine.rounds + 1):
        if not all(head.name in each for each in done.values()):
            lines.append({"stage": f"{number}.train and what follows", "folder": None, "done": 0, "todo": len(shards)})
            continue
        models = rounds.obtain(store, run, head, done, number, models, known)
        if models is None:
            lines.append({"stage": f"{number}.refine and what follows", "folder": None, "done": 0, "todo": len(shards)})
            break
        looked = lineage.refining(run, number, head, models)
        planned = lineage.plan(store, looked, rounds.carried(head, done))
        if any(planned.todo(node) for node in looked):
            lines += _lines(planned)
            lines.append({"stage": f"{number}.merge and what follows", "folder": None, "done": 0, "todo": len(shards)})
            break
        measured = rounds.levels(store, run, head, looked, planned.done, keep=False)
        nodes = lineage.next_round(run, number, head, models, measured)
        planned = lineage.plan(store, nodes, rounds.carried(head, done))
        lines += _lines(planned)
        name = f"{nodes[-1].folder}/round.json"
        verdict = store.read_json(name)["status"] if store.exists(name) else None
        if verdict == rounds.ACCEPTED:
            head, done = nodes[-1], planned.done
        elif verdict and run.refine.stop == "no_gain":
            break
    return lines


def status(store: Store, limit: int) -> dict[str, Any]:
    """How far a run is: state of its driver, shards done by stage, failures by reason and one by one (no more than
    `limit`), rate and ETA, workers that died, rounds.

    Reads the names of manifests, and the content of those with failures only.
    """
    shards = count_shards(store)
    graph = store.read_json(rounds.GRAPH) if store.exists(rounds.GRAPH) else []
    state = (lease.holder(store) or {"state": "never run"})["state"]
    stages = [failures.count(store, node["name"], node["folder"], shards) for node in [failures.INGEST, *graph]]
    made = [node["folder"] for node in graph if node["kind"] == "round"]
    return {
        "work": store.url,
        "state": state,
        "shards": shards,
        "stages": stages,
        "now": _rate(store),
        "workers": attempts.workers(store, state == "running"),
        "rounds": [_said(store, folder) for folder in made if store.exists(f"{folder}/round.json")],
        "head": store.read_json("head.json")["round"] if store.exists("head.json") else None,
        "failures_total": sum(sum(stage["samples"]["failed"].values()) for stage in stages),
        "failures": list(itertools.islice(failures.each(store, graph), limit)),
    }


def report_data(store: Store, experiment: str) -> ReportData:
    """What the report shows: every attempted round of the present chain, and samples from all over the set."""
    if not store.exists("head.json"):
        raise ValueError(f"{store.url}: no finished run there; start or resume it with `fld run work={store.url}`")
    head = store.read_json("head.json")
    names = [attempt["round"] for attempt in head["attempts"]]
    views = [_round_view(store, name) for name in names]
    images = int(store.read_json(f"rounds/{names[0]}/metrics.json")["samples"])
    return ReportData(
        experiment=experiment, images=images, rounds=views, pictures=_pictures(store, names, images), head=head["round"]
    )


def publish_report(store: Store, experiment: str) -> str:
    """Write the report and return what a terminal shows of it."""
    from pipeline.report.html import write_report

    data = report_data(store, experiment)
    store.publish("report.html", write_report(data).encode())
    return f"{rounds_table(data.rounds)}\n\nhead: {data.head}\nreport: {store.path('report.html')}"


def _lines(planned: lineage.Plan) -> list[dict[str, Any]]:
    shards = len(planned.done)
    counts = [(node, planned.todo(node)) for node in planned.nodes]
    return [{"stage": node.name, "folder": node.folder, "done": shards - todo, "todo": todo} for node, todo in counts]


def _rate(store: Store) -> dict[str, Any] | None:
    if not store.exists("journal/progress.json"):
        return None
    state = store.read_json("journal/progress.json")
    seconds = max(state["now"] - state["started"], 1e-3)
    rate = state["done"] / seconds
    left = (state["total"] - state["done"]) / rate if rate else None
    return {
        "what": state["title"], "done": state["done"], "total": state["total"], "per_second": rate, "eta_seconds": left,
        "silent_seconds": time.time() - state["now"],
    }  # fmt: skip


def _said(store: Store, folder: str) -> dict[str, Any]:
    said = store.read_json(f"{folder}/round.json")
    metrics = store.read_json(f"{folder}/metrics.json") if store.exists(f"{folder}/metrics.json") else {}
    return {
        "round": folder.removeprefix("rounds/"), "status": said["status"], "reason": said["reason"],
        "kept": metrics.get("kept", {}), "dropped": metrics.get("dropped", {}),
    }  # fmt: skip


def _round_view(store: Store, name: str) -> RoundView:
    metrics = store.read_json(f"rounds/{name}/metrics.json")
    said = store.read_json(f"rounds/{name}/round.json")
    evidence = said["evidence"]
    gate = {key: Interval(**value) for key, value in evidence.get("differences", {}).items()}
    return RoundView(
        name=name, status=said["status"], reason=said["reason"], kept=metrics["kept"], dropped=metrics["dropped"],
        failed=metrics["failed"], changes=metrics["changes"] or {}, metrics=(metrics["truth"] or {}).get("all"),
        gate=gate, levels=said.get("levels", {}),
        agreement=evidence if evidence.get("kind") == "agreement" else None,
        audit=store.read_json(f"rounds/{name}/{AUDIT}") if store.exists(f"rounds/{name}/{AUDIT}") else (),
    )  # fmt: skip


def _pictures(store: Store, names: Sequence[str], images: int) -> list[PictureView]:
    """Samples evenly spread over the set, with their annotations in every round."""
    step = max(1, images // PICTURES)
    views, seen = [], 0
    for shard in sorted(set.intersection(*(set(store.done(f"rounds/{name}")) for name in names))):
        rows = read_images(store, shard)
        wanted = [i for i in range(len(rows)) if (seen + i) % step == 0]
        seen += len(rows)
        if not wanted:
            continue
        made = {name: read_table(store, f"rounds/{name}/records/{shard}.parquet", Record) for name in names}
        known = read_truth(store, shard)
        for i, data in enumerate(read_image_bytes(store, shard)):
            if i in wanted:
                row = rows[i]
                annotations: dict[str, Annotations] = {name: records[i].annotations for name, records in made.items()}
                size = (row.width or 0, row.height or 0)
                views.append(
                    PictureView(key=row.key, image=data, size=size, rounds=annotations, truth=known.get(row.key))
                )
    return views[:PICTURES]
