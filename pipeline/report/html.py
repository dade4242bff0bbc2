"""One self-contained HTML page: numbers, curves, and pictures with everything that is said about them.

Images travel as data URIs, drawings as inline SVG; it needs no network and no script, and holds no clock.
"""

from __future__ import annotations

import base64
import io
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from functools import cache
from typing import Any

from jinja2 import Environment, PackageLoader, StrictUndefined
from PIL import Image

from pipeline.quality.truth import METRICS
from pipeline.report.changes import changes
from pipeline.report.charts import Chart, counts_charts, quality_charts
from pipeline.report.explain import describe, told
from pipeline.report.overlay import QUAD_COLOUR, Chip, Colours, Overlay, chips, coloured_text, overlay
from pipeline.report.views import NAMES, PictureView, ReportData, RoundView
from pipeline.schema import KINDS, Annotations

_LONGEST_SIDE = 1280  # larger pictures are embedded scaled down
_EMBEDDED = {"JPEG": "image/jpeg", "PNG": "image/png", "WEBP": "image/webp"}
_CROWD = 8  # more labels than this are set smaller
_GLYPH = 0.56  # mean width of a letter of the page's font, in ems


@dataclass(frozen=True, slots=True, kw_only=True)
class Panel:
    """One round's view of a picture; `font` is the height of its labels in pixels of the image."""

    title: str
    overlay: Overlay
    font: float
    chips: list[Chip]
    texts: list[tuple[str, list[tuple[str, str | None]]]]


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
    return _environment().get_template("report.html").render(
        data=data,
        head=next((view for view in data.rounds if view.name == data.head), None),
        names=NAMES,
        kinds=list(KINDS),
        quad_colour=QUAD_COLOUR,
        metrics=_metric_names(data.rounds),
        charts=_charts(data.rounds),
        pictures=[_picture(view, data) for view in data.pictures],
    )  # fmt: skip


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
        f"{name} {status.get(name, '')}": view.rounds[name] for name in dict.fromkeys([first, head, last])
    }
    if view.truth is not None:
        shown["truth"] = view.truth
    colours, compared = Colours(), head if head != first else last
    return Picture(
        key=view.key,
        uri=data_uri(view.image),
        size=view.size,
        panels=[_panel(title, view.size, annotations, colours) for title, annotations in shown.items()],
        compared=compared,
        changed=[(c.what, told(c)) for c in changes(view.rounds[first], view.rounds[compared])],
        dropped=[describe(a) for a in view.rounds[compared].all() if a.dropped],
    )


def _panel(title: str, size: tuple[int, int], annotations: Annotations, colours: Colours) -> Panel:
    shapes, kept = overlay(annotations, colours), annotations.kept()
    crowded = len(shapes.boxes) + len(shapes.quads) > _CROWD
    font = max(size) / (40 if crowded else 32)
    return Panel(
        title=title,
        overlay=shapes,
        font=font,
        chips=chips(shapes, size, font * 1.4, lambda text: font * (_GLYPH * len(text) + 0.7)),
        texts=[(t.granularity, coloured_text(t, kept.triplets, colours)) for t in kept.texts],
    )


def data_uri(image: bytes) -> str:
    """The bytes as they are where browsers show them and they are not too large, else a copy."""
    with Image.open(io.BytesIO(image)) as picture:
        form = picture.format or ""
        if form not in _EMBEDDED or max(picture.size) > _LONGEST_SIDE:
            form = "JPEG" if form in ("JPEG", "WEBP") else "PNG"
            picture.thumbnail((_LONGEST_SIDE, _LONGEST_SIDE))
            copy = io.BytesIO()
            picture.convert("RGB").save(copy, form, quality=88)
            image = copy.getvalue()
    return f"data:{_EMBEDDED[form]};base64,{base64.b64encode(image).decode()}"


@cache
def _environment() -> Environment:
    environment = Environment(
        loader=PackageLoader("pipeline.report"), autoescape=True, undefined=StrictUndefined,
        trim_blocks=True, lstrip_blocks=True,
    )  # fmt: skip
    environment.filters["count"] = lambda value: f"{value:,}"
    environment.filters["path"] = svg_path
    environment.filters["total"] = lambda counts: sum(counts.values())
    environment.filters["commonest"] = commonest
    return environment


def commonest(counts: Mapping[str, int]) -> list[tuple[str, int]]:
    return sorted(counts.items(), key=lambda item: (-item[1], item[0]))


def svg_path(outlines: Sequence[Any]) -> str:
    """An SVG path of closed outlines through pixel centres."""
    return "".join(
        "M" + "L".join(f"{x + 0.5} {y + 0.5}" for x, y in points.tolist()) + "Z" for points in outlines
    )
