"""Curves over the rounds as points of small SVG charts."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass

from pipeline.quality.truth import METRICS
from pipeline.report.views import NAMES, RoundView
from pipeline.schema import KINDS

WIDTH, HEIGHT = 280, 150
_RATIOS = ("precision", "recall", "f1")
_LEFT, _RIGHT, _TOP, _BOTTOM = 34, 14, 12, 26


@dataclass(frozen=True, slots=True, kw_only=True)
class Point:
    x: float
    y: float
    text: str
    rejected: bool


@dataclass(frozen=True, slots=True, kw_only=True)
class Line:
    name: str
    points: list[Point]


@dataclass(frozen=True, slots=True, kw_only=True)
class Chart:
    """`ticks` are (y, text) of the vertical axis, `rounds` (x, text) of the horizontal one."""

    title: str
    lines: list[Line]
    ticks: list[tuple[float, str]]
    rounds: list[tuple[float, str]]
    width: int = WIDTH
    height: int = HEIGHT


def quality_charts(rounds: Sequence[RoundView]) -> list[Chart]:
    """Precision, recall and F1 of each metric; without truth, how much the model re-found."""
    scored = [view.metrics["metrics"] if view.metrics else {} for view in rounds]
    charts = [
        _chart(
            NAMES[metric],
            {name: [values.get(metric, {}).get(name) for values in scored] for name in _RATIOS},
            rounds,
            1.0,
        )
        for metric in METRICS
        if any(metric in values for values in scored)
    ]
    refound = [view.agreement["refound"] if view.agreement else None for view in rounds]
    if not charts and any(value is not None for value in refound):
        charts = [_chart("old labels that the model re-found", {"share": refound}, rounds, 1.0)]
    return charts


def counts_charts(rounds: Sequence[RoundView]) -> list[Chart]:
    """How many annotations of each type were kept."""
    kinds = [kind for kind in KINDS if any(view.kept.get(kind) for view in rounds)]
    return [
        _chart(
            f"{NAMES[kind]} kept",
            {"kept": [view.kept.get(kind, 0) for view in rounds]},
            rounds,
            None,
        )
        for kind in kinds
    ]


def _chart(
    title: str,
    series: dict[str, list[float | None]],
    rounds: Sequence[RoundView],
    top: float | None,
) -> Chart:
    highest = top or _round_up(max(value or 0 for values in series.values() for value in values))
    xs = [
        _LEFT + (WIDTH - _LEFT - _RIGHT) * i / max(len(rounds) - 1, 1) for i in range(len(rounds))
    ]
    lines = [
        Line(
            name=name,
            points=[
                Point(
                    x=x,
                    y=_y(value / highest),
                    text=f"{view.name} {name} {value:,.3f}" if top else f"{view.name} {value:,.0f}",
                    rejected=view.status == "rejected",
                )
                for x, value, view in zip(xs, values, rounds, strict=True)
                if value is not None
            ],
        )
        for name, values in series.items()
    ]
    steps = (0.0, 0.5, 1.0)
    ticks = [
        (_y(step), f"{step * highest:.1f}" if top else f"{step * highest:,.0f}") for step in steps
    ]
    names = [(x, view.name.split("-")[0]) for x, view in zip(xs, rounds, strict=True)]
    return Chart(title=title, lines=lines, ticks=ticks, rounds=names)


def _y(share: float) -> float:
    return round(_TOP + (HEIGHT - _TOP - _BOTTOM) * (1 - share), 2)


def _round_up(value: float) -> float:
    """The next of 1, 2, 4, 6, 8 and 10 times a power of ten."""
    scale = 10 ** max(0, len(str(int(value))) - 1)
    return float(next(step * scale for step in (1, 2, 4, 6, 8, 10) if step * scale >= value))
