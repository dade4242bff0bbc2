"""One picture under its annotations, as the pages of this folder draw it, and their templates."""

from __future__ import annotations

import base64
import io
from collections.abc import Sequence
from dataclasses import dataclass
from functools import cache

import numpy as np
from jinja2 import Environment, PackageLoader, StrictUndefined

from pipeline.report.chips import Chip, chips
from pipeline.report.overlay import (
    QUAD_COLOUR,
    Colours,
    Overlay,
    TextPiece,
    coloured_text,
    overlay,
)
from pipeline.report.terminal import commonest
from pipeline.schema import Annotations
from stages.image_file import open_image

_LONGEST_SIDE = 1280  # pixels; larger pictures are embedded as smaller copies
_MIME_TYPES = {"JPEG": "image/jpeg", "PNG": "image/png", "WEBP": "image/webp"}
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


def data_uri(image: bytes) -> str:
    """The image as a data URI.

    The stored bytes are used as they are if browsers show their format and the picture is not too
    large. Otherwise a smaller copy is used.
    """
    with open_image(image) as picture:
        image_format = picture.format or ""
        if image_format not in _MIME_TYPES or max(picture.size) > _LONGEST_SIDE:
            image_format = "JPEG" if image_format in ("JPEG", "WEBP") else "PNG"
            picture.thumbnail((_LONGEST_SIDE, _LONGEST_SIDE))
            copy = io.BytesIO()
            picture.convert("RGB").save(copy, image_format, quality=88)
            image = copy.getvalue()
    encoded = base64.b64encode(image).decode()
    return f"data:{_MIME_TYPES[image_format]};base64,{encoded}"


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
