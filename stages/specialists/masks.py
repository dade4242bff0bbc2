"""Masks by box prompt: what the segmenters share.

Equal boxes of an image are segmented once, and one mask serves all regions and triplets with that
box.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, replace
from typing import TypeVar

import numpy as np

from pipeline.schema import Annotations, Box, Mask, Region, Triplet
from stages.base import Sample
from stages.geometry import encode_mask
from stages.specialists.selection import select_fresh

Item = TypeVar("Item", Region, Triplet)


@dataclass(frozen=True, slots=True)
class Unmasked:
    """The regions and triplets of one sample that need a mask."""

    regions: list[Region]
    triplets: list[Triplet]

    @property
    def boxes(self) -> list[Box]:
        """The distinct boxes in order of appearance, xyxy in pixels."""
        boxes = [region.box for region in self.regions]
        boxes += [triplet.box for triplet in self.triplets]
        return list(dict.fromkeys(boxes))

    def with_masks(self, masks: Mapping[Box, np.ndarray]) -> Annotations:
        """The regions and triplets whose box has a mask, with that mask.

        `masks` maps a box to a (height, width) bool array of the image's size.
        """
        encoded = {box: encode_mask(mask) for box, mask in masks.items()}
        return Annotations(
            regions=_with_masks(self.regions, encoded),
            triplets=_with_masks(self.triplets, encoded),
        )


def find_unmasked(sample: Sample, min_score: float) -> Unmasked:
    """The fresh regions and triplets of a sample that have no mask and at least `min_score`."""
    regions = select_fresh(sample, sample.annotations.regions, min_score)
    triplets = select_fresh(sample, sample.annotations.triplets, min_score)
    return Unmasked(
        [region for region in regions if region.mask is None],
        [triplet for triplet in triplets if triplet.mask is None],
    )


def _with_masks(items: Sequence[Item], encoded: Mapping[Box, Mask]) -> list[Item]:
    """The items whose box has a mask, with that mask."""
    return [replace(item, mask=encoded[item.box]) for item in items if item.box in encoded]
