"""How well a model answered: the entries of `stages.florence.examine` as a few numbers per task.

An entry has the sample's `key` and `size` (width, height), the `task`, the `prompt`, the `target`
and the `answer` as text, and what both texts mean: `expected` and `found`. Those are lists of
places (label, points in pixels, score) or of outlines (polygons in pixels).
"""

from __future__ import annotations

from collections import defaultdict
from collections.abc import Callable, Iterable, Mapping, Sequence
from typing import Any, Literal

import numpy as np

from pipeline.quality import captions, detection, grounding
from pipeline.quality.coco import xywh
from pipeline.quality.geometry import box_iou, greedy_match, quad_iou
from pipeline.quality.truth import letters, normalise

Entry = Mapping[str, Any]
Side = Literal["expected", "found"]
Scores = dict[str, float]

# Numbers of a quadrilateral: x and y of its four corners. A box has four numbers.
QUAD_NUMBERS = 8
# A polygon needs three corners, each with x and y.
MIN_POLYGON_NUMBERS = 6
# A place is found when it overlaps the true one by this IoU, as in COCO's AP50.
MATCH_IOU = 0.5


def score(entries: Iterable[Entry]) -> Scores:
    """Return every metric of every task that was asked, in the order of `TASKS`."""
    by_task: dict[str, list[Entry]] = defaultdict(list)
    for entry in entries:
        by_task[entry["task"]].append(entry)
    scores: Scores = {}
    for token, (name, measure) in TASKS.items():
        if token in by_task:
            for metric, value in measure(by_task[token]).items():
                scores[f"{name} {metric}"] = value
    return scores


def _texts(entries: Sequence[Entry]) -> Scores:
    targets: list[Entry] = []
    answers: list[Entry] = []
    for entry in entries:
        targets.append({"image_id": entry["key"], "caption": entry["target"]})
        answers.append({"image_id": entry["key"], "caption": entry["answer"]})
    cider = captions.score({"annotations": targets}, answers)["CIDEr"]
    return {"CIDEr": cider, **_exact(entries)}


def _exact(entries: Sequence[Entry]) -> Scores:
    """The share of answers that equal the target, case and punctuation aside."""
    equal = [normalise(entry["answer"]) == normalise(entry["target"]) for entry in entries]
    return {"exact": float(np.mean(equal))}


def _boxes(entries: Sequence[Entry]) -> Scores:
    """COCO's AP and AP50 over the labels that occur in the truth, and F1."""
    names = sorted({place["label"] for entry in entries for place in entry["expected"]})
    ids = {name: number for number, name in enumerate(names, 1)}
    images = list(_images(entries).values())
    truth = _coco_boxes(entries, "expected", ids)
    found = _coco_boxes(entries, "found", ids)
    average_precision = {"AP": 0.0, "AP50": 0.0}
    if found:
        numbers = detection.score({"images": images, "annotations": truth}, found, "bbox")
        average_precision = {"AP": numbers["AP"], "AP50": numbers["AP50"]}
    return {**average_precision, **_f1(entries)}


def _images(entries: Sequence[Entry]) -> dict[str, Entry]:
    """COCO's entry of each image, by the sample's key."""
    images: dict[str, Entry] = {}
    for entry in entries:
        width, height = entry["size"]
        images[entry["key"]] = {"id": entry["key"], "width": width, "height": height}
    return images


def _coco_boxes(entries: Sequence[Entry], side: Side, ids: Mapping[str, int]) -> list[Entry]:
    """COCO's annotations of the places whose label has a category id."""
    boxes: list[Entry] = []
    for entry in entries:
        for place in entry[side]:
            if place["label"] in ids:
                box = {
                    "image_id": entry["key"],
                    "category_id": ids[place["label"]],
                    "bbox": xywh(place["points"]),
                    "score": place["score"],
                }
                boxes.append(box)
    return boxes


def _f1(entries: Sequence[Entry]) -> Scores:
    """F1 of the places. Each true place is matched by at most one place of the same label."""
    matched = found = expected = 0
    for entry in entries:
        matched += _matches(entry)
        found += len(entry["found"])
        expected += len(entry["expected"])
    total = found + expected
    return {"F1@0.5": 2 * matched / total if total else 0.0}


def _matches(entry: Entry) -> int:
    """How many places of an answer match a true one."""
    found, expected = entry["found"], entry["expected"]
    are_quads = any(len(place["points"]) == QUAD_NUMBERS for place in [*found, *expected])
    iou = quad_iou if are_quads else box_iou
    # The label of a quadrilateral is the word that is written there.
    key = letters if are_quads else normalise
    overlap = iou([place["points"] for place in found], [place["points"] for place in expected])
    for row, place in enumerate(found):
        for column, true_place in enumerate(expected):
            if key(place["label"]) != key(true_place["label"]):
                overlap[row, column] = -1.0
    return len(greedy_match(overlap, [place["score"] for place in found], MATCH_IOU))


def _phrases(entries: Sequence[Entry]) -> Scores:
    truth = {"annotations": _coco_phrases(entries, "expected")}
    recall = grounding.recall(truth, _coco_phrases(entries, "found"), (1,))
    return {"R@1": recall["R@1"]}


def _coco_phrases(entries: Sequence[Entry], side: Side) -> list[Entry]:
    phrases: list[Entry] = []
    for entry in entries:
        for place in entry[side]:
            phrase = {
                "image_id": entry["key"],
                "text_id": entry["prompt"],
                "phrase": place["label"],
                "bbox": xywh(place["points"]),
                "score": place["score"],
            }
            phrases.append(phrase)
    return phrases


def _outlines(entries: Sequence[Entry]) -> Scores:
    truth = {
        "images": list(_images(entries).values()),
        "annotations": _coco_outlines(entries, "expected"),
    }
    scores = grounding.referring_segmentation(truth, _coco_outlines(entries, "found"))
    return {"mIoU": scores["mIoU"], "oIoU": scores["oIoU"]}


def _coco_outlines(entries: Sequence[Entry], side: Side) -> list[Entry]:
    """The first outline of each entry, without polygons that have no area."""
    outlines: list[Entry] = []
    for entry in entries:
        for place in entry[side][:1]:
            polygons = [p for p in place["polygons"] if len(p) >= MIN_POLYGON_NUMBERS]
            if polygons:
                outline = {
                    "image_id": entry["key"],
                    "expression": entry["prompt"],
                    "segmentation": polygons,
                }
                outlines.append(outline)
    return outlines


def _labels(entries: Sequence[Entry]) -> Scores:
    """The share of regions that were given the right label."""
    right: list[bool] = []
    for entry in entries:
        # An answer that names no place is a label as a whole.
        label = entry["found"][0]["label"] if entry["found"] else entry["answer"]
        right.append(normalise(label) == normalise(entry["expected"][0]["label"]))
    return {"accuracy": float(np.mean(right))}


# Token of a task -> its name in the table, and its metrics.
TASKS: dict[str, tuple[str, Callable[[Sequence[Entry]], Scores]]] = {
    "<CAPTION>": ("caption", _texts),
    "<DETAILED_CAPTION>": ("detailed caption", _texts),
    "<MORE_DETAILED_CAPTION>": ("more detailed caption", _texts),
    "<OD>": ("detection", _boxes),
    "<DENSE_REGION_CAPTION>": ("dense caption", _f1),
    "<REGION_PROPOSAL>": ("proposal", _f1),
    "<OPEN_VOCABULARY_DETECTION>": ("open detection", _f1),
    "<CAPTION_TO_PHRASE_GROUNDING>": ("grounding", _phrases),
    "<REFERRING_EXPRESSION_SEGMENTATION>": ("referring", _outlines),
    "<REGION_TO_SEGMENTATION>": ("region mask", _outlines),
    "<REGION_TO_CATEGORY>": ("region category", _labels),
    "<REGION_TO_DESCRIPTION>": ("region description", _labels),
    "<OCR>": ("words", _exact),
    "<OCR_WITH_REGION>": ("OCR", _f1),
    "<REGION_TO_OCR>": ("region words", _exact),
}
