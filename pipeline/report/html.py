"""One self-contained HTML page: numbers, curves, and pictures with their annotations.

Images are embedded as data URIs and drawings as inline SVG. The page needs no network and no
script, and equal data give equal bytes: it contains no clock.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass

from pipeline.quality.truth import METRICS
from pipeline.refinement.changes import changes
from pipeline.report.charts import Chart, counts_charts, quality_charts
from pipeline.report.explain import describe, describe_change
from pipeline.report.overlay import Colours
from pipeline.report.panels import Panel, data_uri, environment, panel
from pipeline.report.views import NAMES, PictureView, ReportData, RoundView
from pipeline.schema import KINDS


@dataclass(frozen=True, slots=True, kw_only=True)
class Picture:
    """One sample as the page shows it."""

    key: str
    uri: str
    """The image as a data URI."""
    size: tuple[int, int]
    """(width, height) in pixels."""
    panels: list[Panel]
    """The picture in several rounds and, if it is known, with its truth."""
    compared: str
    """The name of the round that is compared with round 0."""
    changed: Sequence[tuple[str, str]]
    """What happened, and a line about it, for each change."""
    dropped: list[str]
    """A line for each annotation that is dropped in the compared round."""


def write_report(data: ReportData) -> str:
    """The page."""
    pictures = [_picture(view, data) for view in data.pictures]
    pictures.sort(key=lambda picture: -len(picture.changed))
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
        pictures=pictures,
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


def _picture(view: PictureView, data: ReportData) -> Picture:
    """The picture in round 0, in the head and in the last round.

    Changes are those from round 0 to the head or, when round 0 is the head, to the last round.
    """
    first, *_ = view.rounds
    *_, last = view.rounds
    head = data.head if data.head is not None and data.head in view.rounds else first
    compared = last if head == first else head
    status = {round_view.name: round_view.status for round_view in data.rounds}
    colours = Colours()
    panels = []
    for name in dict.fromkeys([first, head, last]):
        title = f"{name} {status.get(name, '')}"
        panels.append(panel(title, view.size, view.rounds[name], colours))
    if view.truth is not None:
        panels.append(panel("truth", view.size, view.truth, colours))
    changed = []
    for change in changes(view.rounds[first], view.rounds[compared]):
        changed.append((change.what, describe_change(change)))
    dropped = []
    for annotation in view.rounds[compared].all():
        if annotation.dropped:
            dropped.append(describe(annotation))
    return Picture(
        key=view.key,
        uri=data_uri(view.image),
        size=view.size,
        panels=panels,
        compared=compared,
        changed=changed,
        dropped=dropped,
    )
