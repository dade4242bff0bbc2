"""Where the labels of boxes and quads are set, so that few of them overlap."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from dataclasses import dataclass

import numpy as np

from pipeline.report.overlay import Overlay
from pipeline.report.palette import QUAD_COLOUR
from pipeline.schema import Box
from stages.geometry import box_iou, quad_bounds


@dataclass(frozen=True, slots=True, kw_only=True)
class Chip:
    """A label on a rounded rectangle, in pixels of the image."""

    x: float
    """Left edge."""
    y: float
    """Top edge."""
    width: float
    text: str
    colour: str
    """Of the rectangle, as #rrggbb."""


def chips(
    shapes: Overlay, size: tuple[float, float], height: float, width_of: Callable[[str], float]
) -> list[Chip]:
    """A label for each box and quad.

    A label stands above its box, inside it or below it, where it overlaps the labels before it
    least.

    Args:
        shapes: the boxes and quads.
        size: (width, height) of the picture in pixels.
        height: of a label in pixels.
        width_of: from a text to the width of its label in pixels.
    """
    placed: list[Box] = []
    labels: list[Chip] = []

    def place(box: Box, text: str, colour: str) -> None:
        spots = _spots(box, size, width_of(text), height)
        spot = _freest(spots, placed)
        placed.append(spot)
        x0, y0, x1, _ = spot
        label = Chip(
            x=x0,
            y=y0,
            width=x1 - x0,
            text=text,
            colour=colour,
        )
        labels.append(label)

    for shape in shapes.boxes:
        place(shape.box, shape.label, shape.colour)
    for quad in shapes.quads:
        place(quad_bounds(quad.quad), quad.label, QUAD_COLOUR)
    return labels


def _spots(box: Box, size: tuple[float, float], width: float, height: float) -> list[Box]:
    """Where a label may stand: at the left or right edge of its box, at four heights."""
    x0, y0, x1, y1 = box
    picture_width, picture_height = size
    # A label that would cross an edge of the picture is moved inside.
    rightmost = max(0.0, picture_width - width)
    at_left_edge = min(max(x0, 0.0), rightmost)
    at_right_edge = min(max(x1 - width, 0.0), rightmost)
    above = y0 - height
    inside_below_top = y0
    inside_above_bottom = y1 - height
    below = y1
    spots = []
    for top in (above, inside_below_top, inside_above_bottom, below):
        if top < 0 or top > picture_height - height:
            continue
        for left in (at_left_edge, at_right_edge):
            spot = (left, top, left + width, top + height)
            spots.append(spot)
    if not spots:
        # The picture is lower than a label.
        return [(0.0, 0.0, width, height)]
    return spots


def _freest(spots: Sequence[Box], placed: Sequence[Box]) -> Box:
    """The first of the spots that overlap the placed labels least."""
    if not placed:
        return spots[0]
    overlaps = box_iou(spots, placed).sum(axis=1)
    return spots[int(np.argmin(overlaps))]
