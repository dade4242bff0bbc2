"""Annotations as coloured shapes in image pixels, for the HTML report and for drawn pictures.

One object has one colour everywhere: in each round, as a region, as a phrase of a text, and as a mask.
"""

from __future__ import annotations

from collections.abc import Callable, Iterable
from dataclasses import dataclass

import cv2
import numpy as np

from pipeline.schema import Annotations, Box, Mask, Quad, Region, Text, Triplet
from stages.geometry import area, box_iou, decode_mask, quad_bounds

PALETTE = (
    "#2563eb",
    "#e11d48",
    "#059669",
    "#d97706",
    "#7c3aed",
    "#0e7490",
    "#db2777",
    "#4d7c0f",
    "#b45309",
    "#4338ca",
)
QUAD_COLOUR = "#fbbf24"
_SAME_OBJECT = 0.5
_LONGEST_LABEL = 28


@dataclass(frozen=True, slots=True, kw_only=True)
class BoxShape:
    box: Box
    colour: str
    label: str


@dataclass(frozen=True, slots=True, kw_only=True)
class MaskShape:
    """Outlines, each an (n, 2) integer array; holes are outlines too (fill even-odd)."""

    outlines: list[np.ndarray]
    colour: str


@dataclass(frozen=True, slots=True, kw_only=True)
class QuadShape:
    quad: Quad
    label: str


@dataclass(frozen=True, slots=True, kw_only=True)
class Chip:
    """A label on a rounded rectangle, (x, y) its top left corner."""

    x: float
    y: float
    width: float
    text: str
    colour: str


@dataclass(frozen=True, slots=True, kw_only=True)
class Overlay:
    boxes: list[BoxShape]
    masks: list[MaskShape]
    quads: list[QuadShape]
    dropped: list[BoxShape]


class Colours:
    """Gives each box the colour of the first seen box that it overlaps by half."""

    def __init__(self) -> None:
        self._anchors: list[Box] = []

    def of(self, box: Box) -> str:
        overlap = box_iou([box], self._anchors)[0] if self._anchors else np.zeros(1)
        index = int(overlap.argmax())
        if overlap[index] < _SAME_OBJECT:
            index = len(self._anchors)
            self._anchors.append(box)
        return PALETTE[index % len(PALETTE)]


def overlay(annotations: Annotations, colours: Colours) -> Overlay:
    """Kept regions, and the boxes of triplets where there is no region, as shapes, the largest first."""
    kept = annotations.kept()
    everything: list[Region | Triplet] = [*kept.regions, *kept.triplets]
    owners = sorted(_distinct(everything), key=lambda owner: -area(owner.box))
    masked = _distinct(owner for owner in everything if owner.mask is not None)
    return Overlay(
        boxes=[BoxShape(box=o.box, colour=colours.of(o.box), label=label(o)) for o in owners],
        masks=[
            MaskShape(outlines=outlines(o.mask), colour=colours.of(o.box)) for o in masked if o.mask
        ],
        quads=[QuadShape(quad=t.quad, label=t.text) for t in kept.text_regions],
        dropped=[
            BoxShape(box=r.box, colour="#6b7280", label=f"{r.phrase}: {r.dropped}")
            for r in annotations.regions
            if r.dropped
        ],
    )


def label(owner: Region | Triplet) -> str:
    """The chosen brief text where it is short, else the category (or the phrase of a triplet)."""
    brief = owner.brief if isinstance(owner, Region) else None
    text = brief if brief and len(brief) <= _LONGEST_LABEL else owner.phrase
    return text if len(text) <= _LONGEST_LABEL else text[: _LONGEST_LABEL - 3] + "..."


def coloured_text(
    text: Text, triplets: Iterable[Triplet], colours: Colours
) -> list[tuple[str, str | None]]:
    """The text in pieces, each with the colour of the object it names; of overlapping phrases the first."""
    spans = sorted(
        {
            (t.start, t.end): t for t in triplets if t.text_id == text.id and t.dropped is None
        }.items()
    )
    pieces: list[tuple[str, str | None]] = []
    position = 0
    for (start, end), triplet in spans:
        if start < position or end > len(text.text):
            continue
        pieces += [
            (text.text[position:start], None),
            (text.text[start:end], colours.of(triplet.box)),
        ]
        position = end
    return [piece for piece in [*pieces, (text.text[position:], None)] if piece[0]]


def outlines(mask: Mask) -> list[np.ndarray]:
    """The borders of a mask, simplified to within a pixel."""
    found, _ = cv2.findContours(decode_mask(mask), cv2.RETR_CCOMP, cv2.CHAIN_APPROX_NONE)
    simple = (cv2.approxPolyDP(contour, 0.7, True).reshape(-1, 2) for contour in found)
    return [points for points in simple if len(points) >= 3]


def chips(
    shapes: Overlay, size: tuple[float, float], height: float, width_of: Callable[[str], float]
) -> list[Chip]:
    """A label for each box and quad: above it, inside or below it, away from the other labels if possible."""
    wanted = [(shape.box, shape.label, shape.colour) for shape in shapes.boxes]
    wanted += [(quad_bounds(shape.quad), shape.label, QUAD_COLOUR) for shape in shapes.quads]
    placed: list[Box] = []
    for box, text, _ in wanted:
        width = width_of(text)
        right = max(0.0, size[0] - width)
        spots = [
            (x, y, x + width, y + height)
            for y in (box[1] - height, box[1], box[3] - height, box[3])
            for x in (min(max(box[0], 0.0), right), min(max(box[2] - width, 0.0), right))
            if 0 <= y <= size[1] - height
        ] or [(0.0, 0.0, width, height)]
        clashes = [box_iou([spot], placed).sum() if placed else 0.0 for spot in spots]
        placed.append(spots[int(np.argmin(clashes))])
    return [
        Chip(x=spot[0], y=spot[1], width=spot[2] - spot[0], text=text, colour=colour)
        for spot, (_, text, colour) in zip(placed, wanted, strict=True)
    ]


def _distinct(owners: Iterable[Region | Triplet]) -> list[Region | Triplet]:
    """All regions, and the first triplet of each object that no region shows."""
    found: list[Region | Triplet] = []
    for owner in owners:
        boxes = [other.box for other in found]
        if (
            isinstance(owner, Region)
            or not boxes
            or box_iou([owner.box], boxes).max() < _SAME_OBJECT
        ):
            found.append(owner)
    return found
