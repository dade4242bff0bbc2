"""How well a model answered: the entries of `stages.florence.examine` as one number or two a task."""

from __future__ import annotations

from collections import defaultdict
from collections.abc import Callable, Iterable, Mapping, Sequence
from typing import Any

import numpy as np

from pipeline.quality import captions, detection, grounding
from pipeline.quality.coco import xywh
from pipeline.quality.truth import letters, normalise
from stages.geometry import box_iou, greedy_match, quad_iou

Entry = Mapping[str, Any]
Scored = dict[str, float]


def score(entries: Iterable[Entry]) -> Scored:
    """Every metric of every task that was asked, in the order of `TASKS`."""
    by_task: dict[str, list[Entry]] = defaultdict(list)
    for entry in entries:
        by_task[entry["task"]].append(entry)
    scores: Scored = {}
    for token, (name, metrics) in TASKS.items():
        if by_task[token]:
            scores |= {
                f"{name} {metric}": value for metric, value in metrics(by_task[token]).items()
            }
    return scores


def _texts(entries: Sequence[Entry]) -> Scored:
    truth = {"annotations": [{"image_id": e["key"], "caption": e["target"]} for e in entries]}
    given: list[Entry] = [{"image_id": e["key"], "caption": e["answer"]} for e in entries]
    return {"CIDEr": captions.score(truth, given)["CIDEr"], **_exact(entries)}


def _exact(entries: Sequence[Entry]) -> Scored:
    return {
        "exact": float(np.mean([normalise(e["answer"]) == normalise(e["target"]) for e in entries]))
    }


def _boxes(entries: Sequence[Entry]) -> Scored:
    names = sorted({place["label"] for entry in entries for place in entry["expected"]})
    ids = {name: i for i, name in enumerate(names, 1)}
    width_and_height = {e["key"]: e["size"] for e in entries}
    images = [
        {"id": key, "width": size[0], "height": size[1]} for key, size in width_and_height.items()
    ]
    truth, found = (
        _list(
            {
                "image_id": e["key"],
                "category_id": ids[place["label"]],
                "bbox": xywh(place["points"]),
                "score": place["score"],
            }
            for e in entries
            for place in e[side]
            if place["label"] in ids
        )
        for side in ("expected", "found")
    )
    numbers = (
        detection.score({"images": images, "annotations": truth}, found, "bbox")
        if found
        else {"AP": 0.0}
    )
    return {"AP": numbers["AP"], "AP50": numbers.get("AP50", 0.0), **_f1(entries)}


def _f1(entries: Sequence[Entry]) -> Scored:
    """A place is found by one of its label with an IoU of 0.5, one-to-one."""
    matched, told, true = 0, 0, 0
    for entry in entries:
        found, expected = entry["found"], entry["expected"]
        points = [[place["points"] for place in side] for side in (found, expected)]
        quads = any(len(p) == 8 for side in points for p in side)
        overlap = (quad_iou if quads else box_iou)(*points)
        same = [[_same(a["label"], b["label"], quads) for b in expected] for a in found]
        allowed = np.where(np.array(same, bool).reshape(overlap.shape), overlap, -1.0)
        matched += len(greedy_match(allowed, [place["score"] for place in found], 0.5))
        told, true = told + len(found), true + len(expected)
    return {"F1@0.5": 2 * matched / (told + true) if told + true else 0.0}


def _same(label: str, other: str, word: bool) -> bool:
    return letters(label) == letters(other) if word else normalise(label) == normalise(other)


def _phrases(entries: Sequence[Entry]) -> Scored:
    truth, found = (
        _list(
            {
                "image_id": e["key"],
                "text_id": e["prompt"],
                "phrase": place["label"],
                "bbox": xywh(place["points"]),
                "score": place["score"],
            }
            for e in entries
            for place in e[side]
        )
        for side in ("expected", "found")
    )
    return {"R@1": grounding.recall({"annotations": truth}, found, (1,))["R@1"]}


def _outlines(entries: Sequence[Entry]) -> Scored:
    images = {
        e["key"]: {"id": e["key"], "width": e["size"][0], "height": e["size"][1]} for e in entries
    }
    truth, found = (
        _list(
            {"image_id": e["key"], "expression": e["prompt"], "segmentation": drawn}
            for e in entries
            for one in e[side][:1]
            if (drawn := [p for p in one["polygons"] if len(p) >= 6])
        )
        for side in ("expected", "found")
    )
    scores = grounding.referring_segmentation(
        {"images": list(images.values()), "annotations": truth}, found
    )
    return {"mIoU": scores["mIoU"], "oIoU": scores["oIoU"]}


def _list(entries: Iterable[Entry]) -> list[Entry]:
    return list(entries)


def _labels(entries: Sequence[Entry]) -> Scored:
    told = [
        (e["found"][0]["label"] if e["found"] else e["answer"], e["expected"][0]["label"])
        for e in entries
    ]
    return {
        "accuracy": float(np.mean([normalise(label) == normalise(true) for label, true in told]))
    }


TASKS: dict[str, tuple[str, Callable[[Sequence[Entry]], Scored]]] = {
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
