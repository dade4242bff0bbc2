"""Masks by box prompt with OpenCV's GrabCut. In: image, regions, triplets. Out: their `mask`.

Stands in for SAM (paper section 4.3) and works on any image. A box is cut out with a margin, made small, and
split in foreground and background; what lies outside the box is background. Equal boxes of an image are cut
once. A box in which nothing is found keeps no mask.
"""

from __future__ import annotations

from dataclasses import dataclass, replace
from typing import ClassVar, TypeVar

import cv2
import numpy as np

from pipeline.schema import Annotations, Box, Region, Triplet
from stages.base import Batch, Result, Sample
from stages.geometry import encode_mask
from stages.specialists.work import todo

SEED = 0
FOREGROUND = (cv2.GC_FGD, cv2.GC_PR_FGD)
# A cut that keeps less than LEAST of the box is made again, with the box's middle (an ellipse of CORE of the
# sides as half axes) given as foreground. Without, half of the boxes on photos come out empty.
LEAST, CORE = 0.2, 0.4
Item = TypeVar("Item", Region, Triplet)


@dataclass(frozen=True, slots=True, kw_only=True)
class GrabCutConfig:
    min_score: float = 0.2  # regions and triplets below are left alone
    margin: float = 0.25  # of the box's sides, on each side
    side: int = 128  # crops are made this small before they are cut
    iterations: int = 3


def grabcut(image: np.ndarray, box: Box, config: GrabCutConfig) -> np.ndarray | None:
    """The (height, width) bool mask inside the box; None when there is none."""
    height, width = image.shape[:2]
    x1, y1, x2, y2 = np.clip(np.round(box), 0, [width, height, width, height]).astype(int).tolist()
    if x2 - x1 < 2 or y2 - y1 < 2:
        return None
    dx, dy = int(config.margin * (x2 - x1)) + 2, int(config.margin * (y2 - y1)) + 2
    left, top, right, bottom = (
        max(0, x1 - dx),
        max(0, y1 - dy),
        min(width, x2 + dx),
        min(height, y2 + dy),
    )
    crop = image[top:bottom, left:right]
    foreground = cut(crop, (x1 - left, y1 - top, x2 - left, y2 - top), config)
    mask = np.zeros((height, width), bool)
    mask[y1:y2, x1:x2] = foreground[y1 - top : y2 - top, x1 - left : x2 - left]
    return mask if mask.any() else None


def cut(crop: np.ndarray, inside: tuple[int, int, int, int], config: GrabCutConfig) -> np.ndarray:
    """Foreground of a crop, given the box inside it; computed small, returned at the crop's size."""
    height, width = crop.shape[:2]
    scale = min(1.0, config.side / max(height, width))
    size = max(3, round(width * scale)), max(3, round(height * scale))
    small = cv2.resize(crop, size, interpolation=cv2.INTER_AREA)
    factor = size[0] / width, size[1] / height
    x1, y1, x2, y2 = np.round(np.array(inside) * [*factor, *factor]).astype(int).tolist()
    labels = np.full(small.shape[:2], cv2.GC_BGD, np.uint8)
    # A border of one pixel stays background: GrabCut needs some, also when the box is the image.
    labels[max(1, y1) : min(size[1] - 1, y2), max(1, x1) : min(size[0] - 1, x2)] = cv2.GC_PR_FGD
    found = _run(small, labels, config.iterations)
    if found.sum() < LEAST * (x2 - x1) * (y2 - y1):
        axes = max(1, int(CORE * (x2 - x1))), max(1, int(CORE * (y2 - y1)))
        cv2.ellipse(labels, ((x1 + x2) // 2, (y1 + y2) // 2), axes, 0, 0, 360, cv2.GC_FGD, -1)
        found = _run(small, labels, config.iterations)
    return (
        cv2.resize(found.astype(np.float32), (width, height), interpolation=cv2.INTER_LINEAR) >= 0.5
    )


def _run(image: np.ndarray, start: np.ndarray, iterations: int) -> np.ndarray:
    if not np.isin(start, FOREGROUND).any():
        return np.zeros(start.shape, bool)
    labels, unused = start.copy(), (0, 0, 0, 0)  # a rectangle, for another mode
    cv2.grabCut(
        image,
        labels,
        unused,
        np.zeros((1, 65)),
        np.zeros((1, 65)),
        iterations,
        cv2.GC_INIT_WITH_MASK,
    )
    return np.isin(labels, FOREGROUND)


def unmasked(sample: Sample, items: list[Item], min_score: float) -> list[Item]:
    return [a for a in todo(sample, items, min_score) if a.mask is None]


class GrabCut:
    version: ClassVar[int] = 1
    reads_images: ClassVar[bool] = True

    def __init__(self, config: GrabCutConfig) -> None:
        self.config = config

    def __call__(self, batch: Batch) -> list[Result]:
        return [self.segment(sample) for sample in batch]

    def segment(self, sample: Sample) -> Annotations:
        regions = unmasked(sample, sample.annotations.regions, self.config.min_score)
        triplets = unmasked(sample, sample.annotations.triplets, self.config.min_score)
        # GrabCut's clusters start from OpenCV's random state: the same for an image in any batch.
        cv2.setRNGSeed(SEED)
        boxes = dict.fromkeys([*(r.box for r in regions), *(t.box for t in triplets)])
        masks = {box: grabcut(sample.pixels, box, self.config) for box in boxes}
        encoded = {box: encode_mask(mask) for box, mask in masks.items() if mask is not None}
        return Annotations(
            regions=[replace(r, mask=encoded[r.box]) for r in regions if r.box in encoded],
            triplets=[replace(t, mask=encoded[t.box]) for t in triplets if t.box in encoded],
        )
