"""Phrases and referring expressions tied to boxes or masks.

A query is a phrase of an image (of one text of it, where entries have a `text_id`); its words stand in
`phrase`, `expression` or `caption`. True entries with the same query are alternatives: to hit one is right.
"""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

from pipeline.quality.coco import Entry, Key, check, grouped, xyxy
from pipeline.quality.masks import area_of, overlap, run_lengths, sizes_of
from stages.geometry import box_iou

_IOU = 0.5
_TEXTS = ("phrase", "expression", "caption")


def recall(
    ground_truth: Entry, predictions: list[Entry], ranks: Sequence[int] = (1, 5, 10)
) -> dict[str, Any]:
    """`R@k`: the share of queries of which one of the k surest boxes has an IoU of 0.5 with a true one."""
    check(ground_truth, predictions, ("image_id", "bbox"), ("image_id", "bbox"))
    queries, found = grouped(ground_truth["annotations"], _query), grouped(predictions, _query)
    if not queries:
        raise ValueError("ground truth: no phrase to find")
    first = [_first_hit(found.get(query, []), entries) for query, entries in queries.items()]
    hits = {f"R@{k}": sum(rank < k for rank in first) / len(first) for k in ranks}
    return {**hits, "phrases": len(queries)}


def referring(ground_truth: Entry, predictions: list[Entry]) -> dict[str, Any]:
    """`Acc@0.5`: the share of expressions of which the surest box has an IoU of 0.5 with the true one."""
    found = recall(ground_truth, predictions, (1,))
    return {"Acc@0.5": found["R@1"], "expressions": found["phrases"]}


def referring_segmentation(ground_truth: Entry, predictions: list[Entry]) -> dict[str, Any]:
    """`mIoU`, the mean over expressions, and `oIoU`, all intersections over all unions, of the surest masks.

    An expression without a mask counts with an IoU of 0.
    """
    check(ground_truth, predictions, ("image_id", "segmentation"), ("image_id", "segmentation"))
    queries, found = grouped(ground_truth["annotations"], _query), grouped(predictions, _query)
    if not queries:
        raise ValueError("ground truth: no expression to find")
    sizes = sizes_of(ground_truth, predictions)
    overlaps = []
    for query, entries in queries.items():
        truth, masks = (
            [run_lengths(entry["segmentation"], sizes[query[0]]) for entry in side]
            for side in (entries, _surest(found.get(query, []))[:1])
        )
        pairs = [overlap(mask, other) for mask in masks for other in truth]
        overlaps.append(max(pairs or [(0.0, area_of(truth[0]))], key=_ratio))
    shared, union = (sum(column) for column in zip(*overlaps, strict=True))
    mean = sum(map(_ratio, overlaps)) / len(overlaps)
    return {"mIoU": mean, "oIoU": shared / union if union else 0.0, "expressions": len(queries)}


def _query(entry: Entry) -> Key:
    text = next((entry[name] for name in _TEXTS if name in entry), None)
    if text is None:
        raise ValueError(
            f"an entry of image_id {entry['image_id']!r} has no phrase; name it `phrase`"
        )
    return entry["image_id"], entry.get("text_id"), text


def _surest(predictions: Sequence[Entry]) -> list[Entry]:
    return sorted(predictions, key=lambda entry: -entry.get("score", 0.0))


def _first_hit(predictions: Sequence[Entry], truth: Sequence[Entry]) -> float:
    """The rank from 0 of the first box that hits."""
    if not predictions:
        return float("inf")
    boxes = [xyxy(entry["bbox"]) for entry in _surest(predictions)]
    hits = (box_iou(boxes, [xyxy(entry["bbox"]) for entry in truth]) >= _IOU).any(axis=1)
    return float(hits.argmax()) if hits.any() else float("inf")


def _ratio(areas: tuple[float, float]) -> float:
    return areas[0] / areas[1] if areas[1] else 0.0
