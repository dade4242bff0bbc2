"""The truth that `fld calibrate` measures by: a COCO file, what the source knows, or people."""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, field
from typing import Any

from pipeline.quality.coco import base_name, images_by_name, read, xyxy
from pipeline.schema import CROWD, Annotations, Record, Region

PLACED = ("regions", "text_regions", "triplets")


@dataclass(frozen=True, slots=True)
class Truth:
    """What is known of a sample."""

    annotations: Annotations
    """The true annotations, without crowds."""
    kinds: tuple[str, ...]
    """The kinds that are known at all; labels of other kinds are not judged."""
    crowds: Sequence[Region] = field(default=())
    """Regions of whole crowds; a label inside one is neither right nor wrong."""


def of_source(truth: Annotations, kinds: tuple[str, ...]) -> Truth:
    """What the source knows of a sample; `kinds` are the kinds that it knows of any sample."""
    crowds = [region for region in truth.regions if region.dropped == CROWD]
    return Truth(truth.kept(), kinds, crowds)


def of_people(record: Record) -> Truth | None:
    """The human labels of a sample, None when people have placed nothing in it."""
    human = record.annotations.kept().where(lambda annotation: annotation.locked)
    kinds = tuple(kind for kind in PLACED if getattr(human, kind))
    return Truth(human, kinds) if kinds else None


def of_coco(file: str) -> Callable[[Record], Truth | None]:
    """A function from a record to the regions that a COCO file has of it, None for other images.

    An image is found by its file name, or by the record's key as the image's id.

    Raises:
        ValueError: the file cannot be read or has no COCO instances.
    """
    content = read(file, "ground truth")
    needed = {"images", "annotations", "categories"}
    if not isinstance(content, Mapping) or not needed <= content.keys():
        raise ValueError(
            f'{file}: expected COCO instances, {{"images": .., "annotations": ..,'
            ' "categories": ..}'
        )
    categories = {category["id"]: category["name"] for category in content["categories"]}
    objects: dict[Any, list[Region]] = {image["id"]: [] for image in content["images"]}
    crowds: dict[Any, list[Region]] = {image["id"]: [] for image in content["images"]}
    for entry in content["annotations"]:
        region = Region(box=xyxy(entry["bbox"]), phrase=categories[entry["category_id"]])
        regions = crowds if entry.get("iscrowd") else objects
        regions[entry["image_id"]].append(region)
    ids = images_by_name(content)

    def truth_of(record: Record) -> Truth | None:
        image = ids.get(base_name(record.name), ids.get(record.key))
        if image is None:
            return None
        return Truth(Annotations(regions=objects[image]), ("regions",), crowds[image])

    return truth_of
