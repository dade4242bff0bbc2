"""Masks by box prompt with OpenCV's GrabCut.

In: image, regions, triplets. Out: their `mask`.

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
from stages.ranges import Share
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

    min_score: Share = 0.2
    """Regions and triplets with a lower score get no mask."""

    margin: float = 0.25
    """Background that is shown around the box, on each side, as a share of the box's side."""

    side: int = 128
    """Crops are shrunk until their longer side has this many pixels."""

    iterations: int = 3
    """Iterations of GrabCut."""


def grabcut(image: np.ndarray, box: Box, config: GrabCutConfig) -> np.ndarray | None:
    """The mask of what a box shows.

    Args:
        image: (height, width, 3) uint8 RGB.
        box: xyxy in pixels; it may reach out of the image.
        config: the settings.

    Returns:
        (height, width) bool, false outside the box; None if no foreground is found.
    """
    height, width = image.shape[:2]
    limits = [width, height, width, height]
    rounded = np.round(box)
    inside = np.clip(rounded, 0, limits).astype(int)
    x1, y1, x2, y2 = inside.tolist()
    # Too small to be split.
    if x2 - x1 < 2 or y2 - y1 < 2:
        return None

    # The crop shows some background around the box.
    left, right = _with_margin(x1, x2, width, config)
    top, bottom = _with_margin(y1, y2, height, config)
    crop = image[top:bottom, left:right]
    box_in_crop = (x1 - left, y1 - top, x2 - left, y2 - top)
    foreground = segment_crop(crop, box_in_crop, config)

    # What lies outside the box is not part of the mask.
    inside_crop = foreground[y1 - top : y2 - top, x1 - left : x2 - left]
    mask = np.zeros((height, width), bool)
    mask[y1:y2, x1:x2] = inside_crop
    if not mask.any():
        return None
    return mask


def _with_margin(low: int, high: int, size: int, config: GrabCutConfig) -> tuple[int, int]:
    """A range of pixels with the configured margin on both sides.

    The result is half-open and lies within 0 to `size`, the side of the image.
    """
    margin = int(config.margin * (high - low)) + 2
    start = max(0, low - margin)
    stop = min(size, high + margin)
    return start, stop


def segment_crop(crop: np.ndarray, box: Corners, config: GrabCutConfig) -> np.ndarray:
    """The foreground of a crop, given a box in it.

    Args:
        crop: (height, width, 3) uint8 RGB.
        box: xyxy in pixels of the crop.
        config: the settings.

    Returns:
        (height, width) bool.
    """
    height, width = crop.shape[:2]
    longer_side = max(height, width)
    scale = min(1.0, config.side / longer_side)
    small_width = max(3, round(width * scale))
    small_height = max(3, round(height * scale))
    small_size = (small_width, small_height)
    small = cv2.resize(crop, small_size, interpolation=cv2.INTER_AREA)
    factor_x = small_width / width
    factor_y = small_height / height
    small_box = _scale(box, factor_x, factor_y)

    labels = _start_labels(small_width, small_height, small_box)
    foreground = _run(small, labels, config.iterations)
    x1, y1, x2, y2 = small_box
    box_area = (x2 - x1) * (y2 - y1)
    least = MIN_FILL * box_area
    if foreground.sum() < least:
        _mark_core(labels, small_box)
        foreground = _run(small, labels, config.iterations)

    # Enlarged as numbers, so that the outline becomes smooth.
    shares = foreground.astype(np.float32)
    size = (width, height)
    enlarged = cv2.resize(shares, size, interpolation=cv2.INTER_LINEAR)
    return enlarged >= 0.5


def _scale(box: Corners, factor_x: float, factor_y: float) -> Corners:
    """The box in the pixels of the shrunk crop.

    The factors are those by which the sides of the crop have changed.
    """
    factors = [factor_x, factor_y, factor_x, factor_y]
    scaled = np.array(box) * factors
    rounded = np.round(scaled).astype(int)
    x1, y1, x2, y2 = rounded.tolist()
    return (x1, y1, x2, y2)


def _start_labels(width: int, height: int, box: Corners) -> np.ndarray:
    """OpenCV's labels of the pixels, (height, width) uint8.

    Those in the box may be foreground, the rest is background.
    """
    x1, y1, x2, y2 = box
    labels = np.full((height, width), cv2.GC_BGD, np.uint8)
    # GrabCut needs some background, so a border of one pixel is background even if the box is the
    # image.
    left = max(1, x1)
    top = max(1, y1)
    right = min(width - 1, x2)
    bottom = min(height - 1, y2)
    labels[top:bottom, left:right] = cv2.GC_PR_FGD
    return labels


def _mark_core(labels: np.ndarray, box: Corners) -> None:
    """Marks an ellipse in the middle of the box as certain foreground.

    `labels`, (height, width) uint8, are changed in place.
    """
    x1, y1, x2, y2 = box
    centre_x = (x1 + x2) // 2
    centre_y = (y1 + y2) // 2
    half_width = max(1, int(CORE * (x2 - x1)))
    half_height = max(1, int(CORE * (y2 - y1)))
    cv2.ellipse(
        labels,
        (centre_x, centre_y),
        (half_width, half_height),
        angle=0,
        startAngle=0,
        endAngle=360,
        color=cv2.GC_FGD,
        thickness=cv2.FILLED,
    )


def _run(image: np.ndarray, start: np.ndarray, iterations: int) -> np.ndarray:
    """The foreground of an image by GrabCut.

    Args:
        image: (height, width, 3) uint8 RGB.
        start: (height, width) uint8, OpenCV's labels; left as they are.
        iterations: of GrabCut.

    Returns:
        (height, width) bool.
    """
    # OpenCV fails if no pixel may be foreground.
    if not np.isin(start, FOREGROUND).any():
        return np.zeros(start.shape, bool)
    labels = start.copy()
    unused_rectangle = (0, 0, 0, 0)
    background_model = np.zeros((1, 65))
    foreground_model = np.zeros((1, 65))
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
    needs: ClassVar[tuple[str, ...]] = ("regions or triplets",)
    gives: ClassVar[tuple[str, ...]] = ()
    revises: ClassVar[tuple[str, ...]] = ("regions", "triplets")

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
        masks: dict[Box, np.ndarray] = {}
        for box in unmasked.boxes:
            mask = grabcut(sample.pixels, box, self.config)
            if mask is not None:
                masks[box] = mask
        return unmasked.with_masks(masks)
