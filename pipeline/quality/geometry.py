"""Overlaps of boxes and quads, and greedy one-to-one matching.

Coordinates are absolute pixels of the stored image, x to the right and y down.
"""

from __future__ import annotations

from collections.abc import Sequence

import cv2
import numpy as np


def box_iou(left: Sequence[Sequence[float]], right: Sequence[Sequence[float]]) -> np.ndarray:
    """Intersection over union of each box of `left` with each box of `right`.

    Boxes are xyxy. The result is (left, right) float64 in [0, 1], 0 where both boxes are empty.
    """
    a = np.asarray(left, np.float64).reshape(-1, 1, 4)
    b = np.asarray(right, np.float64).reshape(1, -1, 4)
    top_left = np.maximum(a[..., :2], b[..., :2])
    bottom_right = np.minimum(a[..., 2:], b[..., 2:])
    shared = np.prod(np.maximum(bottom_right - top_left, 0), axis=-1)
    union = _areas(a) + _areas(b) - shared
    return np.divide(shared, union, out=np.zeros_like(shared), where=union > 0)


def quad_iou(left: Sequence[Sequence[float]], right: Sequence[Sequence[float]]) -> np.ndarray:
    """Intersection over union of the convex hulls of quads, by OpenCV.

    A quad is x0 y0 .. x3 y3. The result is (left, right) float64 in [0, 1], 0 where one of the two
    hulls has no area.
    """
    overlap = np.zeros((len(left), len(right)))
    right_hulls = [_hull(quad) for quad in right]
    for i, quad in enumerate(left):
        a = _hull(quad)
        a_area = cv2.contourArea(a)
        for j, b in enumerate(right_hulls):
            b_area = cv2.contourArea(b)
            if a_area > 0 and b_area > 0:
                shared = cv2.intersectConvexConvex(a, b)[0]
                overlap[i, j] = shared / (a_area + b_area - shared)
    return overlap


def greedy_match(
    overlap: np.ndarray, scores: Sequence[float], threshold: float
) -> list[tuple[int, int]]:
    """Pairs (row, column) that overlap by at least `threshold`, each row and column at most once.

    `overlap` is (rows, columns) float. Rows come by descending score, equal scores in their order,
    and each takes the free column that it overlaps most.
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
    return np.asarray(np.prod(boxes[..., 2:] - boxes[..., :2], axis=-1))


def _hull(quad: Sequence[float]) -> np.ndarray:
    """The convex hull of a quad, (points, 1, 2) float32."""
    points = np.asarray(quad, np.float32).reshape(-1, 2)
    return np.asarray(cv2.convexHull(points))
