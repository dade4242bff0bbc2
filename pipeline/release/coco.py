"""The labels of a round as COCO's `instances.json` and `captions.json`: `fld export coco`.

Boxes and masks are on the grid of the stored, upright images. Human labels that came from COCO get
their ids back, and crowds their `iscrowd`. Masks are run-length encodings, which pycocotools reads
as well as polygons. Dropped labels are left out.
"""

from __future__ import annotations

import itertools
import json
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING, Generic, TypeVar

if TYPE_CHECKING:
    from pipeline.quality.coco import Category, Entry, GroundTruth, Image
    from pipeline.schema import Annotation, Record, Region, Text

Label = TypeVar("Label", bound="Annotation", covariant=True)

# Decimals of a pixel. Adding and subtracting a box's corner leaves errors beyond them.
DECIMALS = 6


@dataclass(frozen=True, slots=True)
class _Owned(Generic[Label]):
    """A label and the id of its image."""

    image: int
    label: Label


def coco_of(
    records: Iterable[Record], sources: Sequence[str] | None = None
) -> tuple[GroundTruth, GroundTruth]:
    """COCO's instances and captions of the kept labels of some records.

    Args:
        records: the records of a round.
        sources: only labels of these sources; None for all.
    """
    records = list(records)
    image_id = image_ids(records)
    regions: list[_Owned[Region]] = []
    texts: list[_Owned[Text]] = []
    for record in records:
        image = image_id[record.key]
        for region in record.annotations.regions:
            if _is_exported(region, sources):
                regions.append(_Owned(image, region))
        for text in record.annotations.texts:
            if _is_exported(text, sources):
                texts.append(_Owned(image, text))
    images = _images(records, image_id)
    category_id = _category_ids(regions)
    categories: list[Category] = []
    for name, number in category_id.items():
        categories.append({"id": number, "name": name})
    instances: GroundTruth = {
        "images": images,
        "annotations": _boxes(regions, category_id),
        "categories": categories,
    }
    return instances, {"images": images, "annotations": _captions(texts)}


def _images(records: Sequence[Record], image_id: Mapping[str, int]) -> list[Image]:
    """The images of both files."""
    images: list[Image] = []
    for record in records:
        images.append(
            {
                "id": image_id[record.key],
                "file_name": record.name,
                "width": record.width,
                "height": record.height,
            }
        )
    return images


def write_coco(out: Path, instances: GroundTruth, captions: GroundTruth) -> None:
    """Write the two files into a folder, which is made if it is not there."""
    out.mkdir(parents=True, exist_ok=True)
    (out / "instances.json").write_text(json.dumps(instances, ensure_ascii=False))
    (out / "captions.json").write_text(json.dumps(captions, ensure_ascii=False))


def image_ids(records: Sequence[Record]) -> dict[str, int]:
    """The id of each image by its key.

    If all files are named by different numbers, as COCO's own are, these are the ids. Otherwise
    images are counted from 1.
    """
    ids = {}
    for record in records:
        _, _, file = record.name.rpartition("/")
        stem, _, _ = file.partition(".")
        if not stem.isdecimal():
            break
        ids[record.key] = int(stem)
    if len(set(ids.values())) == len(records):
        return ids
    return {record.key: number for number, record in enumerate(records, 1)}


def _category_ids(regions: Iterable[_Owned[Region]]) -> dict[str, int]:
    """A number for each phrase, from 1 in alphabetical order."""
    names = {region.label.phrase for region in regions}
    return {name: number for number, name in enumerate(sorted(names), 1)}


def _boxes(regions: Sequence[_Owned[Region]], category_id: Mapping[str, int]) -> list[Entry]:
    """The entries of `instances.json`."""
    from pipeline.schema import CROWD

    entries: list[Entry] = []
    for number, region in zip(_annotation_ids(regions), regions, strict=True):
        entries.append(
            {
                "id": number,
                "image_id": region.image,
                "category_id": category_id[region.label.phrase],
                "iscrowd": int(region.label.dropped == CROWD),
                **_shape(region.label),
            }
        )
    return entries


def _captions(texts: Sequence[_Owned[Text]]) -> list[Entry]:
    """The entries of `captions.json`."""
    entries: list[Entry] = []
    for number, text in zip(_annotation_ids(texts), texts, strict=True):
        entries.append({"id": number, "image_id": text.image, "caption": text.label.text})
    return entries


def _is_exported(annotation: Annotation, sources: Sequence[str] | None) -> bool:
    """Whether it is kept, or a crowd, and comes from one of the wanted sources."""
    from pipeline.schema import CROWD

    if annotation.dropped not in (None, CROWD):
        return False
    return not sources or annotation.source in sources


def _annotation_ids(labels: Sequence[_Owned[Annotation]]) -> list[int]:
    """An id for each label: COCO's own if a human label ends with it, else a free number."""
    wanted = [_coco_id(owned.label) for owned in labels]
    free = itertools.count(1)
    taken = {number for number in wanted if number is not None}
    used = set[int]()
    ids = []
    for number in wanted:
        if number is None or number in used:
            number = next(candidate for candidate in free if candidate not in taken)
        used.add(number)
        ids.append(number)
    return ids


def _coco_id(annotation: Annotation) -> int | None:
    """The number at the end of a human label's id, None for all other labels."""
    last = annotation.id.rpartition(".")[2]
    return int(last) if annotation.locked and last.isdecimal() else None


def _shape(region: Region) -> Entry:
    """The fields `bbox`, `area` and `segmentation`."""
    from pipeline.quality.coco import xywh

    box = [round(value, DECIMALS) for value in xywh(region.box)]
    if region.mask is None:
        return {"bbox": box, "area": round(box[2] * box[3], DECIMALS), "segmentation": []}
    from pycocotools import mask as coco_mask

    mask = region.mask
    size = list(mask.size)
    area = coco_mask.area({"size": size, "counts": mask.counts.encode()})
    return {
        "bbox": box,
        "area": float(area),
        "segmentation": {"size": size, "counts": mask.counts},
    }
