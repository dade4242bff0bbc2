"""One self-contained HTML page: numbers, curves, and pictures with their annotations.

Everything is in the file: images as data URIs, labels as JSON, and a script that draws some of them
at a time. The page forbids itself any request. Equal data give equal bytes: it contains no clock.
"""

from __future__ import annotations

from collections.abc import Sequence

from pipeline.quality.truth import METRICS
from pipeline.report.charts import Chart, counts_charts, quality_charts
from pipeline.report.gallery import gallery
from pipeline.report.panels import environment
from pipeline.report.views import NAMES, ReportData, RoundView
from pipeline.schema import KINDS


def write_report(data: ReportData) -> str:
    """The page."""
    head = None
    for view in data.rounds:
        if view.name == data.head:
            head = view
    template = environment().get_template("report.html")
    return template.render(
        data=data,
        head=head,
        names=NAMES,
        kinds=list(KINDS),
        metrics=_metric_names(data.rounds),
        charts=_charts(data.rounds),
        gallery=gallery(data),
    )


def _metric_names(rounds: Sequence[RoundView]) -> list[str]:
    """The metrics that some round has, in their order."""
    present: set[str] = set()
    for view in rounds:
        if view.metrics:
            present.update(view.metrics["metrics"])
    return [name for name in METRICS if name in present]


def _charts(rounds: Sequence[RoundView]) -> list[Chart]:
    if len(rounds) < 2:
        return []
    return [*quality_charts(rounds), *counts_charts(rounds)]
