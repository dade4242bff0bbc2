"""COCO segmentations (polygons or run lengths) as run lengths, and their overlaps."""

from __future__ import annotations

from collections.abc import Iterable
from typing import Any

from pycocotools import mask as coco_mask

from pipeline.quality.coco import Entry


def run_lengths(segmentation: Any, size: tuple[int, int] | None) -> dict[str, Any]:
    """A segmentation as compressed run lengths; polygons need the (height, width) of their image."""
    if isinstance(segmentation, dict):
        if isinstance(segmentation["counts"], list):
            return dict(coco_mask.frPyObjects(segmentation, *segmentation["size"]))
        if not segmentation["counts"]:
            raise ValueError("a segmentation has no counts; run lengths of an empty mask have one too")
        return dict(segmentation)
    if size is None:
        raise ValueError("ground truth: polygons need the height and width of their image in `images`")
    return dict(coco_mask.merge(coco_mask.frPyObjects(segmentation, *size)))


def sizes_of(ground_truth: Entry, predictions: Iterable[Entry]) -> dict[Any, tuple[int, int]]:
    """(height, width) of each image: as listed, else as its run lengths say."""
    sizes = {
        entry["image_id"]: (int(entry["segmentation"]["size"][0]), int(entry["segmentation"]["size"][1]))
        for entry in [*predictions, *ground_truth["annotations"]]
        if isinstance(entry.get("segmentation"), dict)
    }
    for image in ground_truth.get("images", []):
        if "height" in image and "width" in image:
            sizes[image["id"]] = (image["height"], image["width"])
    return sizes


def area_of(mask: dict[str, Any]) -> float:
    return float(coco_mask.area(mask))


def overlap(left: dict[str, Any], right: dict[str, Any]) -> tuple[float, float]:
    """The intersection and the union of two masks of one image, in pixels."""
    if list(left["size"]) != list(right["size"]):
        raise ValueError(f"predictions: a mask has size {left['size']}, its image {right['size']} (height, width)")
    shared = area_of(coco_mask.merge([left, right], intersect=True))
    return shared, area_of(left) + area_of(right) - shared
