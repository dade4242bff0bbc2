"""Boxes, quads and masks: areas, overlaps, one-to-one matching, mask encoding.

Every stage, and the pipeline too, takes these functions from here, so that an overlap has the
same value everywhere. Not here: suppression over many images (`stages.filters.nms`), what an EXIF
orientation does (`stages.upright`), reading of COCO's own boxes and segmentations
(`stages.sources.shapes`), and losses that need gradients (`stages.florence.detector`).

Conventions are those of `pipeline.schema`. All coordinates are pixels, x to the right and y down.
A box is (x1, y1, x2, y2); x1 and y1 belong to its top left corner. A quad is (x1, y1, .., x4, y4):
four corners, clockwise from the top left. A mask is an array (height, width).
"""

from __future__ import annotations

from collections.abc import Sequence

import numpy as np

from pipeline.schema import Box, Mask, Quad, Region, TextRegion, Triplet


def area(box: Sequence[float]) -> float:
    """The area of one box in square pixels; 0 if a side is negative."""
    x1, y1, x2, y2 = box
    width = max(x2 - x1, 0.0)
    height = max(y2 - y1, 0.0)
    return width * height


def areas(boxes: np.ndarray) -> np.ndarray:
    """The areas of boxes, in square pixels: float of shape (..., 4) to (...).

    Sides are not clamped: a box with one negative side has a negative area.
    """
    widths = boxes[..., 2] - boxes[..., 0]
    heights = boxes[..., 3] - boxes[..., 1]
    return widths * heights


def quad_bounds(quad: Quad) -> Box:
    """The smallest upright box around a quad."""
    xs = quad[::2]
    ys = quad[1::2]
    left = min(xs)
    top = min(ys)
    right = max(xs)
    bottom = max(ys)
    return left, top, right, bottom


def bounds(item: Region | TextRegion | Triplet) -> Box:
    """The box of an annotation; for a text region the smallest upright box around its quad."""
    if isinstance(item, TextRegion):
        return quad_bounds(item.quad)
    return item.box


def clipped(points: Sequence[float], size: tuple[int, int]) -> tuple[float, ...]:
    """Points x1 y1 x2 y2 .. moved into an image of (width, height), its edges included."""
    moved = []
    for number, value in enumerate(points):
        most = float(size[number % 2])
        inside = min(max(0.0, value), most)
        moved.append(inside)
    return tuple(moved)


def clipped_box(box: Sequence[float], size: tuple[int, int]) -> Box:
    """The part of a box in an image of (width, height); without an area if none is inside."""
    x1, y1, x2, y2 = clipped(box, size)
    return x1, y1, x2, y2


def is_degenerate(boxes: np.ndarray, min_side: float) -> np.ndarray:
    """Which boxes are of no use.

    Args:
        boxes: (n, 4) float, xyxy in pixels.
        min_side: the shortest side of a box of use, in pixels.

    Returns:
        (n,) bool: true where a coordinate is not finite, or a side is shorter than `min_side`.
    """
    sides = boxes[:, 2:] - boxes[:, :2]
    is_finite = np.isfinite(boxes).all(axis=1)
    is_large = (sides >= min_side).all(axis=1)
    return np.logical_not(is_finite & is_large)


def iou(a: Box, b: Box) -> float:
    """Intersection over union of two boxes, 0 to 1; 0 if both are empty.

    In plain Python, which is faster than NumPy for a single pair.
    """
    left = max(a[0], b[0])
    top = max(a[1], b[1])
    right = min(a[2], b[2])
    bottom = min(a[3], b[3])
    # Boxes that lie apart would give negative sides.
    width = max(right - left, 0.0)
    height = max(bottom - top, 0.0)
    shared = width * height
    union = area(a) + area(b) - shared
    if union > 0:
        return shared / union
    return 0.0


def paired_iou(a: np.ndarray, b: np.ndarray) -> np.ndarray:
    """Intersection over union of paired boxes.

    Args:
        a: float of shape (..., 4), xyxy in pixels.
        b: float of shape (..., 4); the leading axes broadcast with those of `a`.

    Returns:
        (...) float, 0 to 1; a pair of empty boxes gives 0.
    """
    low = np.maximum(a[..., :2], b[..., :2])
    high = np.minimum(a[..., 2:], b[..., 2:])
    sides = np.maximum(high - low, 0.0)
    shared = sides[..., 0] * sides[..., 1]
    union = areas(a) + areas(b) - shared
    # Where the union is empty, the zero of the output stays.
    overlap = np.zeros_like(union)
    return np.divide(shared, union, out=overlap, where=union > 0)


def box_iou(
    left: Sequence[Sequence[float]] | np.ndarray,
    right: Sequence[Sequence[float]] | np.ndarray,
) -> np.ndarray:
    """Intersection over union of each box of `left` with each box of `right`.

    Args:
        left: (n, 4), xyxy in pixels.
        right: (m, 4), xyxy in pixels.

    Returns:
        (n, m) float64, 0 to 1; a pair of empty boxes gives 0.
    """
    rows = np.asarray(left, np.float64).reshape(-1, 1, 4)
    columns = np.asarray(right, np.float64).reshape(1, -1, 4)
    return paired_iou(rows, columns)


def quad_iou(left: Sequence[Sequence[float]], right: Sequence[Sequence[float]]) -> np.ndarray:
    """As `box_iou`, for the convex hulls of n and m quads: (n, m) float64. Library: OpenCV."""
    right_hulls = [_hull(quad) for quad in right]
    overlap = np.zeros((len(left), len(right)))
    for i, quad in enumerate(left):
        hull = _hull(quad)
        for j, other in enumerate(right_hulls):
            overlap[i, j] = _hull_iou(hull, other)
    return overlap


def _hull_iou(one: np.ndarray, other: np.ndarray) -> float:
    """Intersection over union of two convex hulls from `_hull`; 0 if one of them is empty."""
    import cv2

    one_area = cv2.contourArea(one)
    other_area = cv2.contourArea(other)
    if min(one_area, other_area) > 0:
        shared, _ = cv2.intersectConvexConvex(one, other)
        union = one_area + other_area - shared
        return float(shared / union)
    return 0.0


def _hull(quad: Sequence[float]) -> np.ndarray:
    """The convex hull of a quad: (points, 1, 2) float32."""
    import cv2

    corners = np.asarray(quad, np.float32).reshape(-1, 2)
    return np.asarray(cv2.convexHull(corners))


def greedy_match(
    overlap: np.ndarray,
    scores: Sequence[float],
    threshold: float,
) -> list[tuple[int, int]]:
    """One-to-one pairs of rows and columns that overlap by at least `threshold`.

    Rows choose in the order of their scores, the highest first. Each takes the free column that it
    overlaps most. This is the matching of COCO's evaluation.

    Args:
        overlap: (n, m) float, 0 to 1.
        scores: (n,), one of each row.
        threshold: the least overlap of a pair.

    Returns:
        (row, column) of each pair, in the order of choice.
    """
    if overlap.size == 0:
        return []
    free = overlap.copy()
    pairs = []
    descending = -np.asarray(scores)
    for row in np.argsort(descending, kind="stable"):
        column = int(free[row].argmax())
        if free[row, column] >= threshold:
            pairs.append((int(row), column))
            # Below every threshold, so that no other row takes it.
            free[:, column] = -1.0
    return pairs


def encode_mask(pixels: np.ndarray) -> Mask:
    """Pixels as run lengths. Library: pycocotools.

    `pixels` is (height, width), bool or uint8 of 0 and 1.
    """
    from pycocotools import mask as coco_mask

    # pycocotools takes column by column.
    columns = np.asfortranarray(pixels, np.uint8)
    encoded = coco_mask.encode(columns)
    height, width = pixels.shape
    return Mask(size=(height, width), counts=encoded["counts"].decode("ascii"))


def decode_mask(mask: Mask) -> np.ndarray:
    """The pixels of a mask: (height, width) uint8 of 0 and 1. Library: pycocotools."""
    from pycocotools import mask as coco_mask

    encoded = {"size": list(mask.size), "counts": mask.counts}
    pixels: np.ndarray = coco_mask.decode(encoded)
    return pixels


def runs_of(counts: str) -> list[int] | None:
    """The run lengths in a compressed string of pycocotools; None if it is not such a string.

    A number is written in groups of five bits, the lowest first, one character (plus 48) for each.
    A character's sixth bit says that more follow; the highest bit of the last group is the sign.
    From the fourth number on, the difference to the number two places before is written.
    """
    runs: list[int] = []
    value = 0
    shift = 0
    for character in counts:
        bits = ord(character) - 48
        if not 0 <= bits < 64 or shift > 60:
            return None
        value |= (bits & 0b01_1111) << shift
        shift += 5
        if bits & 0b10_0000:
            continue
        if bits & 0b01_0000:
            value -= 1 << shift
        if len(runs) > 2:
            value += runs[-2]
        runs.append(value)
        value = 0
        shift = 0
    if shift:
        # The last number is not complete.
        return None
    return runs
