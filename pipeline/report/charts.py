"""Curves over the rounds as points of small SVG charts."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Literal

from pipeline.quality.truth import METRICS
from pipeline.report.views import NAMES, RoundView
from pipeline.schema import KINDS

WIDTH = 280
HEIGHT = 150
# Margins around the plot, in units of the SVG.
_LEFT = 34
_RIGHT = 14
_TOP = 12
_BOTTOM = 26
_STEPS = (0.0, 0.5, 1.0)
"""Ticks, as shares of the highest value."""

Ratio = Literal["precision", "recall", "f1"]
_RATIOS: tuple[Ratio, ...] = ("precision", "recall", "f1")
Series = Mapping[str, Sequence[float | None]]
"""By the name of a line, its value in each round; None where a round has none."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Point:
    """One value, in units of the SVG."""

    x: float
    y: float
    text: str
    """Shown when the pointer rests on it."""
    rejected: bool
    """The value is of a rejected round."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Line:
    """One curve."""

    name: str
    points: list[Point]


@dataclass(frozen=True, slots=True, kw_only=True)
class Chart:
    """Some curves over the rounds."""

    title: str
    lines: list[Line]
    ticks: list[tuple[float, str]]
    """(y, text) of the vertical axis."""
    rounds: list[tuple[float, str]]
    """(x, text) of the horizontal axis."""
    width: int = WIDTH
    height: int = HEIGHT


def quality_charts(rounds: Sequence[RoundView]) -> list[Chart]:
    """Charts of how good the labels are.

    With truth there is one for each metric, with precision, recall and F1. Without truth there is
    one for each type, with the estimated F1.
    """
    charts = []
    for metric in METRICS:
        series: dict[str, list[float | None]] = {}
        for ratio in _RATIOS:
            series[ratio] = [_ratio(view, metric, ratio) for view in rounds]
        if _has_values(series["f1"]):
            chart = _share_chart(NAMES[metric], series, rounds)
            charts.append(chart)
    if charts:
        return charts
    for kind in KINDS:
        estimated = _estimated_f1(kind, rounds)
        if _has_values(estimated):
            title = f"{NAMES[kind]}, estimated without truth"
            charts.append(_share_chart(title, {"f1": estimated}, rounds))
    return charts


def _has_values(values: Sequence[float | None]) -> bool:
    """Whether any round has a value."""
    return any(value is not None for value in values)


def counts_charts(rounds: Sequence[RoundView]) -> list[Chart]:
    """How many annotations of each type were kept."""
    charts = []
    for kind in KINDS:
        counts = [view.kept.get(kind, 0) for view in rounds]
        if any(counts):
            title = f"{NAMES[kind]} kept"
            charts.append(_count_chart(title, counts, rounds))
    return charts


def _ratio(view: RoundView, metric: str, ratio: Ratio) -> float | None:
    """Precision, recall or F1 of a metric, None for a round without that truth."""
    if view.metrics is None:
        return None
    scores = view.metrics["metrics"].get(metric)
    return None if scores is None else scores[ratio]


def _estimated_f1(kind: str, rounds: Sequence[RoundView]) -> list[float | None]:
    """The estimated F1 of one type of labels by round.

    That of round 0 is what the next round's model says of its labels.
    """
    values: list[float | None] = []
    for number, view in enumerate(rounds):
        found = view.estimates.get(kind, {}).get("f1_after")
        if number == 0 and len(rounds) > 1:
            found = rounds[1].estimates.get(kind, {}).get("f1_before")
        values.append(found)
    return values


def _share_chart(title: str, series: Series, rounds: Sequence[RoundView]) -> Chart:
    """A chart of values from 0 to 1.

    Args:
        title: of the chart.
        series: the values of its lines.
        rounds: the rounds, in the order of the values.
    """
    lines = []
    for name, values in series.items():
        labels = []
        for value in values:
            # A round without a value has no point, so its label is never shown.
            label = "" if value is None else f" {name} {value:,.3f}"
            labels.append(label)
        lines.append(_line(name, values, labels, rounds))
    ticks = []
    for step in _STEPS:
        ticks.append((_y(step), f"{step:.1f}"))
    return Chart(
        title=title,
        lines=lines,
        ticks=ticks,
        rounds=_round_names(rounds),
    )


def _count_chart(title: str, counts: Sequence[int], rounds: Sequence[RoundView]) -> Chart:
    """A chart of counts from 0 to a round number.

    Args:
        title: of the chart.
        counts: one for each round.
        rounds: the rounds.
    """
    highest = _round_up(max(counts))
    labels = [f" {count:,.0f}" for count in counts]
    shares = [count / highest for count in counts]
    ticks = []
    for step in _STEPS:
        value = step * highest
        ticks.append((_y(step), f"{value:,.0f}"))
    return Chart(
        title=title,
        lines=[_line("kept", shares, labels, rounds)],
        ticks=ticks,
        rounds=_round_names(rounds),
    )


def _line(
    name: str,
    shares: Sequence[float | None],
    labels: Sequence[str],
    rounds: Sequence[RoundView],
) -> Line:
    """A curve over the rounds.

    Args:
        name: of the curve.
        shares: the heights of its points, from 0 at the bottom to 1 at the top; None for no point.
        labels: what a point says behind the name of its round.
        rounds: the rounds.
    """
    points = []
    for i, view in enumerate(rounds):
        share = shares[i]
        if share is None:
            continue
        point = Point(
            x=_x(i, len(rounds)),
            y=_y(share),
            text=view.name + labels[i],
            rejected=view.status == "rejected",
        )
        points.append(point)
    return Line(name=name, points=points)


def _round_names(rounds: Sequence[RoundView]) -> list[tuple[float, str]]:
    """(x, number) of each round, for the horizontal axis.

    The fingerprint in the name of a round would not fit there.
    """
    names = []
    for i, view in enumerate(rounds):
        number, _, _ = view.name.partition("-")
        x = _x(i, len(rounds))
        names.append((x, number))
    return names


def _x(i: int, count: int) -> float:
    """Where the i-th of `count` rounds stands; a single round stands at the left."""
    plot_width = WIDTH - _LEFT - _RIGHT
    return _LEFT + plot_width * i / max(count - 1, 1)


def _y(share: float) -> float:
    """Where a share of the highest value stands; y points down in an SVG."""
    plot_height = HEIGHT - _TOP - _BOTTOM
    return round(_TOP + plot_height * (1 - share), 2)


def _round_up(value: float) -> float:
    """The next of 1, 2, 4, 6, 8 and 10 times a power of ten."""
    digits = len(str(int(value)))
    scale = 10 ** max(0, digits - 1)
    for step in (1, 2, 4, 6, 8):
        if step * scale >= value:
            return float(step * scale)
    return float(10 * scale)
