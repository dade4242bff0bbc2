"""Annotations as coloured shapes in image pixels, for the HTML report and for drawn pictures.

One object has one colour everywhere: in each round, as a region, as a phrase of a text, and as a
mask.
"""

from __future__ import annotations

from collections.abc import Iterable, Sequence
from dataclasses import dataclass

import cv2
import numpy as np

from pipeline.report.palette import PALETTE
from pipeline.schema import Annotations, Box, Mask, Quad, Region, Text, Triplet
from stages.geometry import area, box_iou, decode_mask

_DROPPED_COLOUR = "#6b7280"
_SAME_OBJECT = 0.5  # the IoU from which on two boxes are of one object
_LONGEST_LABEL = 28  # letters

TextPiece = tuple[str, str | None]  # a piece of a text, and the colour of the object it names
Owner = Region | Triplet  # an annotation with a box and perhaps a mask


@dataclass(frozen=True, slots=True, kw_only=True)
class BoxShape:
    """A box with its label."""

    box: Box
    colour: str
    label: str


@dataclass(frozen=True, slots=True, kw_only=True)
class MaskShape:
    """A mask, to be filled by the even-odd rule."""

    outlines: list[np.ndarray]
    """Each is (points, 2) int32 xy; holes are outlines too."""
    colour: str


@dataclass(frozen=True, slots=True, kw_only=True)
class QuadShape:
    """A word in the picture."""

    quad: Quad
    label: str


@dataclass(frozen=True, slots=True, kw_only=True)
class Overlay:
    """All shapes of one picture, the largest boxes first."""

    boxes: list[BoxShape]
    masks: list[MaskShape]
    quads: list[QuadShape]
    dropped: list[BoxShape]


class Colours:
    """Gives each box the number and the colour of the first box before it of the same object."""

    def __init__(self) -> None:
        self._objects: list[Box] = []

    def of(self, box: Box) -> str:
        """The colour of a box, as #rrggbb."""
        number = self.number(box)
        return PALETTE[number % len(PALETTE)]

    def number(self, box: Box) -> int:
        """The number of the object in a box, from 0."""
        index = len(self._objects)
        if self._objects:
            overlap = box_iou([box], self._objects)[0]
            nearest = int(overlap.argmax())
            if overlap[nearest] >= _SAME_OBJECT:
                index = nearest
        if index == len(self._objects):
            self._objects.append(box)
        return index


def overlay(annotations: Annotations, colours: Colours) -> Overlay:
    """Kept regions as shapes, and the boxes of triplets where there is no region.

    Args:
        annotations: of one picture; dropped regions become shapes of their own.
        colours: of the objects; those of the picture's other views, so that all views agree.
    """
    kept = annotations.kept()
    owners: list[Owner] = [*kept.regions, *kept.triplets]
    boxes = []
    for owner in sorted(_distinct(owners), key=_area, reverse=True):
        colour = colours.of(owner.box)
        boxes.append(BoxShape(box=owner.box, colour=colour, label=label(owner)))
    masks = []
    for owner in _distinct(owner for owner in owners if owner.mask is not None):
        if owner.mask:
            colour = colours.of(owner.box)
            masks.append(MaskShape(outlines=outlines(owner.mask), colour=colour))
    dropped = []
    for region in annotations.regions:
        if region.dropped:
            text = f"{region.phrase}: {region.dropped}"
            dropped.append(BoxShape(box=region.box, colour=_DROPPED_COLOUR, label=text))
    quads = []
    for word in kept.text_regions:
        quads.append(QuadShape(quad=word.quad, label=word.text))
    return Overlay(boxes=boxes, masks=masks, quads=quads, dropped=dropped)


def label(owner: Owner) -> str:
    """The chosen brief text if it is short, else the category (or the phrase of a triplet)."""
    if isinstance(owner, Region):
        brief = owner.brief or ""
        if 0 < len(brief) <= _LONGEST_LABEL:
            return brief
    if len(owner.phrase) <= _LONGEST_LABEL:
        return owner.phrase
    return owner.phrase[: _LONGEST_LABEL - 3] + "..."


def coloured_text(text: Text, triplets: Iterable[Triplet], colours: Colours) -> list[TextPiece]:
    """The text in pieces, each with the colour of the object that it names, None for none.

    Of phrases that overlap, the first is coloured.

    Args:
        text: the text.
        triplets: of the picture; those of other texts are left out.
        colours: of the objects.
    """
    boxes: dict[tuple[int, int], Box] = {}
    for triplet in triplets:
        if triplet.text_id == text.id and triplet.dropped is None:
            boxes[triplet.start, triplet.end] = triplet.box
    words = text.text
    pieces: list[TextPiece] = []
    position = 0
    for span in sorted(boxes):
        start, end = span
        if start < position or end > len(words):
            continue
        pieces.append((words[position:start], None))
        pieces.append((words[start:end], colours.of(boxes[span])))
        position = end
    pieces.append((words[position:], None))
    return [(piece, colour) for piece, colour in pieces if piece]


def outlines(mask: Mask) -> list[np.ndarray]:
    """The borders of a mask, simplified to within a pixel.

    Args:
        mask: run lengths of one object.

    Returns:
        For each border or hole its corners, (points, 2) int32 xy in pixels.
    """
    contours, _ = cv2.findContours(decode_mask(mask), cv2.RETR_CCOMP, cv2.CHAIN_APPROX_NONE)
    borders = []
    for contour in contours:
        points = cv2.approxPolyDP(contour, 0.7, True).reshape(-1, 2)
        if len(points) >= 3:
            borders.append(points)
    return borders


def _area(owner: Owner) -> float:
    return area(owner.box)


def _distinct(owners: Iterable[Owner]) -> list[Owner]:
    """All regions, and the first triplet of each object that no region shows."""
    distinct: list[Owner] = []
    for owner in owners:
        if isinstance(owner, Region) or not _is_shown(owner, distinct):
            distinct.append(owner)
    return distinct


def _is_shown(owner: Owner, others: Sequence[Owner]) -> bool:
    """Whether one of the others is of the same object."""
    boxes = [other.box for other in others]
    if not boxes:
        return False
    overlap = box_iou([owner.box], boxes)
    return bool(overlap.max() >= _SAME_OBJECT)
