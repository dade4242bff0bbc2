"""The records of a round as the COCO-style entries that `fld evaluate` scores."""

from __future__ import annotations

from collections.abc import Iterable, Iterator, Mapping

from pipeline.quality.coco import (
    Category,
    Entry,
    GroundTruth,
    Image,
    ImageId,
    base_name,
    images_by_name,
    xywh,
)
from pipeline.schema import Annotation, Mask, Record, Region, Text, TextRegion, Triplet


def truth_of_records(records: Iterable[Record]) -> GroundTruth:
    """A round as ground truth of every kind.

    Images are named by their keys, and categories are the phrases of regions.
    """
    records = list(records)
    phrases = set()
    for record in records:
        phrases |= {region.phrase for region in record.annotations.kept().regions}
    category_id = {phrase: number for number, phrase in enumerate(sorted(phrases), 1)}
    images: list[Image] = []
    annotations: list[Entry] = []
    for record in records:
        images.append(
            {
                "id": record.key,
                "file_name": record.name,
                "width": record.width,
                "height": record.height,
            }
        )
        for entry in _entries(record, record.key, category_id):
            annotations.append({"id": len(annotations) + 1, **entry})
    categories: list[Category] = []
    for phrase, number in category_id.items():
        categories.append({"id": number, "name": phrase})
    return {"images": images, "annotations": annotations, "categories": categories}


def predictions_of_records(records: Iterable[Record], ground_truth: GroundTruth) -> list[Entry]:
    """A round as predictions of every kind for the images of `ground_truth`.

    Images are found by file name or by key. Regions of categories that the ground truth does not
    name are left out, as COCO's own scoring leaves them out.

    Raises:
        ValueError: no image of the round is in the ground truth.
    """
    ids = images_by_name(ground_truth)
    category_id = {
        category["name"]: category["id"] for category in ground_truth.get("categories", [])
    }
    predictions: list[Entry] = []
    records = list(records)
    matched = 0
    for record in records:
        image = ids.get(base_name(record.name), ids.get(record.key))
        if image is not None:
            matched += 1
            predictions += _entries(record, image, category_id)
    if records and not matched:
        raise ValueError(
            "predictions: no image of the round is in the ground truth (by file_name or by id ="
            " key)"
        )
    return predictions


def _entries(record: Record, image_id: ImageId, category_id: Mapping[str, int]) -> Iterator[Entry]:
    """Each kept annotation as one entry; its `kind` says which evaluations it belongs to."""
    for annotation in record.annotations.kept().all():
        if isinstance(annotation, Region) and annotation.phrase not in category_id:
            continue
        content = _content(annotation, category_id)
        yield {"image_id": image_id, "score": _score(annotation), **content}


def _content(annotation: Annotation, category_id: Mapping[str, int]) -> Entry:
    match annotation:
        case Text():
            return {"kind": annotation.granularity, "caption": annotation.text}
        case Region():
            return {
                "kind": "region",
                "category_id": category_id[annotation.phrase],
                "bbox": xywh(annotation.box),
                **_segmentation(annotation.mask),
            }
        case TextRegion():
            return {
                "kind": "text_region",
                "quad": list(annotation.quad),
                "text": annotation.text,
            }
        case Triplet():
            return {
                "kind": "triplet",
                "phrase": annotation.phrase,
                "bbox": xywh(annotation.box),
                **_segmentation(annotation.mask),
            }
    raise TypeError(f"not an annotation: {annotation!r}")


def _score(annotation: Annotation) -> float:
    """What the merge believes, else the score of the source, else 1."""
    if annotation.confidence is not None:
        return annotation.confidence
    return 1.0 if annotation.score is None else annotation.score


def _segmentation(mask: Mask | None) -> Entry:
    if mask is None:
        return {}
    return {"segmentation": {"size": list(mask.size), "counts": mask.counts}}
