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
        token = entry["task"]
        by_task[token].append(entry)
    scores: Scores = {}
    for token, (name, measure) in TASKS.items():
        if token not in by_task:
            continue
        measured = measure(by_task[token])
        for metric, value in measured.items():
            scores[f"{name} {metric}"] = value
    return scores


def _texts(entries: Sequence[Entry]) -> Scores:
    """CIDEr of the answers, and the share of them that equal the target."""
    targets: list[Entry] = []
    answers: list[Entry] = []
    for entry in entries:
        key = entry["key"]
        targets.append({"image_id": key, "caption": entry["target"]})
        answers.append({"image_id": key, "caption": entry["answer"]})
    numbers = captions.score({"annotations": targets}, answers)
    exact = _exact(entries)
    return {"CIDEr": numbers["CIDEr"], **exact}


def _exact(entries: Sequence[Entry]) -> Scores:
    """The share of answers that equal the target, case and punctuation aside."""
    equal: list[bool] = []
    for entry in entries:
        answer = normalise(entry["answer"])
        target = normalise(entry["target"])
        equal.append(answer == target)
    return {"exact": float(np.mean(equal))}


def _boxes(entries: Sequence[Entry]) -> Scores:
    """COCO's AP and AP50 over the labels that occur in the truth, and F1."""
    ids = _category_ids(entries)
    truth = {
        "images": _images(entries),
        "annotations": _coco_boxes(entries, "expected", ids),
    }
    found = _coco_boxes(entries, "found", ids)
    scores = {"AP": 0.0, "AP50": 0.0}
    if found:
        numbers = detection.score(truth, found, "bbox")
        scores["AP"] = numbers["AP"]
        scores["AP50"] = numbers["AP50"]
    scores.update(_f1(entries))
    return scores


def _category_ids(entries: Sequence[Entry]) -> dict[str, int]:
    """COCO's id of each label that occurs in the truth, from 1."""
    names: set[str] = set()
    for entry in entries:
        for place in entry["expected"]:
            names.add(place["label"])
    ids: dict[str, int] = {}
    for number, name in enumerate(sorted(names), 1):
        ids[name] = number
    return ids


def _images(entries: Sequence[Entry]) -> list[Entry]:
    """COCO's entry of each image; a sample has several entries, but one image."""
    images: dict[str, Entry] = {}
    for entry in entries:
        key = entry["key"]
        width, height = entry["size"]
        images[key] = {
            "id": key,
            "width": width,
            "height": height,
        }
    return list(images.values())


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
    found = entry["found"]
    expected = entry["expected"]
    found_points = [place["points"] for place in found]
    true_points = [place["points"] for place in expected]
    are_quads = any(len(points) == QUAD_NUMBERS for points in found_points + true_points)
    if are_quads:
        # The label of a quadrilateral is the word that is written there.
        overlap = quad_iou(found_points, true_points)
        comparable = letters
    else:
        overlap = box_iou(found_points, true_points)
        comparable = normalise
    for row, place in enumerate(found):
        label = comparable(place["label"])
        for column, true_place in enumerate(expected):
            if label != comparable(true_place["label"]):
                # Places with different labels never match.
                overlap[row, column] = -1.0
    scores = [place["score"] for place in found]
    return len(greedy_match(overlap, scores, MATCH_IOU))


def _phrases(entries: Sequence[Entry]) -> Scores:
    """The share of phrases whose surest box is right."""
    truth = {"annotations": _coco_phrases(entries, "expected")}
    found = _coco_phrases(entries, "found")
    recall = grounding.recall(truth, found, (1,))
    return {"R@1": recall["R@1"]}


def _coco_phrases(entries: Sequence[Entry], side: Side) -> list[Entry]:
    """The annotations that `grounding.recall` reads: a box for each phrase."""
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
    """Mean and overall IoU of the masks."""
    truth = {
        "images": _images(entries),
        "annotations": _coco_outlines(entries, "expected"),
    }
    found = _coco_outlines(entries, "found")
    scores = grounding.referring_segmentation(truth, found)
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
        label = entry["answer"]
        if entry["found"]:
            label = entry["found"][0]["label"]
        true_label = entry["expected"][0]["label"]
        right.append(normalise(label) == normalise(true_label))
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
