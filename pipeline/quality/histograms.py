"""The histograms of the paper's Figure 5: sizes, aspect ratios and centres of boxes."""

from __future__ import annotations

from collections.abc import Iterable
from typing import TypedDict

import numpy as np

from pipeline.quality.summary import Summary
from pipeline.schema import Box

BINS = 50
ASPECT = 3.0
"""Figure 5 shows natural logarithms of width / height in [-ASPECT, ASPECT]."""


class Densities(TypedDict):
    """The histograms of some boxes as plain JSON."""

    boxes: int
    """How many boxes were counted."""
    area: list[float]
    """Density of the square root of the normalised area, in BINS bins."""
    aspect: list[float]
    """Density of the logarithm of width / height, in BINS bins."""
    centre: list[list[float]]
    """The share of the boxes with their centre in a cell, BINS rows of BINS cells."""


class BoxHistograms:
    """Counts of boxes; those without an area are left out.

    Counts of different shards can be added up (`merge`), so a round is read shard by shard.
    """

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
        first = corners[:, :2]
        last = corners[:, 2:]
        sides = last - first
        has_area = (sides > 0).all(axis=1)
        sides = sides[has_area]
        centres = (first[has_area] + last[has_area]) / 2

        shares = sides / size
        root_area = np.sqrt(shares.prod(axis=1))
        _count(self.area, _bin(root_area))

        width, height = sides.T
        log_ratio = np.log(width / height)
        aspect = (log_ratio + ASPECT) / (2 * ASPECT)
        _count(self.aspect, _bin(aspect))

        x, y = (centres / size).T
        _count(self.centre, (_bin(y), _bin(x)))

    def merge(self, other: BoxHistograms) -> None:
        """Count the boxes of `other` too."""
        self.area += other.area
        self.aspect += other.aspect
        self.centre += other.centre

    def summary(self) -> Summary:
        """The counts as a part of a summary, which `of` reads."""
        return {"area": self.area, "aspect": self.aspect, "centre": self.centre}

    @classmethod
    def of(cls, summary: Summary) -> BoxHistograms:
        """The counts that are in a part of a summary."""
        histograms = cls()
        histograms.area = summary["area"]
        histograms.aspect = summary["aspect"]
        histograms.centre = summary["centre"]
        return histograms

    def to_dict(self) -> Densities:
        """The densities, which do not depend on the number of boxes."""
        boxes = int(self.area.sum())
        total = max(boxes, 1)
        # A density is a share divided by the width of its bin.
        area = self.area * BINS / total
        aspect = self.aspect * BINS / (2 * ASPECT) / total
        centre = self.centre / total
        return {
            "boxes": boxes,
            "area": area.tolist(),
            "aspect": aspect.tolist(),
            "centre": centre.tolist(),
        }


def _count(histogram: np.ndarray, bins: np.ndarray | tuple[np.ndarray, ...]) -> None:
    """Count each item in its bin.

    `histogram[bins] += 1` would count a bin once, however often it is named.
    """
    np.add.at(histogram, bins, 1)


def _bin(shares: np.ndarray) -> np.ndarray:
    """The bin of each share of [0, 1]: (n,) float64 gives (n,) int.

    What lies outside goes to the nearest bin.
    """
    bins = (shares * BINS).astype(int)
    return np.clip(bins, 0, BINS - 1)
