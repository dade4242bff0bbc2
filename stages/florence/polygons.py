"""Masks as the polygons that Florence-2 writes.

A polygon goes clockwise (Florence-2 paper, section 3), and has few enough points to fit a training
target. It starts at the vertex nearest to the image origin, which the paper does not say: that is
the rule of PolyFormer (Liu et al., CVPR 2023), and the released models answer so.
"""

from __future__ import annotations

import cv2
import numpy as np

from pipeline.schema import Mask
from stages.geometry import decode_mask

_TOLERANCE = 0.01  # largest distance of a simplified outline, as a share of the outline's length
_MIN_POINTS = 3


def polygons(mask: Mask) -> list[list[float]]:
    """Return the outer outlines of a mask, the one with the largest area first.

    Each is x, y, x, y ... in pixels, simplified by Douglas-Peucker (`cv2.approxPolyDP`). Holes are
    ignored, and so are outlines of fewer than three points.
    """
    contours, _ = cv2.findContours(
        np.ascontiguousarray(decode_mask(mask)),
        cv2.RETR_EXTERNAL,
        cv2.CHAIN_APPROX_SIMPLE,
    )
    result = []
    for contour in sorted(contours, key=cv2.contourArea, reverse=True):
        tolerance = _TOLERANCE * cv2.arcLength(contour, True)
        outline = cv2.approxPolyDP(contour, tolerance, True).reshape(-1, 2)
        if len(outline) >= _MIN_POINTS:
            result.append(_clockwise(outline).flatten().tolist())
    return result


def _clockwise(outline: np.ndarray) -> np.ndarray:
    """Order the vertices (points, 2) clockwise, from the vertex nearest to the origin."""
    # The shoelace formula: positive means clockwise, because y points down.
    is_clockwise = cv2.contourArea(outline, oriented=True) > 0
    ordered = outline if is_clockwise else outline[::-1]
    nearest = int(np.argmin((ordered**2).sum(axis=1)))
    return np.concatenate([ordered[nearest:], ordered[:nearest]])
