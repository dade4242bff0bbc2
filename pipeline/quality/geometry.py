"""Overlaps of boxes and quads, and greedy one-to-one matching.

Coordinates are absolute pixels of the stored image, x to the right and y down.
"""

from __future__ import annotations

from collections.abc import Sequence

import cv2
import numpy as np

Shape = Sequence[float]  # the coordinates of one box or quad


def box_iou(left: Sequence[Shape], right: Sequence[Shape]) -> np.ndarray:
    """Intersection over union of each box of `left` with each box of `right`.

    Args:
        left: xyxy boxes, as a sequence or as a (left, 4) array.
        right: xyxy boxes, as a sequence or as a (right, 4) array.

    Returns:
        (left, right) float64 in [0, 1]; 0 where the union is empty.
    """
    a = np.asarray(left, np.float64).reshape(-1, 1, 4)
    b = np.asarray(right, np.float64).reshape(1, -1, 4)
    top_left = np.maximum(a[..., :2], b[..., :2])
    bottom_right = np.minimum(a[..., 2:], b[..., 2:])
    shared = np.prod(np.maximum(bottom_right - top_left, 0), axis=-1)
    union = _areas(a) + _areas(b) - shared
    return np.divide(shared, union, out=np.zeros_like(shared), where=union > 0)


def quad_iou(left: Sequence[Shape], right: Sequence[Shape]) -> np.ndarray:
    """Intersection over union of the convex hulls of quads, by OpenCV.

    Args:
        left: quads x0 y0 .. x3 y3.
        right: quads x0 y0 .. x3 y3.

    Returns:
        (left, right) float64 in [0, 1]; 0 where one of the two hulls has no area.
    """
    overlap = np.zeros((len(left), len(right)))
    left_hulls = [_hull(quad) for quad in left]
    right_hulls = [_hull(quad) for quad in right]
    for i, a in enumerate(left_hulls):
        for j, b in enumerate(right_hulls):
            overlap[i, j] = _hull_iou(a, b)
    return overlap


def greedy_match(
    overlap: np.ndarray, scores: Sequence[float], threshold: float
) -> list[tuple[int, int]]:
    """Pairs that overlap by at least `threshold`, each row and column at most once.

    Rows come by descending score, equal scores in their order, and each takes the free column that
    it overlaps most.

    Args:
        overlap: (rows, columns) float.
        scores: one for each row.
        threshold: the least overlap of a pair.

    Returns:
        (row, column) of each pair, by descending score of the row.
    """
    if overlap.size == 0:
        return []
    free = overlap.copy()
    pairs = []
    for row in np.argsort(-np.asarray(scores), kind="stable"):
        column = int(free[row].argmax())
        if free[row, column] >= threshold:
            pairs.append((int(row), column))
            free[:, column] = -1.0
    return pairs


def _areas(boxes: np.ndarray) -> np.ndarray:
    """Areas in square pixels of (..., 4) boxes."""
    sides = boxes[..., 2:] - boxes[..., :2]
    return np.asarray(np.prod(sides, axis=-1))


def _hull_iou(left: np.ndarray, right: np.ndarray) -> float:
    """Intersection over union of two convex hulls, each (points, 1, 2) float32."""
    left_area = cv2.contourArea(left)
    right_area = cv2.contourArea(right)
    if left_area <= 0 or right_area <= 0:
        return 0.0
    shared, _ = cv2.intersectConvexConvex(left, right)
    return float(shared / (left_area + right_area - shared))


def _hull(quad: Sequence[float]) -> np.ndarray:
    """The convex hull of a quad, (points, 1, 2) float32."""
    points = np.asarray(quad, np.float32).reshape(-1, 2)
    return np.asarray(cv2.convexHull(points))
