"""One self-contained HTML page: numbers, curves, and pictures with everything that is said about them.

Images travel as data URIs, drawings as inline SVG; it needs no network and no script, and holds no clock.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass

from pipeline.quality.truth import METRICS
from pipeline.refinement.changes import changes
from pipeline.report.charts import Chart, counts_charts, quality_charts
from pipeline.report.explain import describe, told
from pipeline.report.overlay import Colours
from pipeline.report.panels import Panel, data_uri, environment, panel
from pipeline.report.views import NAMES, PictureView, ReportData, RoundView
from pipeline.schema import KINDS


@dataclass(frozen=True, slots=True, kw_only=True)
class Picture:
    key: str
    uri: str
    size: tuple[int, int]
    panels: list[Panel]
    compared: str
    changed: list[tuple[str, str]]
    dropped: list[str]


def write_report(data: ReportData) -> str:
    """The page."""
    return (
        environment()
        .get_template("report.html")
        .render(
            data=data,
            head=next((view for view in data.rounds if view.name == data.head), None),
            names=NAMES,
            kinds=list(KINDS),
            metrics=_metric_names(data.rounds),
            charts=_charts(data.rounds),
            pictures=sorted(
                (_picture(view, data) for view in data.pictures), key=lambda p: -len(p.changed)
            ),
        )
    )


def _metric_names(rounds: Sequence[RoundView]) -> list[str]:
    known = {name for view in rounds if view.metrics for name in view.metrics["metrics"]}
    return [name for name in METRICS if name in known]


def _charts(rounds: Sequence[RoundView]) -> list[Chart]:
    return [*quality_charts(rounds), *counts_charts(rounds)] if len(rounds) > 1 else []


def _picture(view: PictureView, data: ReportData) -> Picture:
    """Round 0, the head and the last round; changes are of the head or, when that is round 0, of the last."""
    names = list(view.rounds)
    first, last = names[0], names[-1]
    head = data.head if data.head is not None and data.head in view.rounds else first
    status = {round_.name: round_.status for round_ in data.rounds}
    shown = {
        f"{name} {status.get(name, '')}": view.rounds[name]
        for name in dict.fromkeys([first, head, last])
    }
    if view.truth is not None:
        shown["truth"] = view.truth
    colours, compared = Colours(), head if head != first else last
    return Picture(
        key=view.key,
        uri=data_uri(view.image),
        size=view.size,
        panels=[
            panel(title, view.size, annotations, colours) for title, annotations in shown.items()
        ],
        compared=compared,
        changed=[(c.what, told(c)) for c in changes(view.rounds[first], view.rounds[compared])],
        dropped=[describe(a) for a in view.rounds[compared].all() if a.dropped],
    )
