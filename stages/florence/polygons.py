"""Masks as the polygons that Florence-2 writes: clockwise, starting at the vertex nearest to the image
origin, with few enough points for a target (spec 3.1)."""

from __future__ import annotations

import cv2
import numpy as np

from pipeline.schema import Mask
from stages.geometry import decode_mask

_TOLERANCE = 0.01  # of the outline's length
_MIN_POINTS = 3


def polygons(mask: Mask) -> list[list[float]]:
    """The outer outlines of a mask, the largest first."""
    found, _ = cv2.findContours(
        np.ascontiguousarray(decode_mask(mask)), cv2.RETR_EXTERNAL, cv2.CHAIN_APPROX_SIMPLE
    )
    outlines = sorted(found, key=cv2.contourArea, reverse=True)
    simple = [
        cv2.approxPolyDP(o, _TOLERANCE * cv2.arcLength(o, True), True).reshape(-1, 2)
        for o in outlines
    ]
    return [_clockwise(o).flatten().tolist() for o in simple if len(o) >= _MIN_POINTS]


def _clockwise(outline: np.ndarray) -> np.ndarray:
    x, y = outline[:, 0].astype(float), outline[:, 1].astype(float)
    signed_area = float(
        np.sum(x * np.roll(y, -1) - np.roll(x, -1) * y)
    )  # positive: clockwise when y points down
    ordered = outline if signed_area > 0 else outline[::-1]
    return np.roll(ordered, -int(np.argmin((ordered**2).sum(axis=1))), axis=0)
