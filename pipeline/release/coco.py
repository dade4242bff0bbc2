"""The labels of a round as COCO's `instances.json` and `captions.json`: `fld export coco`.

Boxes and masks are on the grid of the stored, upright images. Human labels that came from COCO get
their ids back, and crowds their `iscrowd`. Masks are run-length encodings, which pycocotools reads
as well as polygons. Dropped labels are left out.
"""

from __future__ import annotations

import itertools
import json
from collections.abc import Iterable, Mapping, Sequence
from pathlib import Path
from typing import TYPE_CHECKING, Any

if TYPE_CHECKING:
    from pipeline.schema import Annotation, Record, Region

# Decimals of a pixel. Adding and subtracting a box's corner leaves errors beyond them.
DECIMALS = 6


def coco_of(
    records: Iterable[Record], sources: Sequence[str] | None = None
) -> tuple[dict[str, Any], dict[str, Any]]:
    """COCO's instances and captions of the kept labels, or of those from `sources` only."""
    records = list(records)
    image_id = image_ids(records)
    images = []
    for record in records:
        images.append(
            {
                "id": image_id[record.key],
                "file_name": record.name,
                "width": record.width,
                "height": record.height,
            }
        )
    boxes, categories = _boxes(records, image_id, sources)
    captions = _captions(records, image_id, sources)
    return (
        {"images": images, "annotations": boxes, "categories": categories},
        {"images": images, "annotations": captions},
    )


def write_coco(out: Path, instances: Mapping[str, Any], captions: Mapping[str, Any]) -> None:
    """Write the two files into a folder, which is made if it is not there."""
    out.mkdir(parents=True, exist_ok=True)
    (out / "instances.json").write_text(json.dumps(instances, ensure_ascii=False))
    (out / "captions.json").write_text(json.dumps(captions, ensure_ascii=False))


def image_ids(records: Sequence[Record]) -> dict[str, int]:
    """The id of each image by its key.

    If all files are named by different numbers, as COCO's own are, these are the ids. Otherwise
    images are counted from 1.
    """
    stems = [record.name.rpartition("/")[2].partition(".")[0] for record in records]
    numbers = list(range(1, len(stems) + 1))
    if all(stem.isdecimal() for stem in stems):
        named = [int(stem) for stem in stems]
        if len(set(named)) == len(named):
            numbers = named
    return {record.key: number for record, number in zip(records, numbers, strict=True)}


def _boxes(
    records: Sequence[Record], image_id: Mapping[str, int], sources: Sequence[str] | None
) -> tuple[list[dict[str, Any]], list[dict[str, Any]]]:
    """The entries of the regions, and the categories that they name."""
    from pipeline.schema import CROWD

    owners: list[Record] = []
    regions: list[Region] = []
    for record in records:
        for region in record.annotations.regions:
            if _is_exported(region, sources):
                owners.append(record)
                regions.append(region)
    names = sorted({region.phrase for region in regions})
    category_id = {name: number for number, name in enumerate(names, 1)}
    entries = []
    for number, record, region in zip(_annotation_ids(regions), owners, regions, strict=True):
        entries.append(
            {
                "id": number,
                "image_id": image_id[record.key],
                "category_id": category_id[region.phrase],
                "iscrowd": int(region.dropped == CROWD),
                **_shape(region),
            }
        )
    categories = [{"id": number, "name": name} for name, number in category_id.items()]
    return entries, categories


def _captions(
    records: Sequence[Record], image_id: Mapping[str, int], sources: Sequence[str] | None
) -> list[dict[str, Any]]:
    """The entries of the texts."""
    owners, texts = [], []
    for record in records:
        for text in record.annotations.texts:
            if _is_exported(text, sources):
                owners.append(record)
                texts.append(text)
    entries = []
    for number, record, text in zip(_annotation_ids(texts), owners, texts, strict=True):
        entries.append({"id": number, "image_id": image_id[record.key], "caption": text.text})
    return entries


def _is_exported(annotation: Annotation, sources: Sequence[str] | None) -> bool:
    """Whether it is kept, or a crowd, and comes from one of the wanted sources."""
    from pipeline.schema import CROWD

    if annotation.dropped not in (None, CROWD):
        return False
    return not sources or annotation.source in sources


def _annotation_ids(annotations: Sequence[Annotation]) -> list[int]:
    """An id for each annotation: COCO's own if a human label ends with it, else a free number."""
    wanted = [_coco_id(annotation) for annotation in annotations]
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


def _shape(region: Region) -> dict[str, Any]:
    """The fields `bbox`, `area` and `segmentation`."""
    from pipeline.quality.coco import xywh

    box = [round(value, DECIMALS) for value in xywh(region.box)]
    if region.mask is None:
        return {"bbox": box, "area": round(box[2] * box[3], DECIMALS), "segmentation": []}
    from pycocotools import mask as coco_mask

    size, counts = list(region.mask.size), region.mask.counts
    area = coco_mask.area({"size": size, "counts": counts.encode()})
    segmentation = {"size": size, "counts": counts}
    return {"bbox": box, "area": float(area), "segmentation": segmentation}
