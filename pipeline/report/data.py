"""What is there to see of a work folder: plan, status, and the report's data.

Reads only files; `status` works while a run goes on, after a crash, and from another machine.
"""

from __future__ import annotations

from collections.abc import Sequence

from pipeline.quality.truth import Interval
from pipeline.report.terminal import rounds_table
from pipeline.report.views import PictureView, ReportData, RoundView
from pipeline.schema import Annotations, Record
from pipeline.storage import layout
from pipeline.storage.images import read_image_bytes, read_images, read_truth
from pipeline.storage.parquet import read_table
from pipeline.storage.rounds import read_head, read_round_state
from pipeline.storage.store import Store

PICTURES = 16


def report_data(store: Store, experiment: str) -> ReportData:
    """What the report shows: every attempted round of the present chain, and samples from all over the set."""
    head = read_head(store)
    if head is None:
        raise ValueError(
            f"{store.url}: no finished run there; start or resume it with `fld run work={store.url}`"
        )
    names = [attempt.round for attempt in head.attempts]
    views = [_round_view(store, name) for name in names]
    images = int(store.read_json(layout.round_metrics(layout.named_round(names[0])))["samples"])
    return ReportData(
        experiment=experiment,
        images=images,
        rounds=views,
        pictures=_pictures(store, names, images),
        head=head.round,
    )


def publish_report(store: Store, experiment: str) -> str:
    """Write the report and return what a terminal shows of it."""
    from pipeline.report.html import write_report

    data = report_data(store, experiment)
    store.publish(layout.REPORT, write_report(data).encode())
    return f"{rounds_table(data.rounds)}\n\nhead: {data.head}\nreport: {store.path(layout.REPORT)}"


def _round_view(store: Store, name: str) -> RoundView:
    folder = layout.named_round(name)
    metrics = store.read_json(layout.round_metrics(folder))
    state = read_round_state(store, folder)
    assert state is not None, f"{folder} is in the chain, but was never judged"
    evidence = state.evidence
    gate = {key: Interval(**value) for key, value in evidence.get("differences", {}).items()}
    return RoundView(
        name=name,
        status=state.status,
        reason=state.reason,
        kept=metrics["kept"],
        dropped=metrics["dropped"],
        failed=metrics["failed"],
        changes=metrics["changes"] or {},
        metrics=(metrics["truth"] or {}).get("all"),
        gate=gate,
        levels=state.levels,
        agreement=evidence if evidence.get("kind") == "agreement" else None,
        audit=store.read_json(layout.round_audit(folder))
        if store.exists(layout.round_audit(folder))
        else (),
    )


def _pictures(store: Store, names: Sequence[str], images: int) -> list[PictureView]:
    """Samples evenly spread over the set, with their annotations in every round."""
    step = max(1, images // PICTURES)
    views, seen = [], 0
    for shard in sorted(
        set.intersection(*(set(store.done(layout.named_round(name))) for name in names))
    ):
        rows = read_images(store, shard)
        wanted = [i for i in range(len(rows)) if (seen + i) % step == 0]
        seen += len(rows)
        if not wanted:
            continue
        made = {
            name: read_table(store, layout.round_table(layout.named_round(name), shard), Record)
            for name in names
        }
        known = read_truth(store, shard)
        for i, data in enumerate(read_image_bytes(store, shard)):
            if i in wanted:
                row = rows[i]
                annotations: dict[str, Annotations] = {
                    name: records[i].annotations for name, records in made.items()
                }
                size = (row.width or 0, row.height or 0)
                views.append(
                    PictureView(
                        key=row.key,
                        image=data,
                        size=size,
                        rounds=annotations,
                        truth=known.get(row.key),
                    )
                )
    return views[:PICTURES]
