"""COCO segmentations (polygons or run lengths) as run lengths, and their overlaps."""

from __future__ import annotations

import math
from collections.abc import Iterable
from typing import Any

from pycocotools import mask as coco_mask

from pipeline.quality.coco import Entry


def run_lengths(segmentation: Any, size: tuple[int, int]) -> dict[str, Any]:
    """A segmentation as compressed run lengths; `size` is the (height, width) of the image."""
    if isinstance(segmentation, dict):
        if isinstance(segmentation["counts"], list):
            return dict(coco_mask.frPyObjects(segmentation, *segmentation["size"]))
        if not segmentation["counts"]:
            raise ValueError(
                "a segmentation has no counts; run lengths of an empty mask have one too"
            )
        return dict(segmentation)
    return dict(coco_mask.merge(coco_mask.frPyObjects(segmentation, *size)))


def sizes_of(ground_truth: Entry, predictions: Iterable[Entry]) -> dict[Any, tuple[int, int]]:
    """(height, width) of each image: as listed, else as its run lengths say, else what its polygons need."""
    entries = [
        entry for entry in [*predictions, *ground_truth["annotations"]] if entry.get("segmentation")
    ]
    sizes: dict[Any, tuple[int, int]] = {}
    for entry in (e for e in entries if not isinstance(e["segmentation"], dict)):
        width, height = (
            math.ceil(max(max(part[i::2]) for part in entry["segmentation"])) for i in (0, 1)
        )
        known = sizes.get(entry["image_id"], (0, 0))
        sizes[entry["image_id"]] = (max(height, known[0]), max(width, known[1]))
    for entry in (e for e in entries if isinstance(e["segmentation"], dict)):
        sizes[entry["image_id"]] = (
            int(entry["segmentation"]["size"][0]),
            int(entry["segmentation"]["size"][1]),
        )
    for image in ground_truth.get("images", []):
        if "height" in image and "width" in image:
            sizes[image["id"]] = (image["height"], image["width"])
    return sizes


def area_of(mask: dict[str, Any]) -> float:
    return float(coco_mask.area(mask))


def overlap(left: dict[str, Any], right: dict[str, Any]) -> tuple[float, float]:
    """The intersection and the union of two masks of one image, in pixels."""
    if list(left["size"]) != list(right["size"]):
        raise ValueError(
            f"predictions: a mask has size {left['size']}, its image {right['size']} (height, width)"
        )
    shared = area_of(coco_mask.merge([left, right], intersect=True))
    return shared, area_of(left) + area_of(right) - shared
