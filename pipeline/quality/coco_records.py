"""The records of a round as the COCO-style entries that `fld evaluate` scores."""

from __future__ import annotations

import logging
from collections.abc import Iterable, Iterator

from pipeline.quality.coco import GROUND_TRUTH, Category, Entry, GroundTruth, Image, ImageId, xywh
from pipeline.quality.coco_images import TruthFile, images_of_records
from pipeline.rows import Record
from pipeline.schema import Annotation, Annotations, Mask, Region, Text, TextRegion, Triplet
from stages.sources.coco_file import images_of, stated_upright
from stages.sources.coco_names import Classes
from stages.upright import turned_back

# The fields of an entry that say where it is.
PLACES = ("bbox", "segmentation", "quad")


def truth_of_records(records: Iterable[Record]) -> GroundTruth:
    """A round as ground truth of every kind.

    Images are named by their keys, and categories are the phrases of regions.
    """
    records = list(records)
    phrases = set()
    for record in records:
        for region in record.annotations.kept().regions:
            phrases.add(region.phrase.strip())
    category_id: dict[str, ImageId] = {}
    for number, phrase in enumerate(sorted(phrases), 1):
        category_id[phrase] = str(number)
    classes = Classes(category_id)
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
        for entry in _entries(record.annotations, record.key, classes):
            annotations.append({"id": len(annotations) + 1, **entry})
    categories: list[Category] = []
    for phrase, id_ in category_id.items():
        categories.append({"id": id_, "name": phrase})
    return {
        "images": images,
        "annotations": annotations,
        "categories": categories,
        "info": {"upright": True},
    }


def predictions_of_records(records: Iterable[Record], ground_truth: GroundTruth) -> list[Entry]:
    """A round as predictions of every kind for the images of `ground_truth`.

    Images are found by file name or by key. Places are on the pixels on which those of the ground
    truth are. Regions of categories that the ground truth does not name are left out, as COCO's own
    scoring leaves them out.

    Raises:
        ValueError: no image of the round is in the ground truth, it is not known which is which,
            or they have other sizes.
    """
    records = list(records)
    file = _truth_file(ground_truth)
    images = images_of_records(file, records)
    if records and not images:
        raise ValueError(
            "predictions: no image of the round is in the ground truth (by file_name or by id ="
            " key)"
        )
    _tell_unmatched(len(images), len(file.images), len(records))
    classes = _classes(ground_truth)
    predictions: list[Entry] = []
    for record in records:
        image = images.get(record.key)
        if image is None:
            continue
        labels = record.annotations.kept()
        if not image.upright:
            labels = turned_back(labels, image.picture)
        predictions += _entries(labels, image.id, classes)
    return predictions


def _tell_unmatched(matched: int, in_truth: int, in_round: int) -> None:
    """Tell how many images only one of the two has; the scores depend on the first number."""
    logger = logging.getLogger("fld")
    if matched < in_truth:
        logger.warning(
            "%d of the %d images of the ground truth are not in the round, and their objects count"
            " as not found; for the others alone, leave these images out of the file",
            in_truth - matched,
            in_truth,
        )
    if matched < in_round:
        logger.warning(
            "%d of the %d images of the round are not in the ground truth, and are not measured",
            in_round - matched,
            in_round,
        )


def _truth_file(ground_truth: GroundTruth) -> TruthFile:
    """What must be known of a ground truth to find the records of a round in it."""
    listed: list[object] = list(ground_truth.get("images", []))
    has_places = False
    for entry in ground_truth["annotations"]:
        has_places = has_places or any(place in entry for place in PLACES)
        if not ground_truth.get("images"):
            listed.append({"id": entry["image_id"]})
    images = images_of(GROUND_TRUTH, listed, need_names=False)
    return TruthFile(GROUND_TRUTH, images, stated_upright(ground_truth), has_places)


def _classes(ground_truth: GroundTruth) -> Classes[ImageId]:
    """The categories of a ground truth by their names.

    Raises:
        ValueError: two categories have one name.
    """
    category_id: dict[str, ImageId] = {}
    for category in ground_truth.get("categories", []):
        id_ = category["id"]
        name = category.get("name", "").strip()
        if category_id.setdefault(name, id_) != id_:
            raise ValueError(
                f"{GROUND_TRUTH}: categories {category_id[name]} and {id_} are both named {name},"
                " so it is not known which of them a region of the round is; give them one id"
            )
    return Classes(category_id)


def _entries(labels: Annotations, image_id: ImageId, classes: Classes[ImageId]) -> Iterator[Entry]:
    """Each kept annotation as one entry; its `kind` says which evaluations it belongs to."""
    for annotation in labels.kept().all():
        content = _content(annotation, classes)
        if content is not None:
            yield {"image_id": image_id, "score": _score(annotation), **content}


def _content(annotation: Annotation, classes: Classes[ImageId]) -> Entry | None:
    """The fields of an entry that hold its label; None for a region of an unknown category."""
    match annotation:
        case Text():
            return {"kind": annotation.granularity, "caption": annotation.text}
        case Region():
            category_id = classes.find(annotation.phrase)
            if category_id is None:
                return None
            return {
                "kind": "region",
                "category_id": category_id,
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
