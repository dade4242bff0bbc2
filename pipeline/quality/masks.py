"""COCO segmentations (polygons or run lengths) as run lengths, and their overlaps."""

from __future__ import annotations

import math
from collections.abc import Iterable, Sequence
from dataclasses import dataclass

from pycocotools import mask as coco_mask

from pipeline.quality.coco import Entry, GroundTruth, ImageId, Polygons, RunLengths

Size = tuple[int, int]
"""(height, width) in pixels."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Overlap:
    """How two masks overlap."""

    shared: float
    """Area of the intersection in pixels."""
    union: float
    """Area of the union in pixels."""

    @property
    def iou(self) -> float:
        """Intersection over union, 0 for two empty masks."""
        return self.shared / self.union if self.union else 0.0


def run_lengths(segmentation: RunLengths | Polygons, size: Size) -> RunLengths:
    """A segmentation as compressed run lengths.

    Args:
        segmentation: polygons x0 y0 x1 y1 .., or run lengths, compressed or as a list.
        size: (height, width) of the image in pixels, which polygons need.

    Raises:
        ValueError: run lengths without counts.
    """
    compressed: RunLengths
    if isinstance(segmentation, Sequence):
        polygons = coco_mask.frPyObjects(segmentation, *size)
        compressed = coco_mask.merge(polygons)
        return compressed
    if isinstance(segmentation["counts"], list):
        compressed = coco_mask.frPyObjects(segmentation, *segmentation["size"])
        return compressed
    if not segmentation["counts"]:
        raise ValueError("a segmentation has no counts; run lengths of an empty mask have one too")
    return segmentation.copy()


def sizes_of(ground_truth: GroundTruth, predictions: Iterable[Entry]) -> dict[ImageId, Size]:
    """(height, width) of each image by its id.

    It is the size that the ground truth lists, else the one of the image's run lengths, else what
    its polygons need.
    """
    sizes: dict[ImageId, Size] = {}
    of_run_lengths: dict[ImageId, Size] = {}
    for entry in (*predictions, *ground_truth["annotations"]):
        segmentation = entry.get("segmentation")
        if not segmentation:
            continue
        image = entry["image_id"]
        if isinstance(segmentation, Sequence):
            height, width = sizes.get(image, (0, 0))
            right, bottom = _extent(segmentation)
            sizes[image] = (max(height, bottom), max(width, right))
        else:
            height, width = segmentation["size"]
            of_run_lengths[image] = (int(height), int(width))
    sizes.update(of_run_lengths)
    for listed in ground_truth.get("images", []):
        if "height" in listed and "width" in listed:
            sizes[listed["id"]] = (listed["height"], listed["width"])
    return sizes


def area_of(mask: RunLengths) -> float:
    """The area of a mask in pixels."""
    return float(coco_mask.area(mask))


def overlap(left: RunLengths, right: RunLengths) -> Overlap:
    """The overlap of two masks of one image.

    Raises:
        ValueError: the masks have different sizes.
    """
    if list(left["size"]) != list(right["size"]):
        raise ValueError(
            f"predictions: a mask has size {left['size']}, its image {right['size']}"
            " (height, width)"
        )
    shared = area_of(coco_mask.merge([left, right], intersect=True))
    return Overlap(shared=shared, union=area_of(left) + area_of(right) - shared)


def _extent(polygons: Polygons) -> tuple[int, int]:
    """The largest x and y of polygons x0 y0 x1 y1 .., rounded up."""
    right = max(max(polygon[0::2]) for polygon in polygons)
    bottom = max(max(polygon[1::2]) for polygon in polygons)
    return math.ceil(right), math.ceil(bottom)
