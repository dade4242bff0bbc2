"""Boxes and masks with categories: average precision and recall by pycocotools."""

from __future__ import annotations

import contextlib
import io
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


def score(
    ground_truth: Entry, predictions: list[Entry], kind: Literal["bbox", "segm"]
) -> dict[str, float]:
    """COCO's twelve numbers, -1 where the ground truth has no object of that size; the images of the ground truth, and
    how many of them have no prediction: they count as unseen objects."""
    from pycocotools.cocoeval import COCOeval

    field = "bbox" if kind == "bbox" else "segmentation"
    check(
        ground_truth,
        predictions,
        ("image_id", "category_id", field),
        ("image_id", "category_id", field, "score"),
    )
    sizes = sizes_of(ground_truth, predictions)
    images = [
        {"id": id_, "height": sizes.get(id_, (0, 0))[0], "width": sizes.get(id_, (0, 0))[1]}
        for id_ in image_ids(ground_truth)
    ]
    known = {entry["category_id"] for entry in ground_truth["annotations"]}
    categories = ground_truth.get("categories") or [{"id": id_} for id_ in sorted(known)]
    truth, found = (
        {
            "images": images,
            "categories": categories,
            "annotations": [_completed(e, i, kind, sizes) for i, e in enumerate(entries, 1)],
        }
        for entries in (ground_truth["annotations"], predictions)
    )
    with contextlib.redirect_stdout(io.StringIO()):
        evaluation = COCOeval(_indexed(truth), _indexed(found), kind)
        evaluation.evaluate()
        evaluation.accumulate()
        evaluation.summarize()
    scores = {name: float(value) for name, value in zip(_NAMES, evaluation.stats, strict=True)}
    silent = {image["id"] for image in images} - {entry["image_id"] for entry in predictions}
    return {**scores, "images": len(images), "missing": len(silent)}


def _completed(
    entry: Entry, id_: int, kind: str, sizes: dict[Any, tuple[int, int]]
) -> dict[str, Any]:
    """The entry with what pycocotools reads: a fresh id, the area, the crowd flag, masks as run lengths."""
    entry = {"iscrowd": 0, **entry, "id": id_}
    if kind == "segm":
        entry["segmentation"] = run_lengths(entry["segmentation"], sizes[entry["image_id"]])
        entry.setdefault("area", area_of(entry["segmentation"]))
    else:
        entry.setdefault("area", entry["bbox"][2] * entry["bbox"][3])
    return entry


def _indexed(dataset: dict[str, Any]) -> Any:
    from pycocotools.coco import COCO

    coco = COCO()
    coco.dataset = dataset
    coco.createIndex()
    return coco
