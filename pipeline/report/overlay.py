"""Annotations as coloured shapes in image pixels, for the HTML report and for drawn pictures.

One object has one colour everywhere: in each round, as a region, as a phrase of a text, and as a mask.
"""

from __future__ import annotations

from collections.abc import Iterable, Iterator, Sequence
from dataclasses import dataclass

import cv2
import numpy as np
from pycocotools import mask as coco_mask

from pipeline.quality.geometry import box_iou
from pipeline.schema import Annotations, Box, Mask, Quad, Region, Text, Triplet

PALETTE = (
    "#2563eb", "#e11d48", "#059669", "#d97706", "#7c3aed", "#0e7490", "#db2777", "#4d7c0f", "#b45309", "#4338ca",
)  # fmt: skip
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
    """The kept annotations as shapes: regions, and the boxes of triplets where there is no region; largest first."""
    kept = annotations.kept()
    owners = _distinct([*kept.regions, *kept.triplets])
    owners.sort(key=lambda owner: -_area(owner.box))
    return Overlay(
        boxes=[BoxShape(box=o.box, colour=colours.of(o.box), label=label(o)) for o in owners],
        masks=[
            MaskShape(outlines=outlines(o.mask), colour=colours.of(o.box))
            for o in owners
            if o.mask is not None
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


def coloured_text(text: Text, triplets: Iterable[Triplet], colours: Colours) -> list[tuple[str, str | None]]:
    """The text in pieces, each with the colour of the object it names or None. Of overlapping phrases the first wins."""
    spans = sorted(
        {(t.start, t.end): t for t in triplets if t.text_id == text.id and t.dropped is None}.items()
    )
    pieces: list[tuple[str, str | None]] = []
    position = 0
    for (start, end), triplet in spans:
        if start < position or end > len(text.text):
            continue
        pieces += [(text.text[position:start], None), (text.text[start:end], colours.of(triplet.box))]
        position = end
    return [piece for piece in [*pieces, (text.text[position:], None)] if piece[0]]


def outlines(mask: Mask) -> list[np.ndarray]:
    """The borders of a mask, simplified to within a pixel."""
    bitmap = coco_mask.decode({"size": list(mask.size), "counts": mask.counts.encode()})
    found, _ = cv2.findContours(bitmap, cv2.RETR_CCOMP, cv2.CHAIN_APPROX_NONE)
    simple = (cv2.approxPolyDP(contour, 0.7, True).reshape(-1, 2) for contour in found)
    return [points for points in simple if len(points) >= 3]


def place_labels(
    boxes: Sequence[Box], widths: Sequence[float], height: float, size: tuple[int, int]
) -> list[tuple[float, float]]:
    """Where the top left corner of each label goes: above its box, inside it or below it, off other labels if it can."""
    placed: list[Box] = []
    for box, width in zip(boxes, widths, strict=True):
        spots = [
            (x, y, x + width, y + height)
            for y in (box[1] - height, box[1], box[3] - height, box[3])
            for x in (max(0.0, min(box[0], size[0] - width)), max(0.0, box[2] - width))
            if y >= 0 and y + height <= size[1]
        ] or [(max(0.0, min(box[0], size[0] - width)), max(0.0, box[1]), box[2], box[3])]
        clashes = [box_iou([spot], placed).sum() if placed else 0.0 for spot in spots]
        placed.append(spots[int(np.argmin(clashes))])
    return [spot[:2] for spot in placed]


def _distinct(owners: Iterable[Region | Triplet]) -> list[Region | Triplet]:
    """One owner per object: the first of those whose boxes are nearly equal."""

    def walk() -> Iterator[Region | Triplet]:
        seen: list[Box] = []
        for owner in owners:
            if isinstance(owner, Region) or not seen or box_iou([owner.box], seen).max() < _SAME_OBJECT:
                seen.append(owner.box)
                yield owner

    return list(walk())


def _area(box: Box) -> float:
    return (box[2] - box[0]) * (box[3] - box[1])
