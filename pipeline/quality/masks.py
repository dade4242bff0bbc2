"""COCO segmentations (polygons or run lengths) as run lengths, and their overlaps."""

from __future__ import annotations

import math
from collections.abc import Iterable, Sequence
from dataclasses import dataclass
from typing import Any

from pycocotools import mask as coco_mask

from pipeline.quality.coco import Entry

RunLengths = dict[str, Any]  # {"size": [height, width], "counts": compressed bytes or string}
Size = tuple[int, int]  # (height, width) in pixels


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


def run_lengths(segmentation: Any, size: Size) -> RunLengths:
    """A segmentation as compressed run lengths.

    Args:
        segmentation: polygons x0 y0 x1 y1 .., or run lengths, compressed or as a list.
        size: (height, width) of the image in pixels, which polygons need.

    Raises:
        ValueError: run lengths without counts.
    """
    if not isinstance(segmentation, dict):
        polygons = coco_mask.frPyObjects(segmentation, *size)
        return dict(coco_mask.merge(polygons))
    if isinstance(segmentation["counts"], list):
        return dict(coco_mask.frPyObjects(segmentation, *segmentation["size"]))
    if not segmentation["counts"]:
        raise ValueError("a segmentation has no counts; run lengths of an empty mask have one too")
    return dict(segmentation)


def sizes_of(ground_truth: Entry, predictions: Iterable[Entry]) -> dict[Any, Size]:
    """(height, width) of each image by its id.

    It is the size that the ground truth lists, else the one of the image's run lengths, else what
    its polygons need.
    """
    sizes: dict[Any, Size] = {}
    of_run_lengths: dict[Any, Size] = {}
    for entry in (*predictions, *ground_truth["annotations"]):
        segmentation, image = entry.get("segmentation"), entry.get("image_id")
        if not segmentation:
            continue
        if isinstance(segmentation, dict):
            height, width = segmentation["size"]
            of_run_lengths[image] = (int(height), int(width))
        else:
            height, width = sizes.get(image, (0, 0))
            right, bottom = _extent(segmentation)
            sizes[image] = (max(height, bottom), max(width, right))
    sizes.update(of_run_lengths)
    for image in ground_truth.get("images", []):
        if "height" in image and "width" in image:
            sizes[image["id"]] = (image["height"], image["width"])
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


def _extent(polygons: Sequence[Sequence[float]]) -> tuple[int, int]:
    """The largest x and y of polygons x0 y0 x1 y1 .., rounded up."""
    right = max(max(polygon[0::2]) for polygon in polygons)
    bottom = max(max(polygon[1::2]) for polygon in polygons)
    return math.ceil(right), math.ceil(bottom)
