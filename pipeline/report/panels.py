"""One picture under its annotations, as the pages of this folder draw it, and their templates."""

from __future__ import annotations

import base64
import io
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from functools import cache
from typing import Any

from jinja2 import Environment, PackageLoader, StrictUndefined
from PIL import Image

from pipeline.report.overlay import (
    QUAD_COLOUR,
    Chip,
    Colours,
    Overlay,
    chips,
    coloured_text,
    overlay,
)
from pipeline.schema import Annotations

_LONGEST_SIDE = 1280  # larger pictures are embedded scaled down
_EMBEDDED = {"JPEG": "image/jpeg", "PNG": "image/png", "WEBP": "image/webp"}
_CROWD = 8  # more labels than this are set smaller
_GLYPH = 0.56  # mean width of a letter of the page's font, in ems


@dataclass(frozen=True, slots=True, kw_only=True)
class Panel:
    """One view of a picture; `font` is the height of its labels in pixels of the image."""

    title: str
    overlay: Overlay
    font: float
    chips: list[Chip]
    texts: list[tuple[str, list[tuple[str, str | None]]]]


def panel(title: str, size: tuple[int, int], annotations: Annotations, colours: Colours) -> Panel:
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
def environment() -> Environment:
    made = Environment(
        loader=PackageLoader("pipeline.report"),
        autoescape=True,
        undefined=StrictUndefined,
        trim_blocks=True,
        lstrip_blocks=True,
    )
    made.globals["quad_colour"] = QUAD_COLOUR
    made.filters["count"] = lambda value: f"{value:,}"
    made.filters["path"] = svg_path
    made.filters["total"] = lambda counts: sum(counts.values())
    made.filters["commonest"] = commonest
    return made


def commonest(counts: Mapping[str, int]) -> list[tuple[str, int]]:
    return sorted(counts.items(), key=lambda item: (-item[1], item[0]))


def svg_path(outlines: Sequence[Any]) -> str:
    """An SVG path of closed outlines through pixel centres."""
    return "".join(
        "M" + "L".join(f"{x + 0.5} {y + 0.5}" for x, y in points.tolist()) + "Z"
        for points in outlines
    )
