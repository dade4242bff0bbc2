"""Boxes and masks with categories: average precision and recall by pycocotools."""

from __future__ import annotations

import contextlib
import io
from collections.abc import Iterable
from typing import Any, Literal

from pipeline.quality.coco import Entry, check, image_ids
from pipeline.quality.masks import area_of, run_lengths, sizes_of

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
# (height, width) in pixels of each image by its id.
_Sizes = dict[Any, tuple[int, int]]


def score(
    ground_truth: Entry, predictions: list[Entry], kind: Literal["bbox", "segm"]
) -> dict[str, float]:
    """COCO's twelve numbers; one is -1 where the ground truth has no object of that size.

    `images` counts the images of the ground truth, and `missing` those without a prediction, whose
    objects count as not found.

    Raises:
        ValueError: an entry cannot be scored; the message names it.
    """
    from pycocotools.cocoeval import COCOeval

    shape = "bbox" if kind == "bbox" else "segmentation"
    fields = ("image_id", "category_id", shape)
    check(ground_truth, predictions, fields, (*fields, "score"))
    sizes = sizes_of(ground_truth, predictions)
    images = []
    for image in image_ids(ground_truth):
        height, width = sizes.get(image, (0, 0))
        images.append({"id": image, "height": height, "width": width})
    dataset = {"images": images, "categories": _categories(ground_truth)}
    truth = _completed(ground_truth["annotations"], kind, sizes)
    predicted = _completed(predictions, kind, sizes)
    with contextlib.redirect_stdout(io.StringIO()):  # pycocotools prints as it goes
        evaluation = COCOeval(
            _indexed({**dataset, "annotations": truth}),
            _indexed({**dataset, "annotations": predicted}),
            kind,
        )
        evaluation.evaluate()
        evaluation.accumulate()
        evaluation.summarize()
    scores = {}
    for name, value in zip(_NAMES, evaluation.stats, strict=True):
        scores[name] = float(value)
    missing = {image["id"] for image in images}
    missing -= {entry["image_id"] for entry in predictions}
    return {**scores, "images": len(images), "missing": len(missing)}


def _categories(ground_truth: Entry) -> list[dict[str, Any]]:
    """The categories that a ground truth lists, else those that its annotations name."""
    listed: list[dict[str, Any]] = ground_truth.get("categories") or []
    if listed:
        return listed
    named = {entry["category_id"] for entry in ground_truth["annotations"]}
    return [{"id": category} for category in sorted(named)]


def _completed(entries: Iterable[Entry], kind: str, sizes: _Sizes) -> list[dict[str, Any]]:
    """The entries with all that pycocotools reads.

    That is a fresh id, the area, the crowd flag, and masks as run lengths.
    """
    completed = []
    for number, given in enumerate(entries, 1):
        entry = {"iscrowd": 0, **given, "id": number}
        if kind == "segm":
            size = sizes[entry["image_id"]]
            entry["segmentation"] = run_lengths(entry["segmentation"], size)
            entry.setdefault("area", area_of(entry["segmentation"]))
        else:
            _, _, width, height = entry["bbox"]
            entry.setdefault("area", width * height)
        completed.append(entry)
    return completed


def _indexed(dataset: dict[str, Any]) -> Any:
    from pycocotools.coco import COCO

    coco = COCO()
    coco.dataset = dataset
    coco.createIndex()
    return coco
