"""Words in pictures: found where they are (quad IoU 0.5) and read right.

A word is read right when its letters and digits are equal, whatever their case. Words that nobody
can read (`###`, as ICDAR marks them) count neither as missed nor as found.
"""

from __future__ import annotations

from collections.abc import Sequence
from itertools import compress
from typing import Any

import numpy as np

from pipeline.quality.coco import Entry, by_image, check, grouped, xyxy
from pipeline.quality.matches import where_same
from pipeline.quality.wording import letters
from stages.geometry import greedy_match, quad_iou

_IOU = 0.5
_ILLEGIBLE = "###"
_FIELDS = ("image_id", "text")


def score(ground_truth: Entry, predictions: list[Entry]) -> dict[str, Any]:
    """Precision, recall and F1 of words.

    Args:
        ground_truth: annotations with `image_id`, `text`, and `quad` (eight numbers) or `bbox`.
        predictions: entries with the same fields and perhaps a `score`.

    Returns:
        `precision`, `recall` and `F1` of words that are read right; the same with the prefix
        `detection_` of words that are found, whatever was read; and `words`, the legible words.

    Raises:
        ValueError: an entry cannot be scored; the message names it.
    """
    check(ground_truth, predictions, _FIELDS, _FIELDS)
    truth = grouped(ground_truth["annotations"], by_image)
    predicted = grouped(predictions, by_image)
    counts = np.zeros((2, 3), int)
    for image in truth | predicted:
        counts += _count(predicted.get(image, []), truth.get(image, []))
    read, located = counts.tolist()
    return {**_ratios("", *read), **_ratios("detection_", *located), "words": read[2]}


def _count(predictions: Sequence[Entry], truth: Sequence[Entry]) -> np.ndarray:
    """(matched, predicted, true): of words read right, and of words found; (2, 3) int."""
    overlap = quad_iou(_quads(predictions), _quads(truth))
    legible = np.array([entry["text"] != _ILLEGIBLE for entry in truth], bool)
    hits = overlap >= _IOU
    on_legible: np.ndarray = np.any(hits[:, legible], axis=1)
    on_illegible: np.ndarray = np.any(hits[:, ~legible], axis=1)
    # What lies on an illegible word only is neither right nor wrong.
    judged = on_legible | ~on_illegible
    kept = list(compress(predictions, judged))
    words = list(compress(truth, legible))
    overlap = overlap[judged][:, legible]
    read = where_same(overlap, kept, words, _same_letters)
    scores = [entry.get("score", 0.0) for entry in kept]
    counts = []
    for matching in (read, overlap):
        matched = greedy_match(matching, scores, _IOU)
        counts.append([len(matched), len(kept), len(words)])
    return np.array(counts)


def _same_letters(label: Entry, true: Entry) -> bool:
    return letters(label["text"]) == letters(true["text"])


def _quads(entries: Sequence[Entry]) -> list[Sequence[float]]:
    return [_quad(entry) for entry in entries]


def _quad(entry: Entry) -> Sequence[float]:
    """The four points x0 y0 .. x3 y3 of a word in pixels; a `bbox` stands for its corners.

    Raises:
        ValueError: the entry has neither.
    """
    if "quad" in entry:
        return list(entry["quad"])
    if "bbox" not in entry:
        raise ValueError(
            f"a word of image_id {entry['image_id']!r} has no `quad` (eight numbers) and no `bbox`"
        )
    x0, y0, x1, y1 = xyxy(entry["bbox"])
    return [x0, y0, x1, y0, x1, y1, x0, y1]


def _ratios(prefix: str, matched: int, predicted: int, true: int) -> dict[str, float]:
    """Precision, recall and F1 of these counts, 0 where nothing can be divided by."""
    both = predicted + true
    return {
        f"{prefix}precision": matched / predicted if predicted else 0.0,
        f"{prefix}recall": matched / true if true else 0.0,
        f"{prefix}F1": 2 * matched / both if both else 0.0,
    }
