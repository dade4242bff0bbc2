"""What the report shows, read from the files of a work folder."""

from __future__ import annotations

import json

from pipeline.quality.audit import AuditRow
from pipeline.quality.truth import Interval
from pipeline.report.pictures import read_pictures
from pipeline.report.terminal import rounds_table
from pipeline.report.views import ReportData, RoundView
from pipeline.storage import layout
from pipeline.storage.rounds import read_head, read_round_state
from pipeline.storage.store import Store

SAMPLES = 200
"""How many samples the report shows unless the user says otherwise."""


def report_data(store: Store, experiment: str, samples: int = SAMPLES) -> ReportData:
    """Every attempted round of the present chain, and samples from all over the set.

    Args:
        store: of the work folder.
        experiment: the title of the report.
        samples: how many samples the report shows at most.

    Raises:
        ValueError: no run has ended there yet.
    """
    head = read_head(store)
    if head is None:
        advice = f"start or resume it with `fld run work={store.url}`"
        raise ValueError(f"{store.url}: no finished run there; {advice}")
    names = [attempt.round for attempt in head.attempts]
    failed_images = 0
    for counts in store.counts(layout.IMAGES).values():
        failed_images += counts.failed
    first = layout.named_round(names[0])
    images = int(store.read_json(layout.round_metrics(first))["samples"])
    return ReportData(
        experiment=experiment,
        images=images,
        failed_images=failed_images,
        rounds=[_round_view(store, name) for name in names],
        pictures=read_pictures(store, names, samples),
        head=head.round,
    )


def publish_report(store: Store, experiment: str, samples: int = SAMPLES) -> str:
    """Write the report and return what a terminal shows of it. Arguments as of `report_data`."""
    from pipeline.report.html import write_report

    data = report_data(store, experiment, samples)
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
        parent=state.parent,
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
