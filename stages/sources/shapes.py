"""COCO's boxes and segmentations checked and turned into ours, with a reason where that cannot be.

What reaches pycocotools is sound: it trusts its input, and takes a polygon that reaches far outside for a large one.
"""

from __future__ import annotations

from typing import Any

from pipeline.schema import Box, Mask
from stages.ingest import MAX_PIXELS

MALFORMED_BOX, EMPTY_BOX, OUTSIDE_IMAGE = "malformed_box", "empty_box", "outside_image"
MALFORMED_SEGMENTATION = "malformed_segmentation"
MAX_NUMBER = 2**53  # above it a float holds no whole numbers
MAX_SIDE = 65_535  # of a JPEG
MAX_OUTLINE = 1 << 20  # pixels along a polygon: drawing it takes some 100 bytes for each

Size = tuple[int, int]  # width, height


def is_number(value: Any) -> bool:
    return (
        isinstance(value, int | float) and not isinstance(value, bool) and abs(value) < MAX_NUMBER
    )


def is_possible(size: Size) -> bool:
    """An image that ingest accepts may have it."""
    return min(size) >= 1 and max(size) <= MAX_SIDE and size[0] * size[1] <= MAX_PIXELS


def box_of(bbox: Any, size: Size | None) -> tuple[Box | None, str | None]:
    """xyxy of COCO's x, y, width, height, and the reason why it is of no use."""
    if not (isinstance(bbox, list) and len(bbox) == 4 and all(is_number(value) for value in bbox)):
        return None, MALFORMED_BOX
    x, y, width, height = map(float, bbox)
    box = (x, y, x + width, y + height)
    if width <= 0 or height <= 0:
        return box, EMPTY_BOX
    if box[2] <= 0 or box[3] <= 0 or (size and (x >= size[0] or y >= size[1])):
        return box, OUTSIDE_IMAGE
    return box, None


def mask_of(segmentation: Any, size: Size | None) -> tuple[Mask | None, str | None]:
    """The mask of polygons or of a run-length encoding, and the reason why there is none."""
    if not segmentation:
        return None, None
    if size is None or not is_possible(size):
        return None, MALFORMED_SEGMENTATION
    width, height = size
    if isinstance(segmentation, list):
        sound = all(_is_polygon(polygon, size) for polygon in segmentation)
        return (_encoded(segmentation, size), None) if sound else (None, MALFORMED_SEGMENTATION)
    counts = segmentation.get("counts") if isinstance(segmentation, dict) else None
    runs = runs_of(counts) if isinstance(counts, str) else counts
    declared = segmentation.get("size") if isinstance(segmentation, dict) else None
    if declared != [height, width] or not _are_runs(runs, width * height):
        return None, MALFORMED_SEGMENTATION
    return _encoded({"size": [height, width], "counts": runs}, size), None


def runs_of(counts: str) -> list[int] | None:
    """The run lengths in pycocotools' compressed string (six bits a character, from the third on differences to the
    one before the last), None when it is none."""
    runs: list[int] = []
    value = shift = 0
    for character in counts:
        bits = ord(character) - 48
        if not 0 <= bits < 64 or shift > 60:
            return None
        value |= (bits & 0x1F) << shift
        shift += 5
        if bits & 0x20:
            continue
        if bits & 0x10:
            value -= 1 << shift
        runs.append(value + (runs[-2] if len(runs) > 2 else 0))
        value = shift = 0
    return None if shift else runs


def _is_polygon(polygon: Any, size: Size) -> bool:
    if not (
        isinstance(polygon, list)
        and len(polygon) >= 6
        and len(polygon) % 2 == 0
        and all(map(is_number, polygon))
    ):
        return False
    near = (
        (limit, value)
        for limit, part in zip(size, (polygon[::2], polygon[1::2]), strict=True)
        for value in part
    )
    return (
        all(-limit <= value <= 2 * limit for limit, value in near)
        and _outline(polygon) <= MAX_OUTLINE
    )


def _outline(polygon: list[float]) -> float:
    """The way along a closed polygon, the longer of its two directions at each step."""
    points = list(zip(polygon[::2], polygon[1::2], strict=True))
    steps = zip(points, points[1:] + points[:1], strict=True)
    return sum(max(abs(x2 - x1), abs(y2 - y1)) for (x1, y1), (x2, y2) in steps)


def _are_runs(runs: Any, pixels: int) -> bool:
    if not isinstance(runs, list) or not all(isinstance(run, int) and run >= 0 for run in runs):
        return False
    return sum(runs) == pixels


def _encoded(segmentation: Any, size: Size) -> Mask:
    from pycocotools import mask as rle

    encoded = rle.frPyObjects(segmentation, size[1], size[0])
    if isinstance(encoded, list):
        encoded = rle.merge(encoded)
    counts = encoded["counts"]
    return Mask(
        size=(size[1], size[0]), counts=counts.decode() if isinstance(counts, bytes) else counts
    )
