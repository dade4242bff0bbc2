"""The labels of a round as COCO's files: `fld export coco`.

`instances.json` has the boxes and masks and `captions.json` the texts, of people and of machines;
`results.json` is the list of a machine's boxes that pycocotools reads by `loadRes`. Boxes and
masks are on the grid of the stored, upright images, which `info.upright` says. What the ids are is
told in `ids.py`. Crowds keep their `iscrowd`, and other dropped labels are left out. A label that
has a score carries it as `score`. A mask that came as polygons goes out as these polygons. All
others, and those of `results.json`, are compressed run lengths, as pycocotools makes them.

A label without a mask has no `segmentation`. Then a reader that needs masks says that there is none
(pycocotools: KeyError), while those that need boxes alone work (torchvision, detectron2, mmdet).
An empty list breaks pycocotools in an unclear way. The box as a polygon would silently teach boxes
to a model of masks, and would come back as a mask.
"""

from __future__ import annotations

import json
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass, field
from pathlib import Path
from typing import Generic, TypeVar

from pipeline.quality.coco import (
    Category,
    Entry,
    GroundTruth,
    Image,
    ImageId,
    RunLengths,
    xywh,
)
from pipeline.release.ids import (
    ClassTable,
    Numbering,
    class_name,
    class_table,
    image_ids,
    label_ids,
)
from pipeline.rows import Record
from pipeline.schema import CROWD, Annotation, Region, Text

Label = TypeVar("Label", bound=Annotation, covariant=True)

# Decimals of a pixel. Adding and subtracting a box's corner leaves errors beyond them.
DECIMALS = 6


class CocoFile(GroundTruth):
    """A file of COCO that has `info`, which some of pycocotools' functions need."""

    licenses: list[object]


@dataclass(frozen=True, slots=True)
class CocoExport:
    """What `fld export coco` writes."""

    instances: CocoFile
    """Boxes and masks."""
    captions: CocoFile
    """Texts."""


@dataclass(frozen=True, slots=True)
class _Owned(Generic[Label]):
    """A label, and the key and the id of its image."""

    key: str
    image: ImageId
    label: Label


@dataclass(frozen=True, slots=True)
class _Labels:
    """The labels that are exported."""

    regions: list[_Owned[Region]] = field(default_factory=list)
    texts: list[_Owned[Text]] = field(default_factory=list)


def coco_of(
    records: Sequence[Record],
    sources: Sequence[str] = (),
    numbering: Numbering | None = None,
    about: str = "Labels of a round.",
) -> CocoExport:
    """The kept labels of a round, and its crowds, in COCO's form.

    Args:
        records: the records of a round.
        sources: only labels of these sources; empty for all.
        numbering: from what the ids are taken; None for the records alone.
        about: what the files say of themselves.

    Raises:
        ValueError: a class is not among the categories.
    """
    numbering = numbering or Numbering(class_table(records))
    ids = image_ids(records, numbering.images)
    labels = _labels(records, ids, sources)
    categories = _categories(numbering.table, labels.regions)
    images = _images(records, ids)
    boxes = _boxes(labels.regions, _numbers(categories))
    return CocoExport(
        instances={
            "info": _info(about),
            "licenses": [],
            "images": images,
            "annotations": boxes,
            "categories": categories,
        },
        captions={
            "info": _info(about),
            "licenses": [],
            "images": images,
            "annotations": _captions(labels.texts),
        },
    )


def _info(about: str) -> dict[str, object]:
    """What stands at the head of a file; some of pycocotools' functions need it."""
    return {"description": about, "upright": True}


def results_of(
    records: Sequence[Record],
    sources: Sequence[str] = (),
    numbering: Numbering | None = None,
) -> list[Entry]:
    """The boxes and masks of a round as a list of results. One without a score has a score of 1.

    The arguments are those of `coco_of`. Crowds are no results.
    """
    numbering = numbering or Numbering(class_table(records))
    labels = _labels(records, image_ids(records, numbering.images), sources)
    regions = [owned for owned in labels.regions if owned.label.dropped is None]
    return _results(regions, _numbers(_categories(numbering.table, regions)))


def _numbers(categories: Sequence[Category]) -> dict[str, ImageId]:
    """The id of each class; of categories with one name the first counts."""
    return {class_name(category): category["id"] for category in reversed(categories)}


def _labels(
    records: Iterable[Record],
    ids: Mapping[str, ImageId],
    sources: Sequence[str],
) -> _Labels:
    """The labels that are exported, in the order of the records."""
    labels = _Labels()
    for record in records:
        image = ids[record.key]
        for region in record.annotations.regions:
            if _is_exported(region, sources):
                labels.regions.append(_Owned(record.key, image, region))
        for text in record.annotations.texts:
            if _is_exported(text, sources):
                labels.texts.append(_Owned(record.key, image, text))
    return labels


def _is_exported(annotation: Annotation, sources: Sequence[str]) -> bool:
    """Whether it is kept, or a crowd, and comes from one of the wanted sources."""
    if annotation.dropped not in (None, CROWD):
        return False
    return not sources or annotation.source in sources


def _images(records: Iterable[Record], ids: Mapping[str, ImageId]) -> list[Image]:
    """The images of both files."""
    images: list[Image] = []
    for record in records:
        images.append(
            {
                "id": ids[record.key],
                "file_name": record.name,
                "width": record.width,
                "height": record.height,
            }
        )
    return images


def _categories(table: ClassTable, regions: Iterable[_Owned[Region]]) -> list[Category]:
    """The categories that are listed.

    Raises:
        ValueError: a class is not in the table.
    """
    names = {region.label.phrase for region in regions}
    missing = sorted(names - {class_name(category) for category in table.all()})
    if missing:
        raise ValueError(
            f"the categories do not have {', '.join(missing)}; add them, or leave the labels out by"
            " --source"
        )
    with_box = [category for category in table.others if class_name(category) in names]
    return [*table.known, *with_box]


def _boxes(regions: Sequence[_Owned[Region]], numbers: Mapping[str, ImageId]) -> list[Entry]:
    """The entries of `instances.json`."""
    entries: list[Entry] = []
    for number, owned in zip(_ids(regions), regions, strict=True):
        region = owned.label
        entry: Entry = {
            "id": number,
            "image_id": owned.image,
            "category_id": numbers[region.phrase],
            "iscrowd": int(region.dropped == CROWD),
            **_shape(region),
            **_score(region),
        }
        if region.mask is not None and region.mask.polygons is not None:
            # Its area stays that of the run lengths, which are what pycocotools makes of them.
            entry["segmentation"] = [list(polygon) for polygon in region.mask.polygons]
        entries.append(entry)
    return entries


def _captions(texts: Sequence[_Owned[Text]]) -> list[Entry]:
    """The entries of `captions.json`."""
    entries: list[Entry] = []
    for number, owned in zip(_ids(texts), texts, strict=True):
        text = owned.label
        entries.append(
            {"id": number, "image_id": owned.image, "caption": text.text, **_score(text)}
        )
    return entries


def _results(regions: Iterable[_Owned[Region]], numbers: Mapping[str, ImageId]) -> list[Entry]:
    """The entries of `results.json`."""
    entries: list[Entry] = []
    for owned in regions:
        region = owned.label
        entry: Entry = {
            "image_id": owned.image,
            "category_id": numbers[region.phrase],
            "score": 1.0,
            **_shape(region),
            **_score(region),
        }
        # `loadRes` works out the area itself.
        del entry["area"]
        entries.append(entry)
    return entries


def _ids(labels: Iterable[_Owned[Annotation]]) -> list[int]:
    return label_ids((owned.key, owned.label) for owned in labels)


def _score(annotation: Annotation) -> Entry:
    """The field `score`: what the merge believes, else the score of the source, if there is one."""
    score = annotation.score if annotation.confidence is None else annotation.confidence
    return {} if score is None else {"score": score}


def _shape(region: Region) -> Entry:
    """The fields `bbox` and `area`, and `segmentation` if it has a mask."""
    box = [round(value, DECIMALS) for value in xywh(region.box)]
    if region.mask is None:
        return {"bbox": box, "area": round(box[2] * box[3], DECIMALS)}
    from pycocotools import mask as coco_mask

    mask = region.mask
    runs: RunLengths = {"size": list(mask.size), "counts": mask.counts}
    return {"bbox": box, "area": float(coco_mask.area(runs)), "segmentation": runs}


def write_coco(
    out: Path,
    export: CocoExport,
    results: list[Entry] | None = None,
) -> None:
    """Write the files into a folder, which is made if it is not there; `results` if given."""
    out.mkdir(parents=True, exist_ok=True)
    contents: dict[str, object] = {
        "instances.json": export.instances,
        "captions.json": export.captions,
    }
    if results is not None:
        contents["results.json"] = results
    for name, content in contents.items():
        (out / name).write_text(json.dumps(content, ensure_ascii=False))
