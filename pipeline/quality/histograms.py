"""The histograms of the paper's Figure 5: sizes, aspect ratios and centres of boxes."""

from __future__ import annotations

from collections.abc import Iterable
from typing import Any

import numpy as np

from pipeline.schema import Box

BINS = 50
ASPECT = 3.0  # Figure 5 shows natural logarithms of width / height in [-3, 3]


class BoxHistograms:
    """Counts of boxes; those without an area are left out."""

    def __init__(self) -> None:
        self.area = np.zeros(BINS, np.int64)
        """By the square root of the normalised area, over [0, 1]: (BINS,) int64."""
        self.aspect = np.zeros(BINS, np.int64)
        """By the logarithm of width / height, over [-ASPECT, ASPECT]: (BINS,) int64."""
        self.centre = np.zeros((BINS, BINS), np.int64)
        """By the normalised centre: (BINS of y, BINS of x) int64."""

    def add(self, boxes: Iterable[Box], size: tuple[int, int]) -> None:
        """Count the boxes of one image.

        Args:
            boxes: xyxy in pixels.
            size: (width, height) of the image in pixels.
        """
        corners = np.array(list(boxes), np.float64).reshape(-1, 4)
        sides = corners[:, 2:] - corners[:, :2]
        has_area = (sides > 0).all(axis=1)
        corners = corners[has_area]
        sides = sides[has_area]
        shares = sides / size
        root_area = np.sqrt(shares.prod(axis=1))
        np.add.at(self.area, _bin(root_area), 1)
        width, height = sides.T
        aspect = np.log(width / height)
        np.add.at(self.aspect, _bin((aspect + ASPECT) / (2 * ASPECT)), 1)
        centres = (corners[:, :2] + corners[:, 2:]) / 2
        x, y = (centres / size).T
        np.add.at(self.centre, (_bin(y), _bin(x)), 1)

    def merge(self, other: BoxHistograms) -> None:
        """Count the boxes of `other` too."""
        self.area += other.area
        self.aspect += other.aspect
        self.centre += other.centre

    def to_dict(self) -> dict[str, Any]:
        """Densities of area and aspect, and the share of the boxes with their centre in a cell."""
        boxes = int(self.area.sum())
        total = max(boxes, 1)
        area = self.area * BINS / total
        aspect = self.aspect * BINS / (2 * ASPECT) / total
        centre = self.centre / total
        return {
            "boxes": boxes,
            "area": area.tolist(),
            "aspect": aspect.tolist(),
            "centre": centre.tolist(),
        }


def _bin(shares: np.ndarray) -> np.ndarray:
    """The bin of each share of [0, 1], (n,) int; what lies outside goes to the nearest bin."""
    return np.clip((shares * BINS).astype(int), 0, BINS - 1)
