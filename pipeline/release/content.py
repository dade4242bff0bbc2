"""What of a record is released: the labels that are kept and that stand by themselves.

A label that filters or merges dropped is left out with its reason. So is one that no reader could
use: a box outside of the image, a phrase of a text that is not released, a span that is not in its
text, a mask of another size. Boxes and quads are clipped to the image.
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, field, replace
from typing import Any

from pipeline.release.personal import PERSONAL_DATA, PersonalData
from pipeline.rows import Failure, Record
from pipeline.schema import (
    CROWD,
    KINDS,
    Annotation,
    Annotations,
    Box,
    Mask,
    Quad,
    Region,
    Text,
    TextRegion,
    Triplet,
)
from stages.geometry import clipped, clipped_box, runs_of
from stages.sources.shapes import is_polygon

OUTSIDE, NO_TEXT, SPAN, MASK = "outside_image", "text_not_released", "span_not_in_text", "bad_mask"
"""Why a kept label is not released."""


@dataclass(frozen=True, slots=True, kw_only=True)
class LeftOut:
    """A label that is not released."""

    kind: str
    id: str
    reason: str


@dataclass(frozen=True, slots=True)
class Content:
    """A record as it is released, and what is not."""

    record: Record
    left_out: list[LeftOut] = field(default_factory=list)


def content_of(
    record: Record,
    personal: PersonalData | None = None,
    crowds: bool = False,
) -> Content:
    """What of a record is released.

    Args:
        record: a record of a round.
        personal: leave out labels in which this finds something.
        crowds: keep crowds, too. A round has them as dropped labels.
    """
    size = (record.width, record.height)
    released = Annotations()
    left_out: list[LeftOut] = []
    texts: dict[str, str] = {}
    # Texts come first, so a phrase finds out whether its text is released.
    for kind in KINDS:
        for annotation in getattr(record.annotations, kind):
            label = _clipped(annotation, size)
            is_crowd = crowds and annotation.dropped == CROWD
            dropped = None if is_crowd else annotation.dropped
            reason = dropped or problem_of(label, size, texts)
            if not reason and personal is not None and personal.kinds(label):
                reason = PERSONAL_DATA
            if reason:
                left_out.append(LeftOut(kind=kind, id=annotation.id, reason=reason))
                continue
            getattr(released, kind).append(label)
            if isinstance(label, Text):
                texts[label.id] = label.text
    # The detail of a failure may name files and hosts of the run.
    failures = [Failure(stage=each.stage, reason=each.reason) for each in record.failures]
    return Content(replace(record, annotations=released, failures=failures), left_out)


def problem_of(
    annotation: Any,
    size: tuple[int, int],
    texts: Mapping[str, str],
) -> str:
    """Why no reader could use a label; empty if nothing is wrong.

    Args:
        annotation: a text, region, text region or triplet.
        size: (width, height) of the image in pixels.
        texts: the released texts of the sample by their id.
    """
    if isinstance(annotation, TextRegion):
        return "" if _inside(annotation.quad, size) else OUTSIDE
    if isinstance(annotation, Region | Triplet):
        if not is_box_inside(annotation.box, size):
            return OUTSIDE
        if annotation.mask is not None and not is_mask_good(annotation.mask, size):
            return MASK
    if isinstance(annotation, Triplet):
        text = texts.get(annotation.text_id)
        if text is None:
            return NO_TEXT
        if text[annotation.start : annotation.end] != annotation.phrase:
            return SPAN
    return ""


def is_box_inside(box: Box, size: tuple[int, int]) -> bool:
    """Whether a box (xyxy) has an area and lies in an image of (width, height)."""
    left, top, right, bottom = box
    return _inside(box, size) and left < right and top < bottom


def is_mask_good(mask: Mask, size: tuple[int, int]) -> bool:
    """Whether a mask decodes to an image of (width, height), and its polygons lie near it."""
    width, height = size
    if tuple(mask.size) != (height, width):
        return False
    # pycocotools does not check run lengths: it would write beyond the end of its array.
    runs = runs_of(mask.counts)
    if runs is None or min(runs, default=0) < 0 or sum(runs) != width * height:
        return False
    return all(is_polygon(list(polygon), size) for polygon in mask.polygons or ())


def _inside(points: Box | Quad, size: tuple[int, int]) -> bool:
    """Whether points x0 y0 x1 y1 .. lie in an image of (width, height), its edges included."""
    for number, value in enumerate(points):
        most = size[number % 2]
        if not 0 <= value <= most:
            return False
    return True


def _clipped(annotation: Annotation, size: tuple[int, int]) -> Annotation:
    """A label with its box or quad clipped to an image of (width, height)."""
    if isinstance(annotation, TextRegion):
        quad: Any = clipped(annotation.quad, size)
        return annotation if quad == annotation.quad else replace(annotation, quad=quad)
    if isinstance(annotation, Region | Triplet):
        box = clipped_box(annotation.box, size)
        return annotation if box == annotation.box else replace(annotation, box=box)
    return annotation
