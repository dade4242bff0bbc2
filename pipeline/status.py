"""What is there to see of a work folder: plan, status, the story of one sample, and the report's data.

Reads only files; `status` works while a run goes on, after a crash, and from another machine.
"""

from __future__ import annotations

import time
from collections import Counter
from collections.abc import Sequence
from typing import Any

from pipeline import lease, lineage, rounds
from pipeline.config import RunConfig
from pipeline.ingest import assign, ingested
from pipeline.lineage import IMAGES
from pipeline.measure import truth_of
from pipeline.quality.commands import AUDIT
from pipeline.quality.truth import Interval
from pipeline.records import read_image_bytes, read_images, read_table
from pipeline.report.explain import explain
from pipeline.report.views import PictureView, ReportData, RoundView
from pipeline.schema import Annotations, ImageRow, Record, Row, to_dict
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
        nodes = lineage.next_round(run, number, head, models)
        planned = lineage.plan(store, nodes, rounds.carried(head, done))
        lines += _lines(planned)
        name = f"{nodes[-1].folder}/round.json"
        verdict = store.read_json(name)["status"] if store.exists(name) else None
        if verdict == rounds.ACCEPTED:
            head, done = nodes[-1], planned.done
        elif verdict and run.refine.stop == "no_gain":
            break
    return lines


def status(store: Store) -> dict[str, Any]:
    """How far a run is: state of its driver, shards done by stage, failures by reason, rate and ETA, rounds."""
    shards = {listed.shard for file in store.list("images/listing") for listed in _listed(store, file)}
    stages = [{"stage": "ingest", **_progress(store, IMAGES, len(shards))}]
    graph = store.read_json(rounds.GRAPH) if store.exists(rounds.GRAPH) else []
    stages += [{"stage": node["name"], **_progress(store, node["folder"], len(shards))} for node in graph]
    made = [
        node["folder"] for node in graph if node["kind"] == "round" and store.exists(f"{node['folder']}/round.json")
    ]
    return {
        "work": store.url,
        "state": (lease.holder(store) or {"state": "never run"})["state"],
        "shards": len(shards),
        "stages": stages,
        "now": _rate(store),
        "rounds": [{"round": f.removeprefix("rounds/"), **_said(store, f)} for f in made],
        "head": store.read_json("head.json")["round"] if store.exists("head.json") else None,
    }


def tell(store: Store, key: str) -> str:
    """The story of one sample.

    Raises:
        ValueError: no sample has that key.
    """
    shard, image = _find(store, key)
    graph = store.read_json(rounds.GRAPH)
    stages, made = [], []
    for node in graph:
        kind = node["kind"]
        name = f"{node['folder']}/records/{shard}.parquet" if kind == "round" else f"{node['folder']}/{shard}.parquet"
        if not store.exists(name):
            continue
        row = next((row for row in read_table(store, name, Record if kind == "round" else Row) if row.key == key), None)
        if row is None:
            continue
        if kind == "round":
            made.append((node["folder"].removeprefix("rounds/"), row.annotations))
        else:
            stages.append((node["name"], row))
    return explain(key, to_dict(image), stages, made)


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


def _lines(planned: lineage.Plan) -> list[dict[str, Any]]:
    shards = len(planned.done)
    counts = [(node, planned.todo(node)) for node in planned.nodes]
    return [{"stage": node.name, "folder": node.folder, "done": shards - todo, "todo": todo} for node, todo in counts]


def _listed(store: Store, file: str) -> list[Any]:
    from pipeline.listing import LISTING, Listed

    return read_table(store, f"{LISTING}/{file}", Listed)


def _progress(store: Store, folder: str, total: int) -> dict[str, Any]:
    counts = {"in": 0, "kept": 0}
    failed: Counter[str] = Counter()
    done = 0
    for manifest in store.manifests(folder):
        done += 1
        for name in counts:
            counts[name] += manifest.samples[name]
        failed.update(manifest.samples["failed"])
    return {"folder": folder, "done": done, "total": total, "samples": {**counts, "failed": dict(failed)}}


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
    return {"status": said["status"], "reason": said["reason"]}


def _find(store: Store, key: str) -> tuple[str, ImageRow]:
    for name in store.list(IMAGES):
        if name.endswith(".parquet"):
            for row in read_table(store, f"{IMAGES}/{name}", ImageRow):
                if row.key == key:
                    return name.removesuffix(".parquet"), row
    raise ValueError(f"{key}: no such sample in {store.url}; keys stand in images/*.parquet")


def _round_view(store: Store, name: str) -> RoundView:
    metrics = store.read_json(f"rounds/{name}/metrics.json")
    said = store.read_json(f"rounds/{name}/round.json")
    evidence = said["evidence"]
    gate = {key: Interval(**value) for key, value in evidence.get("differences", {}).items()}
    return RoundView(
        name=name, status=said["status"], reason=said["reason"], kept=metrics["kept"], dropped=metrics["dropped"],
        failed=metrics["failed"], metrics=(metrics["truth"] or {}).get("all"), gate=gate,
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
        known = truth_of(store, shard)
        for i, data in enumerate(read_image_bytes(store, shard)):
            if i in wanted:
                row = rows[i]
                annotations: dict[str, Annotations] = {name: records[i].annotations for name, records in made.items()}
                size = (row.width or 0, row.height or 0)
                views.append(
                    PictureView(key=row.key, image=data, size=size, rounds=annotations, truth=known.get(row.key))
                )
    return views[:PICTURES]
