"""How well a model answered: a few numbers for each task."""

from __future__ import annotations

from collections import defaultdict
from collections.abc import Callable, Iterable, Mapping, Sequence
from typing import Literal, TypedDict

import numpy as np

from pipeline.quality import captions, detection, grounding
from pipeline.quality.coco import Entry, GroundTruth, Image, xywh
from pipeline.quality.wording import letters, normalise
from stages.geometry import box_iou, greedy_match, quad_iou


class Place(TypedDict, total=False):
    """A place in an image: a box or a quadrilateral with its label, or an outline."""

    label: str
    """What is there: a category, a phrase or a written word."""
    points: list[float]
    """x and y of the corners in pixels: two corners of a box, four of a quadrilateral."""
    score: float
    """How sure the model is, from 0 to 1; 1 for the truth."""
    polygons: list[list[float]]
    """Outline: for each polygon x and y of its corners in pixels."""


class Answer(TypedDict, total=False):
    """A model's answer beside the truth, as `stages.florence.examine` gives it.

    A detector's answer has no texts.
    """

    key: str
    """Key of the sample."""
    size: list[int]
    """Width and height of the image in pixels."""
    task: str
    """Token of the task."""
    prompt: str
    """What the model was asked."""
    target: str
    """The right answer."""
    answer: str
    """The model's answer."""
    expected: list[Place]
    """The places in the right answer."""
    found: list[Place]
    """The places in the model's answer."""


Side = Literal["expected", "found"]
Answers = Sequence[Answer]
Scores = dict[str, float]
Measure = Callable[[Answers], Scores]

# Numbers of a quadrilateral: x and y of its four corners. A box has four numbers.
QUAD_NUMBERS = 8
# A polygon needs three corners, each with x and y.
MIN_POLYGON_NUMBERS = 6
# A place is found when it overlaps the true one by this IoU, as in COCO's AP50.
MATCH_IOU = 0.5


def score(answers: Iterable[Answer]) -> Scores:
    """Return every metric of every task that was asked, in the order of `TASKS`."""
    by_task: dict[str, list[Answer]] = defaultdict(list)
    for answer in answers:
        token = answer["task"]
        by_task[token].append(answer)
    scores: Scores = {}
    for token, (name, measure) in TASKS.items():
        if token not in by_task:
            continue
        measured = measure(by_task[token])
        for metric, value in measured.items():
            scores[f"{name} {metric}"] = value
    return scores


def _texts(answers: Answers) -> Scores:
    """CIDEr of the answers, and the share of them that equal the target."""
    targets: list[Entry] = []
    texts: list[Entry] = []
    for answer in answers:
        key = answer["key"]
        targets.append({"image_id": key, "caption": answer["target"]})
        texts.append({"image_id": key, "caption": answer["answer"]})
    numbers = captions.score({"annotations": targets}, texts)
    exact = _exact(answers)
    return {"CIDEr": numbers["CIDEr"], **exact}


def _exact(answers: Answers) -> Scores:
    """The share of answers that equal the target, case and punctuation aside."""
    equal: list[bool] = []
    for answer in answers:
        text = normalise(answer["answer"])
        target = normalise(answer["target"])
        equal.append(text == target)
    return {"exact": float(np.mean(equal))}


def _boxes(answers: Answers) -> Scores:
    """COCO's AP and AP50 over the labels that occur in the truth, and F1.

    A detector has no F1: it gives hundreds of places, which AP ranks by their scores, and it has no
    threshold of its own. A language model decides by itself which places it gives.
    """
    ids = _category_ids(answers)
    truth: GroundTruth = {
        "images": _images(answers),
        "annotations": _coco_boxes(answers, "expected", ids),
    }
    found = _coco_boxes(answers, "found", ids)
    scores = {"AP": 0.0, "AP50": 0.0}
    if found:
        numbers = detection.score(truth, found, "bbox")
        scores["AP"] = numbers["AP"]
        scores["AP50"] = numbers["AP50"]
    if all("answer" in answer for answer in answers):
        scores.update(_f1(answers))
    return scores


def _category_ids(answers: Answers) -> dict[str, int]:
    """COCO's id of each label that occurs in the truth, from 1."""
    names: set[str] = set()
    for answer in answers:
        for place in answer["expected"]:
            names.add(place["label"])
    ids: dict[str, int] = {}
    for number, name in enumerate(sorted(names), 1):
        ids[name] = number
    return ids


def _images(answers: Answers) -> list[Image]:
    """COCO's entry of each image; a sample has several answers, but one image."""
    images: dict[str, Image] = {}
    for answer in answers:
        key = answer["key"]
        width, height = answer["size"]
        images[key] = {
            "id": key,
            "width": width,
            "height": height,
        }
    return list(images.values())


def _coco_boxes(answers: Answers, side: Side, ids: Mapping[str, int]) -> list[Entry]:
    """COCO's annotations of the places whose label has a category id."""
    boxes: list[Entry] = []
    for answer in answers:
        for place in answer[side]:
            if place["label"] in ids:
                box: Entry = {
                    "image_id": answer["key"],
                    "category_id": ids[place["label"]],
                    "bbox": xywh(place["points"]),
                    "score": place["score"],
                }
                boxes.append(box)
    return boxes


def _f1(answers: Answers) -> Scores:
    """F1 of the places. Each true place is matched by at most one place of the same label."""
    matched = found = expected = 0
    for answer in answers:
        matched += _matches(answer)
        found += len(answer["found"])
        expected += len(answer["expected"])
    total = found + expected
    return {"F1@0.5": 2 * matched / total if total else 0.0}


def _matches(answer: Answer) -> int:
    """How many places of an answer match a true one."""
    found = answer["found"]
    expected = answer["expected"]
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


def _phrases(answers: Answers) -> Scores:
    """The share of phrases whose surest box is right."""
    truth: GroundTruth = {"annotations": _coco_phrases(answers, "expected")}
    found = _coco_phrases(answers, "found")
    recall = grounding.recall(truth, found, (1,))
    return {"R@1": recall["R@1"]}


def _coco_phrases(answers: Answers, side: Side) -> list[Entry]:
    """The annotations that `grounding.recall` reads: a box for each phrase."""
    phrases: list[Entry] = []
    for answer in answers:
        for place in answer[side]:
            phrase: Entry = {
                "image_id": answer["key"],
                "text_id": answer["prompt"],
                "phrase": place["label"],
                "bbox": xywh(place["points"]),
                "score": place["score"],
            }
            phrases.append(phrase)
    return phrases


def _outlines(answers: Answers) -> Scores:
    """Mean and overall IoU of the masks."""
    truth: GroundTruth = {
        "images": _images(answers),
        "annotations": _coco_outlines(answers, "expected"),
    }
    found = _coco_outlines(answers, "found")
    scores = grounding.referring_segmentation(truth, found)
    return {"mIoU": scores["mIoU"], "oIoU": scores["oIoU"]}


def _coco_outlines(answers: Answers, side: Side) -> list[Entry]:
    """The first outline of each answer, without polygons that have no area."""
    outlines: list[Entry] = []
    for answer in answers:
        for place in answer[side][:1]:
            polygons = [p for p in place["polygons"] if len(p) >= MIN_POLYGON_NUMBERS]
            if polygons:
                outline: Entry = {
                    "image_id": answer["key"],
                    "expression": answer["prompt"],
                    "segmentation": polygons,
                }
                outlines.append(outline)
    return outlines


def _labels(answers: Answers) -> Scores:
    """The share of regions that were given the right label."""
    right: list[bool] = []
    for answer in answers:
        # An answer that names no place is a label as a whole.
        label = answer["answer"]
        if answer["found"]:
            label = answer["found"][0]["label"]
        true_label = answer["expected"][0]["label"]
        right.append(normalise(label) == normalise(true_label))
    return {"accuracy": float(np.mean(right))}


# Token of a task -> its name in the table, and the function that scores its answers.
TASKS: dict[str, tuple[str, Measure]] = {
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
