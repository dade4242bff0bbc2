"""Masks by box prompt with OpenCV's GrabCut. In: image, regions, triplets. Out: their `mask`.

This stands in for SAM (paper section 4.3) and works on any image. A crop around the box is made
small and split in foreground and background; everything outside the box is background. A box in
which no foreground is found gets no mask. Method: Rother et al., "GrabCut", SIGGRAPH 2004.
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import ClassVar

import cv2
import numpy as np

from pipeline.schema import Annotations, Box
from stages.base import Batch, Result, Sample
from stages.specialists.masks import find_unmasked

SEED = 0
FOREGROUND = (cv2.GC_FGD, cv2.GC_PR_FGD)
# If the foreground fills less than MIN_FILL of the box, GrabCut runs again with an ellipse in the
# middle of the box as certain foreground. Its half axes are CORE times the sides. Without the
# second run, half of the boxes on photos come out empty.
MIN_FILL = 0.2
CORE = 0.4

Corners = tuple[int, int, int, int]
"""A box in whole pixels, xyxy."""


@dataclass(frozen=True, slots=True, kw_only=True)
class GrabCutConfig:
    """Settings of `grabcut`."""

    min_score: float = 0.2
    """Regions and triplets with a lower score get no mask."""

    margin: float = 0.25
    """Background that is shown around the box, on each side, as a share of the box's side."""

    side: int = 128
    """Crops are shrunk until their longer side has this many pixels."""

    iterations: int = 3
    """Iterations of GrabCut."""


def grabcut(image: np.ndarray, box: Box, config: GrabCutConfig) -> np.ndarray | None:
    """The (height, width) bool mask inside a box (xyxy in pixels); None if no foreground is found.

    `image` is (height, width, 3) uint8 RGB.
    """
    height, width = image.shape[:2]
    limits = [width, height, width, height]
    x1, y1, x2, y2 = np.clip(np.round(box), 0, limits).astype(int).tolist()
    if x2 - x1 < 2 or y2 - y1 < 2:
        return None
    margin_x = int(config.margin * (x2 - x1)) + 2
    margin_y = int(config.margin * (y2 - y1)) + 2
    left, right = max(0, x1 - margin_x), min(width, x2 + margin_x)
    top, bottom = max(0, y1 - margin_y), min(height, y2 + margin_y)
    crop = image[top:bottom, left:right]
    foreground = segment_crop(crop, (x1 - left, y1 - top, x2 - left, y2 - top), config)
    mask = np.zeros((height, width), bool)
    mask[y1:y2, x1:x2] = foreground[y1 - top : y2 - top, x1 - left : x2 - left]
    return mask if mask.any() else None


def segment_crop(crop: np.ndarray, box: Corners, config: GrabCutConfig) -> np.ndarray:
    """The (height, width) bool foreground of a (height, width, 3) uint8 RGB crop, given a box in
    it.
    """
    height, width = crop.shape[:2]
    scale = min(1.0, config.side / max(height, width))
    small_width, small_height = max(3, round(width * scale)), max(3, round(height * scale))
    small = cv2.resize(crop, (small_width, small_height), interpolation=cv2.INTER_AREA)
    factor_x, factor_y = small_width / width, small_height / height
    scaled = np.array(box) * [factor_x, factor_y, factor_x, factor_y]
    x1, y1, x2, y2 = np.round(scaled).astype(int).tolist()

    labels = np.full((small_height, small_width), cv2.GC_BGD, np.uint8)
    # GrabCut needs some background, so a border of one pixel is background even if the box is the
    # image.
    inner_rows = slice(max(1, y1), min(small_height - 1, y2))
    inner_columns = slice(max(1, x1), min(small_width - 1, x2))
    labels[inner_rows, inner_columns] = cv2.GC_PR_FGD
    foreground = _run(small, labels, config.iterations)
    if foreground.sum() < MIN_FILL * (x2 - x1) * (y2 - y1):
        centre = (x1 + x2) // 2, (y1 + y2) // 2
        axes = max(1, int(CORE * (x2 - x1))), max(1, int(CORE * (y2 - y1)))
        cv2.ellipse(labels, centre, axes, 0, 0, 360, cv2.GC_FGD, -1)
        foreground = _run(small, labels, config.iterations)
    shares = foreground.astype(np.float32)
    return cv2.resize(shares, (width, height), interpolation=cv2.INTER_LINEAR) >= 0.5


def _run(image: np.ndarray, start: np.ndarray, iterations: int) -> np.ndarray:
    """The bool foreground by GrabCut; `start` holds OpenCV's labels and is left as it is."""
    # OpenCV fails if no pixel may be foreground.
    if not np.isin(start, FOREGROUND).any():
        return np.zeros(start.shape, bool)
    labels = start.copy()
    unused_rectangle = (0, 0, 0, 0)
    background_model, foreground_model = np.zeros((1, 65)), np.zeros((1, 65))
    cv2.grabCut(
        image,
        labels,
        unused_rectangle,
        background_model,
        foreground_model,
        iterations,
        cv2.GC_INIT_WITH_MASK,
    )
    return np.isin(labels, FOREGROUND)


class GrabCut:
    """Segments every region and triplet that has no mask."""

    version: ClassVar[int] = 1
    reads_images: ClassVar[bool] = True

    def __init__(self, config: GrabCutConfig) -> None:
        self.config = config

    def __call__(self, batch: Batch) -> list[Result]:
        return [self.segment(sample) for sample in batch]

    def segment(self, sample: Sample) -> Annotations:
        """The regions and triplets of one sample with their new masks."""
        unmasked = find_unmasked(sample, self.config.min_score)
        # GrabCut draws its first clusters from OpenCV's random state. The seed makes the masks of
        # an image the same in any batch.
        cv2.setRNGSeed(SEED)
        masks = {}
        for box in unmasked.boxes:
            mask = grabcut(sample.pixels, box, self.config)
            if mask is not None:
                masks[box] = mask
        return unmasked.with_masks(masks)
