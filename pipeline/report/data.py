"""What the report shows, read from the files of a work folder."""

from __future__ import annotations

import json
from collections.abc import Iterator, Sequence

from pipeline.quality.audit import AuditRow
from pipeline.quality.truth import Interval
from pipeline.report.terminal import rounds_table
from pipeline.report.views import PictureView, ReportData, RoundView
from pipeline.schema import Record
from pipeline.storage import layout
from pipeline.storage.images import read_image_bytes, read_images, read_truth
from pipeline.storage.parquet import read_table
from pipeline.storage.rounds import read_head, read_round_state
from pipeline.storage.store import Store

PICTURES = 16
"""How many samples the report shows."""


def report_data(store: Store, experiment: str) -> ReportData:
    """Every attempted round of the present chain, and samples from all over the set.

    Raises:
        ValueError: no run has ended there yet.
    """
    head = read_head(store)
    if head is None:
        advice = f"start or resume it with `fld run work={store.url}`"
        raise ValueError(f"{store.url}: no finished run there; {advice}")
    names = [attempt.round for attempt in head.attempts]
    first = layout.named_round(names[0])
    images = int(store.read_json(layout.round_metrics(first))["samples"])
    return ReportData(
        experiment=experiment,
        images=images,
        rounds=[_round_view(store, name) for name in names],
        pictures=_pictures(store, names, images),
        head=head.round,
    )


def publish_report(store: Store, experiment: str) -> str:
    """Write the report and return what a terminal shows of it."""
    from pipeline.report.html import write_report

    data = report_data(store, experiment)
    store.publish(layout.REPORT, write_report(data).encode())
    table = rounds_table(data.rounds)
    return f"{table}\n\nhead: {data.head}\nreport: {store.path(layout.REPORT)}"


def _round_view(store: Store, name: str) -> RoundView:
    """The numbers of one round."""
    folder = layout.named_round(name)
    metrics = store.read_json(layout.round_metrics(folder))
    state = read_round_state(store, folder)
    assert state is not None, f"{folder} is in the chain, but was never judged"
    evidence = state.evidence
    gate = {}
    for metric, interval in evidence.get("differences", {}).items():
        gate[metric] = Interval(**interval)
    audit: list[AuditRow] = []
    if store.exists(layout.round_audit(folder)):
        audit = json.loads(store.read(layout.round_audit(folder)))
    scores = metrics["truth"] or {}
    return RoundView(
        name=name,
        status=state.status,
        reason=state.reason,
        kept=metrics["kept"],
        dropped=metrics["dropped"],
        failed=metrics["failed"],
        changes=metrics["changes"] or {},
        metrics=scores.get("all"),
        gate=gate,
        levels=state.levels,
        agreement=evidence if evidence.get("kind") == "agreement" else None,
        audit=audit,
    )


def _pictures(store: Store, names: Sequence[str], images: int) -> list[PictureView]:
    """Samples evenly spread over the set, with their annotations in every round."""
    step = max(1, images // PICTURES)
    views: list[PictureView] = []
    seen = 0
    for shard in _common_shards(store, names):
        count = len(read_images(store, shard))
        wanted = [i for i in range(count) if (seen + i) % step == 0]
        seen += count
        if wanted:
            views += _pictures_of(store, names, shard, wanted)
    return views[:PICTURES]


def _pictures_of(
    store: Store,
    names: Sequence[str],
    shard: str,
    wanted: Sequence[int],
) -> Iterator[PictureView]:
    """The images number `wanted` of one shard."""
    rows = read_images(store, shard)
    records: dict[str, list[Record]] = {}
    for name in names:
        table = layout.round_table(layout.named_round(name), shard)
        records[name] = read_table(store, table, Record)
    truth = read_truth(store, shard)
    for i, data in enumerate(read_image_bytes(store, shard)):
        if i not in wanted:
            continue
        row = rows[i]
        yield PictureView(
            key=row.key,
            image=data,
            size=(row.width or 0, row.height or 0),
            rounds={name: records[name][i].annotations for name in names},
            truth=truth.get(row.key),
        )


def _common_shards(store: Store, names: Sequence[str]) -> list[str]:
    """The shards that all of some rounds have."""
    shards = [set(store.done(layout.named_round(name))) for name in names]
    return sorted(set.intersection(*shards))
