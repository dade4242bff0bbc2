"""Boxes and masks with categories: average precision and recall by pycocotools."""

from __future__ import annotations

import contextlib
import io
import logging
from collections.abc import Iterable
from typing import TYPE_CHECKING, Literal

from pipeline.quality.coco import (
    Category,
    Entry,
    GroundTruth,
    Image,
    ImageId,
    check,
    image_ids,
    xyxy,
)
from pipeline.quality.masks import Size, area_of, run_lengths, sizes_of

if TYPE_CHECKING:
    from pycocotools.coco import COCO

_NAMES = (
    "AP",
    "AP50",
    "AP75",
    "AP_small",
    "AP_medium",
    "AP_large",
    "AR1",
    "AR10",
    "AR100",
    "AR_small",
    "AR_medium",
    "AR_large",
)
_Sizes = dict[ImageId, Size]


def score(
    ground_truth: GroundTruth, predictions: list[Entry], kind: Literal["bbox", "segm"]
) -> dict[str, float]:
    """COCO's twelve numbers for boxes or masks.

    Args:
        ground_truth: COCO instances; boxes are x y width height in pixels.
        predictions: entries with `image_id`, `category_id`, `score`, and a box or a mask.
        kind: what is compared, boxes or masks. An object of the ground truth that has a box and no
            mask is ignored when masks are compared: what is found in its box is neither right nor
            wrong. Its place is a crowd's for pycocotools. A warning tells how many there are.

    Returns:
        The numbers, -1 where the ground truth has no object of that size; `images`, the images of
        the ground truth; and `missing`, those without a prediction, whose objects count as not
        found.

    Raises:
        ValueError: an entry cannot be scored; the message names it.
    """
    shape = "bbox" if kind == "bbox" else "segmentation"
    if kind == "segm":
        ground_truth = _with_ignored(ground_truth)
    fields = ("image_id", "category_id", shape)
    check(ground_truth, predictions, fields, (*fields, "score"))
    sizes = sizes_of(ground_truth, predictions)
    images = _images(ground_truth, sizes)
    categories = _categories(ground_truth)
    truth: GroundTruth = {
        "images": images,
        "categories": categories,
        "annotations": _completed(ground_truth["annotations"], kind, sizes),
    }
    # pycocotools indexes the predictions as a data set of the same images and categories.
    predicted: GroundTruth = {
        "images": images,
        "categories": categories,
        "annotations": _completed(predictions, kind, sizes),
    }
    scores = _coco_scores(truth, predicted, kind)
    missing = {image["id"] for image in images}
    missing -= {entry["image_id"] for entry in predictions}
    return {**scores, "images": len(images), "missing": len(missing)}


def _with_ignored(ground_truth: GroundTruth) -> GroundTruth:
    """The ground truth with the box of each object without a mask as that of a crowd.

    It comes back as it is if no object has a mask, so that `check` refuses it.
    """
    annotations = []
    ignored = 0
    for entry in ground_truth.get("annotations", []):
        if "segmentation" not in entry and "bbox" in entry:
            left, top, right, bottom = xyxy(entry["bbox"])
            outline = [left, top, right, top, right, bottom, left, bottom]
            entry = entry | {"segmentation": [outline], "iscrowd": 1}
            ignored += 1
        annotations.append(entry)
    if not ignored or ignored == len(annotations):
        return ground_truth
    logging.getLogger("fld").warning(
        "ground truth: %d of %d objects have no mask; what is found in their boxes does not count",
        ignored,
        len(annotations),
    )
    return ground_truth | {"annotations": annotations}


def _coco_scores(truth: GroundTruth, predicted: GroundTruth, kind: str) -> dict[str, float]:
    """The twelve numbers of two COCO data sets."""
    from pycocotools.cocoeval import COCOeval

    with contextlib.redirect_stdout(io.StringIO()):  # pycocotools prints as it goes
        evaluation = COCOeval(_indexed(truth), _indexed(predicted), kind)
        evaluation.evaluate()
        evaluation.accumulate()
        evaluation.summarize()
    scores = {}
    for name, value in zip(_NAMES, evaluation.stats, strict=True):
        scores[name] = float(value)
    return scores


def _images(ground_truth: GroundTruth, sizes: _Sizes) -> list[Image]:
    """The images as pycocotools reads them; the size of one without masks does not matter."""
    images: list[Image] = []
    for image in image_ids(ground_truth):
        height, width = sizes.get(image, (0, 0))
        images.append({"id": image, "height": height, "width": width})
    return images


def _categories(ground_truth: GroundTruth) -> list[Category]:
    """The categories that a ground truth lists, else those that its annotations name."""
    listed = ground_truth.get("categories")
    if listed:
        return listed
    named = {entry["category_id"] for entry in ground_truth["annotations"]}
    return [{"id": category} for category in sorted(named)]


def _completed(entries: Iterable[Entry], kind: str, sizes: _Sizes) -> list[Entry]:
    """The entries with all that pycocotools reads.

    That is a fresh id, the area, the crowd flag, and masks as run lengths.
    """
    completed = []
    for number, original in enumerate(entries, 1):
        entry: Entry = {"iscrowd": 0, **original, "id": number}
        if kind == "segm":
            size = sizes[entry["image_id"]]
            mask = run_lengths(entry["segmentation"], size)
            entry["segmentation"] = mask
            entry.setdefault("area", area_of(mask))
        else:
            _, _, width, height = entry["bbox"]
            entry.setdefault("area", width * height)
        completed.append(entry)
    return completed


def _indexed(dataset: GroundTruth) -> COCO:
    from pycocotools.coco import COCO

    coco = COCO()
    coco.dataset = dataset
    coco.createIndex()
    return coco
