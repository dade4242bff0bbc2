"""What the report shows, read from the files of a work folder."""

from __future__ import annotations

import json
from collections.abc import Sequence
from dataclasses import dataclass, replace

from pipeline.quality.audit import AuditRow
from pipeline.quality.ranking import Ranked
from pipeline.quality.truth import Interval
from pipeline.refinement.round_metrics import LEAST_SURE, MOST_CHANGED
from pipeline.report.failed import Failed, read_failed
from pipeline.report.pictures import read_pictures
from pipeline.report.terminal import rounds_table
from pipeline.report.views import Measured, ReportData, RoundView
from pipeline.storage import layout
from pipeline.storage.json_types import Json
from pipeline.storage.rounds import read_head, read_round_state
from pipeline.storage.store import Store

SAMPLES = 200
"""How many samples the report shows unless the user says otherwise."""


def report_data(store: Store, experiment: str, samples: int = SAMPLES) -> ReportData:
    """Every attempted round of the present chain, and some of the samples.

    At most half of the samples are picked: those that a round is least sure of, those that it
    changed most, and those that failed. The others come in by chance.

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
    rounds = [_round_view(store, name) for name in names]
    failed = read_failed(store)
    first = layout.named_round(names[0])
    images = int(store.read_json(layout.round_metrics(first))["samples"])
    picked = _picked(rounds, failed, images, samples)
    return ReportData(
        experiment=experiment,
        images=images,
        failed_images=failed.images,
        rounds=picked.rounds,
        pictures=read_pictures(store, names, samples, picked.keys),
        failures=failed.total,
        failed=failed.views,
        head=head.round,
    )


@dataclass(frozen=True, slots=True)
class _Picked:
    """The samples that do not come in by chance."""

    rounds: list[RoundView]
    """The rounds with as much of their rankings as is shown."""
    keys: list[str]


def _picked(rounds: Sequence[RoundView], failed: Failed, images: int, limit: int) -> _Picked:
    """As much of each list as fits into half of the report, or all if all samples are shown."""
    most = limit
    if images > limit:
        # Two rankings a round, but the first round changes nothing; and the failed samples.
        lists = 2 * len(rounds)
        most = limit // 2 // lists
    keys: list[str] = []
    cut = []
    for view in rounds:
        least_sure = view.least_sure[:most]
        most_changed = view.most_changed[:most]
        keys += _keys(least_sure)
        keys += _keys(most_changed)
        shown = replace(view, least_sure=least_sure, most_changed=most_changed)
        cut.append(shown)
    keys += failed.stored_keys()[:most]
    return _Picked(cut, keys)


def _keys(samples: Sequence[Ranked]) -> list[str]:
    return [sample.key for sample in samples]


def publish_report(store: Store, experiment: str, samples: int = SAMPLES) -> str:
    """Write the report and return what a terminal shows of it. Arguments as of `report_data`."""
    from pipeline.report.html import write_report

    data = report_data(store, experiment, samples)
    store.publish(layout.REPORT, write_report(data).encode())
    table = rounds_table(data.rounds)
    return f"{table}\n\nhead: {data.head}\nreport: {store.shown(layout.REPORT)}"


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
        sources=metrics.get("by_source", {}),
        gate=gate,
        measured={kind: Measured.of(level) for kind, level in state.levels.items()},
        estimates=evidence.get("estimates", {}),
        audit=audit,
        least_sure=_ranked(metrics, LEAST_SURE),
        most_changed=_ranked(metrics, MOST_CHANGED),
    )


def _ranked(metrics: Json, name: str) -> list[Ranked]:
    """A ranking of a round; none where an older version has counted."""
    return [Ranked(**sample) for sample in metrics.get(name, ())]
