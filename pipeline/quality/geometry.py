"""Overlaps of boxes (xyxy) and quads (x0 y0 .. x3 y3), and greedy one-to-one matching."""

from __future__ import annotations

from collections.abc import Sequence

import cv2
import numpy as np


def box_iou(left: Sequence[Sequence[float]], right: Sequence[Sequence[float]]) -> np.ndarray:
    """Intersection over union of each box of `left` (rows) with each of `right` (columns)."""
    a = np.asarray(left, np.float64).reshape(-1, 1, 4)
    b = np.asarray(right, np.float64).reshape(1, -1, 4)
    sides = np.minimum(a[..., 2:], b[..., 2:]) - np.maximum(a[..., :2], b[..., :2])
    shared = np.prod(np.maximum(sides, 0), axis=-1)
    union = (
        np.prod(a[..., 2:] - a[..., :2], axis=-1)
        + np.prod(b[..., 2:] - b[..., :2], axis=-1)
        - shared
    )
    return np.divide(shared, union, out=np.zeros_like(shared), where=union > 0)


def quad_iou(left: Sequence[Sequence[float]], right: Sequence[Sequence[float]]) -> np.ndarray:
    """As `box_iou`, for the convex hulls of quads."""
    overlap = np.zeros((len(left), len(right)))
    for i, a in enumerate(map(_hull, left)):
        for j, b in enumerate(map(_hull, right)):
            areas = cv2.contourArea(a), cv2.contourArea(b)
            if min(areas) > 0:
                shared = cv2.intersectConvexConvex(a, b)[0]
                overlap[i, j] = shared / (sum(areas) - shared)
    return overlap


def greedy_match(
    overlap: np.ndarray, scores: Sequence[float], threshold: float
) -> list[tuple[int, int]]:
    """Pairs (row, column) by `threshold`: rows by descending score take the free column they overlap most."""
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


def _hull(quad: Sequence[float]) -> np.ndarray:
    return np.asarray(cv2.convexHull(np.asarray(quad, np.float32).reshape(-1, 2)))
