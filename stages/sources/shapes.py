"""COCO's boxes and segmentations, checked and converted to ours.

A box and an outline are judged apart, and so is each polygon of an outline. pycocotools trusts its
input, and takes a polygon that reaches far outside for a large one, so everything is checked before
it gets there.
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, field
from itertools import pairwise
from typing import TypedDict, TypeGuard

from pipeline.schema import Box, Mask
from stages.geometry import runs_of
from stages.ingest import MAX_PIXELS

MALFORMED_BOX, EMPTY_BOX, OUTSIDE_IMAGE = "malformed_box", "empty_box", "outside_image"
# Above it a float cannot hold every whole number.
MAX_NUMBER = 2**53
# The longest side of a JPEG, in pixels.
MAX_SIDE = 65_535
# Length of a polygon's outline in pixels: pycocotools takes about 100 bytes for each of them.
MAX_OUTLINE = 1 << 20

# (width, height) in pixels.
Size = tuple[int, int]
# [x1, y1, x2, y2, ...] in pixels.
Polygon = list[float]


class RunLengths(TypedDict):
    """COCO's run-length encoding of a mask, not compressed."""

    size: list[int]
    """[height, width] in pixels."""

    counts: list[int]
    """Lengths of the runs of 0 and 1 in turn, column by column."""


def is_number(value: object) -> TypeGuard[float]:
    """Whether a value of JSON is a number of a sensible size; true and false are not."""
    if isinstance(value, bool) or not isinstance(value, int | float):
        return False
    return abs(value) < MAX_NUMBER


def is_possible(size: Size) -> bool:
    """Whether ingest could accept an image of this size."""
    width, height = size
    if min(size) < 1 or max(size) > MAX_SIDE:
        return False
    return width * height <= MAX_PIXELS


def box_of(bbox: object, size: Size) -> tuple[Box | None, str | None]:
    """COCO's [x, y, width, height] as one of our boxes.

    Args:
        bbox: any value of JSON.
        size: (width, height) of the picture in pixels.

    Returns:
        The box, xyxy in pixels, or None if `bbox` is not one; and what is wrong with it, or None
        if it is of use.
    """
    if not isinstance(bbox, list) or len(bbox) != 4:
        return None, MALFORMED_BOX
    if not all(map(is_number, bbox)):
        return None, MALFORMED_BOX
    x, y, width, height = map(float, bbox)
    right = x + width
    bottom = y + height
    box = (x, y, right, bottom)
    if width <= 0 or height <= 0:
        return box, EMPTY_BOX
    if right <= 0 or bottom <= 0:
        return box, OUTSIDE_IMAGE
    image_width, image_height = size
    if x >= image_width or y >= image_height:
        return box, OUTSIDE_IMAGE
    return box, None


@dataclass(frozen=True, slots=True)
class Outline:
    """What is of use of a segmentation; without polygons and runs it is no outline."""

    polygons: list[Polygon] = field(default_factory=list)
    """Its polygons that make sense."""

    runs: RunLengths | None = None
    """Its run lengths."""

    is_damaged: bool = False
    """Whether something that makes no sense was left out."""

    def __bool__(self) -> bool:
        return bool(self.polygons) or self.runs is not None


def outline_of(segmentation: object, size: Size | None) -> Outline:
    """What is of use of COCO's polygons or run lengths.

    Args:
        segmentation: any value of JSON.
        size: (width, height) of the picture in pixels; None if it is unknown. Then run lengths
            count by their own size, and polygons may lie anywhere.
    """
    if not segmentation:
        return Outline()
    if size is not None and not is_possible(size):
        return Outline(is_damaged=True)
    if isinstance(segmentation, dict):
        runs = _checked_runs(segmentation, size)
        return Outline(runs=runs, is_damaged=runs is None)
    if not isinstance(segmentation, list):
        return Outline(is_damaged=True)
    polygons: list[Polygon] = []
    is_damaged = False
    for polygon in segmentation:
        if is_polygon(polygon, size):
            polygons.append(polygon)
        elif polygon != []:
            is_damaged = True
    return Outline(polygons, is_damaged=is_damaged)


def mask_of(segmentation: object, size: Size) -> Mask | None:
    """COCO's polygons or run lengths as one of our masks; None if they hold no outline.

    Polygons that make no sense are left out; the others are kept beside the run lengths. Library:
    pycocotools.

    Args:
        segmentation: any value of JSON.
        size: (width, height) of the picture in pixels.
    """
    from pycocotools import mask as coco_mask

    outline = outline_of(segmentation, size)
    if not outline:
        return None
    width, height = size
    encoded = coco_mask.frPyObjects(outline.runs or outline.polygons, height, width)
    polygons = None
    if isinstance(encoded, list):
        encoded = coco_mask.merge(encoded)
        polygons = tuple(tuple(map(float, polygon)) for polygon in outline.polygons)
    counts = encoded["counts"].decode()
    return Mask(size=(height, width), counts=counts, polygons=polygons)


def size_of_runs(segmentation: object) -> Size | None:
    """(width, height) that run lengths state; None if it is something else."""
    size = segmentation.get("size") if isinstance(segmentation, dict) else None
    if not isinstance(size, list) or len(size) != 2 or not all(map(is_number, size)):
        return None
    height, width = map(int, size)
    return width, height


def _checked_runs(segmentation: Mapping[str, object], size: Size | None) -> RunLengths | None:
    """The run lengths of one mask, compressed or not; None if they are not those of this size."""
    own = size_of_runs(segmentation)
    if own is None or not is_possible(own) or size not in (None, own):
        return None
    counts = segmentation.get("counts")
    runs = runs_of(counts) if isinstance(counts, str) else counts
    width, height = own
    if not _are_runs(runs, width * height):
        return None
    return RunLengths(size=[height, width], counts=runs)


def is_polygon(polygon: object, size: Size | None) -> TypeGuard[Polygon]:
    """Whether it is [x1, y1, x2, y2, ...], at least three points, not far outside the image."""
    if not isinstance(polygon, list):
        return False
    if len(polygon) < 6 or len(polygon) % 2 != 0:
        return False
    if not all(map(is_number, polygon)):
        return False
    if size is None:
        return True
    xs = polygon[::2]
    ys = polygon[1::2]
    width, height = size
    if not _are_near(xs, width) or not _are_near(ys, height):
        return False
    if len(xs) * 3 * max(size) <= MAX_OUTLINE:
        # No step is longer than three sides.
        return True
    return _outline(xs, ys) <= MAX_OUTLINE


def _are_near(values: list[float], side: int) -> bool:
    """Whether no coordinate lies further outside the image than its side is long."""
    lowest = min(values)
    highest = max(values)
    return lowest >= -side and highest <= 2 * side


def _outline(xs: list[float], ys: list[float]) -> float:
    """The length of a closed polygon in pixels.

    A step counts as long as the larger of its two parts.
    """
    points = list(zip(xs, ys, strict=True))
    closed = [*points, points[0]]
    length = 0.0
    for (x1, y1), (x2, y2) in pairwise(closed):
        step_x = abs(x2 - x1)
        step_y = abs(y2 - y1)
        length += max(step_x, step_y)
    return length


def _are_runs(runs: object, pixels: int) -> TypeGuard[list[int]]:
    """Whether they are run lengths that cover exactly so many pixels."""
    if not isinstance(runs, list):
        return False
    for run in runs:
        if not isinstance(run, int) or run < 0:
            return False
    return sum(runs) == pixels
