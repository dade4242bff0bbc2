"""The truth that `fld calibrate` measures by: a COCO file, what the source knows, or people."""

from __future__ import annotations

from collections.abc import Callable, Mapping
from dataclasses import dataclass, field
from typing import cast

from pipeline.quality.coco import GroundTruth, ImageId, base_name, images_by_name, read, xyxy
from pipeline.schema import CROWD, Annotations, Record, Region

PLACED = ("regions", "text_regions", "triplets")


@dataclass(frozen=True, slots=True)
class Truth:
    """What is known of a sample."""

    annotations: Annotations
    """The true annotations, without crowds."""
    kinds: tuple[str, ...]
    """The kinds that are known at all; labels of other kinds are not judged."""
    crowds: list[Region] = field(default_factory=list)
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
    """The regions of a COCO file as truth.

    Args:
        file: the name of a JSON file with COCO instances.

    Returns:
        A function from a record to its truth, None for images that are not in the file. An image is
        found by its file name, or by the record's key as the image's id.

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
    coco = cast(GroundTruth, content)
    truths: dict[ImageId, Truth] = {}
    for image in coco["images"]:
        truths[image["id"]] = Truth(Annotations(), ("regions",), [])
    categories = {category["id"]: category["name"] for category in coco["categories"]}
    for entry in coco["annotations"]:
        phrase = categories[entry["category_id"]]
        region = Region(box=xyxy(entry["bbox"]), phrase=phrase)
        truth = truths[entry["image_id"]]
        regions = truth.crowds if entry.get("iscrowd") else truth.annotations.regions
        regions.append(region)
    ids = images_by_name(coco)

    def truth_of(record: Record) -> Truth | None:
        image_id = ids.get(base_name(record.name), ids.get(record.key))
        return None if image_id is None else truths[image_id]

    return truth_of
