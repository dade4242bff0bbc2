"""One picture under its annotations, as the pages of this folder draw it, and their templates."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from functools import cache

import numpy as np
from jinja2 import Environment, PackageLoader, StrictUndefined

from pipeline.report.chips import Chip, chips
from pipeline.report.overlay import (
    Colours,
    Overlay,
    TextPiece,
    coloured_text,
    overlay,
)
from pipeline.report.palette import QUAD_COLOUR, ink_on
from pipeline.report.terminal import commonest
from pipeline.schema import Annotations

_CROWDED = 8  # with more labels than this, all are set smaller
_GLYPH = 0.56  # mean width of a letter of the page's font, in ems


@dataclass(frozen=True, slots=True, kw_only=True)
class Panel:
    """One view of a picture."""

    title: str
    overlay: Overlay
    """Boxes, masks and quads, in pixels of the image."""
    font: float
    """Height of the labels, in pixels of the image."""
    chips: list[Chip]
    """The labels."""
    texts: Sequence[tuple[str, Sequence[TextPiece]]]
    """Granularity and coloured pieces of each text."""


def panel(title: str, size: tuple[int, int], annotations: Annotations, colours: Colours) -> Panel:
    """A picture of (width, height) pixels with its annotations."""
    shapes = overlay(annotations, colours)
    crowded = len(shapes.boxes) + len(shapes.quads) > _CROWDED
    font = max(size) / (40 if crowded else 32)
    kept = annotations.kept()
    texts = []
    for text in kept.texts:
        texts.append((text.granularity, coloured_text(text, kept.triplets, colours)))
    return Panel(
        title=title,
        overlay=shapes,
        font=font,
        chips=chips(shapes, size, font * 1.4, lambda text: font * (_GLYPH * len(text) + 0.7)),
        texts=texts,
    )


@cache
def environment() -> Environment:
    """The templates of this folder."""
    environment = Environment(
        loader=PackageLoader("pipeline.report"),
        autoescape=True,
        undefined=StrictUndefined,
        trim_blocks=True,
        lstrip_blocks=True,
    )
    environment.globals["quad_colour"] = QUAD_COLOUR
    environment.filters["count"] = lambda value: f"{value:,}"
    environment.filters["ink_on"] = ink_on
    environment.filters["path"] = svg_path
    environment.filters["total"] = lambda counts: sum(counts.values())
    environment.filters["commonest"] = commonest
    return environment


def svg_path(outlines: Sequence[np.ndarray]) -> str:
    """An SVG path of closed outlines, each (points, 2) int xy, through the centres of pixels."""
    path = ""
    for outline in outlines:
        points = [f"{x + 0.5} {y + 0.5}" for x, y in outline.tolist()]
        path += "M" + "L".join(points) + "Z"
    return path
