"""Curves over the rounds as points of small SVG charts."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass

from pipeline.quality.truth import METRICS
from pipeline.report.views import NAMES, RoundView
from pipeline.schema import KINDS

WIDTH, HEIGHT = 280, 150
_RATIOS = ("precision", "recall", "f1")
# Margins around the plot, in units of the SVG.
_LEFT, _RIGHT, _TOP, _BOTTOM = 34, 14, 12, 26
_STEPS = (0.0, 0.5, 1.0)  # ticks, as shares of the highest value

# By the name of a line, its value in each round; None where a round has none.
Series = Mapping[str, Sequence[float | None]]


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
    """Precision, recall and F1 of each metric; without truth, how much the model re-found."""
    charts = []
    for metric in METRICS:
        series = {}
        for ratio in _RATIOS:
            series[ratio] = [_ratio(view, metric, ratio) for view in rounds]
        if any(value is not None for value in series["f1"]):
            charts.append(_share_chart(NAMES[metric], series, rounds))
    if charts:
        return charts
    refound = [_refound(view) for view in rounds]
    if all(value is None for value in refound):
        return []
    series = {"share": refound}
    return [_share_chart("old labels that the model re-found", series, rounds)]


def counts_charts(rounds: Sequence[RoundView]) -> list[Chart]:
    """How many annotations of each type were kept."""
    charts = []
    for kind in KINDS:
        counts = [view.kept.get(kind, 0) for view in rounds]
        if any(counts):
            charts.append(_count_chart(f"{NAMES[kind]} kept", counts, rounds))
    return charts


def _ratio(view: RoundView, metric: str, ratio: str) -> float | None:
    """Precision, recall or F1 of a metric, None for a round without that truth."""
    if view.metrics is None or metric not in view.metrics["metrics"]:
        return None
    value: float = view.metrics["metrics"][metric][ratio]
    return value


def _refound(view: RoundView) -> float | None:
    """The share of old labels that the round's model found again."""
    return view.agreement["refound"] if view.agreement else None


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
            labels.append("" if value is None else f" {name} {value:,.3f}")
        lines.append(_line(name, values, labels, rounds))
    ticks = [(_y(step), f"{step:.1f}") for step in _STEPS]
    return Chart(title=title, lines=lines, ticks=ticks, rounds=_round_names(rounds))


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
    ticks = [(_y(step), f"{step * highest:,.0f}") for step in _STEPS]
    lines = [_line("kept", shares, labels, rounds)]
    return Chart(title=title, lines=lines, ticks=ticks, rounds=_round_names(rounds))


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
    """(x, number) of each round, for the horizontal axis."""
    names = []
    for i, view in enumerate(rounds):
        number, _, _ = view.name.partition("-")
        names.append((_x(i, len(rounds)), number))
    return names


def _x(i: int, count: int) -> float:
    """Where the i-th of `count` rounds stands, in units of the SVG."""
    width = WIDTH - _LEFT - _RIGHT
    return _LEFT + width * i / max(count - 1, 1)


def _y(share: float) -> float:
    """Where a share of the highest value stands, in units of the SVG; y points down."""
    height = HEIGHT - _TOP - _BOTTOM
    return round(_TOP + height * (1 - share), 2)


def _round_up(value: float) -> float:
    """The next of 1, 2, 4, 6, 8 and 10 times a power of ten."""
    digits = len(str(int(value)))
    scale = 10 ** max(0, digits - 1)
    for step in (1, 2, 4, 6, 8):
        if step * scale >= value:
            return float(step * scale)
    return float(10 * scale)
