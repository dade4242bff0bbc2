"""Phrases and referring expressions tied to boxes or masks.

A query is a phrase of an image (of one text of it, where entries have a `text_id`); its words stand
in `phrase`, `expression` or `caption`. True entries with the same query are alternatives: a hit on
one of them is right.
"""

from __future__ import annotations

import math
from collections.abc import Sequence
from operator import attrgetter
from typing import Literal

from pipeline.quality.coco import Entry, GroundTruth, Key, check, grouped, xyxy
from pipeline.quality.masks import Overlap, area_of, overlap, run_lengths, sizes_of
from stages.geometry import box_iou

_IOU = 0.5
_TEXTS: tuple[Literal["phrase", "expression", "caption"], ...] = ("phrase", "expression", "caption")
_BOX_FIELDS = ("image_id", "bbox")
_MASK_FIELDS = ("image_id", "segmentation")


def recall(
    ground_truth: GroundTruth, predictions: list[Entry], ranks: Sequence[int] = (1, 5, 10)
) -> dict[str, float]:
    """`R@k`: the share of queries with a true box among the k surest predictions.

    A predicted box is right when its IoU with a true box is at least 0.5 (the metric of Flickr30k
    Entities).

    Args:
        ground_truth: annotations with `image_id`, a phrase and `bbox`.
        predictions: entries with the same fields and perhaps a `score`.
        ranks: the values of k.

    Returns:
        `R@k` for each k, and `phrases`, the number of queries.

    Raises:
        ValueError: an entry cannot be scored, or there is no query.
    """
    check(ground_truth, predictions, _BOX_FIELDS, _BOX_FIELDS)
    queries = grouped(ground_truth["annotations"], _query)
    predicted = grouped(predictions, _query)
    if not queries:
        raise ValueError("ground truth: no phrase to find")
    first_hits = []
    for query, entries in queries.items():
        first_hits.append(_first_hit(predicted.get(query, []), entries))
    scores: dict[str, float] = {}
    for k in ranks:
        scores[f"R@{k}"] = sum(rank < k for rank in first_hits) / len(first_hits)
    scores["phrases"] = len(queries)
    return scores


def referring(ground_truth: GroundTruth, predictions: list[Entry]) -> dict[str, float]:
    """`Acc@0.5`: the share of expressions whose surest box has an IoU of 0.5 with the true one.

    Raises:
        ValueError: as in `recall`.
    """
    scores = recall(ground_truth, predictions, (1,))
    return {"Acc@0.5": scores["R@1"], "expressions": scores["phrases"]}


def referring_segmentation(ground_truth: GroundTruth, predictions: list[Entry]) -> dict[str, float]:
    """How well the surest masks of expressions overlap the true ones (metrics of RefCOCO).

    An expression without a predicted mask counts with an IoU of 0.

    Args:
        ground_truth: annotations with `image_id`, an expression and `segmentation`.
        predictions: entries with the same fields and perhaps a `score`.

    Returns:
        `mIoU`, the mean IoU over expressions; `oIoU`, the sum of all intersections over the sum of
        all unions; and `expressions`, how many there are.

    Raises:
        ValueError: an entry cannot be scored, or there is no expression.
    """
    check(ground_truth, predictions, _MASK_FIELDS, _MASK_FIELDS)
    queries = grouped(ground_truth["annotations"], _query)
    predicted = grouped(predictions, _query)
    if not queries:
        raise ValueError("ground truth: no expression to find")
    sizes = sizes_of(ground_truth, predictions)
    overlaps = []
    for query, entries in queries.items():
        size = sizes[entries[0]["image_id"]]
        overlaps.append(_best_overlap(predicted.get(query, []), entries, size))
    whole = Overlap(
        shared=sum(pair.shared for pair in overlaps),
        union=sum(pair.union for pair in overlaps),
    )
    return {
        "mIoU": sum(pair.iou for pair in overlaps) / len(overlaps),
        "oIoU": whole.iou,
        "expressions": len(queries),
    }


def _query(entry: Entry) -> Key:
    for name in _TEXTS:
        if name in entry:
            return entry["image_id"], entry.get("text_id"), entry[name]
    raise ValueError(f"an entry of image_id {entry['image_id']!r} has no phrase; name it `phrase`")


def _by_score(predictions: Sequence[Entry]) -> list[Entry]:
    return sorted(predictions, key=lambda entry: -entry.get("score", 0.0))


def _best_overlap(
    predictions: Sequence[Entry], truth: Sequence[Entry], size: tuple[int, int]
) -> Overlap:
    """How the surest mask overlaps the true mask that it fits best."""
    true_masks = [run_lengths(entry["segmentation"], size) for entry in truth]
    if not predictions:
        # Without a prediction, the whole area of the truth is missed.
        return Overlap(shared=0.0, union=area_of(true_masks[0]))
    surest = _by_score(predictions)[0]
    mask = run_lengths(surest["segmentation"], size)
    overlaps = [overlap(mask, true_mask) for true_mask in true_masks]
    return max(overlaps, key=attrgetter("iou"))


def _first_hit(predictions: Sequence[Entry], truth: Sequence[Entry]) -> float:
    """The rank from 0 of the first box that hits, infinity when none does."""
    if not predictions:
        return math.inf
    boxes = [xyxy(entry["bbox"]) for entry in _by_score(predictions)]
    true_boxes = [xyxy(entry["bbox"]) for entry in truth]
    hits = (box_iou(boxes, true_boxes) >= _IOU).any(axis=1)
    return float(hits.argmax()) if hits.any() else math.inf
