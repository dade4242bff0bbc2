"""Words in pictures: found where they are (quad IoU 0.5) and read right.

A word is read right when its letters and digits are equal, whatever their case. Words that nobody
can read (`###`, as ICDAR marks them) count neither as missed nor as found.
"""

from __future__ import annotations

from collections.abc import Sequence
from itertools import compress
from typing import NamedTuple

import numpy as np

from pipeline.quality.coco import Entry, GroundTruth, by_image, check, grouped, xyxy
from pipeline.quality.matches import where_same
from pipeline.quality.wording import letters
from stages.geometry import greedy_match, quad_iou

_IOU = 0.5
_ILLEGIBLE = "###"
_FIELDS = ("image_id", "text")


class _Counts(NamedTuple):
    """How many words matched, were predicted, and are true."""

    matched: int
    predicted: int
    true: int


def score(ground_truth: GroundTruth, predictions: list[Entry]) -> dict[str, float]:
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
    totals = np.zeros((2, 3), int)
    for image in truth | predicted:
        totals += _count(predicted.get(image, []), truth.get(image, []))
    read = _Counts(*totals[0].tolist())
    located = _Counts(*totals[1].tolist())
    return {
        **_ratios("", read),
        **_ratios("detection_", located),
        "words": read.true,
    }


def _count(predictions: Sequence[Entry], truth: Sequence[Entry]) -> np.ndarray:
    """The `_Counts` of words read right and of words found in one image: (2, 3) int."""
    overlap = quad_iou(_quads(predictions), _quads(truth))
    is_legible = [entry["text"] != _ILLEGIBLE for entry in truth]
    legible = np.array(is_legible, bool)
    hits = overlap >= _IOU
    hits_of_legible = hits[:, legible]
    hits_of_illegible = hits[:, ~legible]
    on_legible: np.ndarray = np.any(hits_of_legible, axis=1)
    on_illegible: np.ndarray = np.any(hits_of_illegible, axis=1)
    # What lies on an illegible word only is neither right nor wrong.
    judged = on_legible | ~on_illegible
    kept = list(compress(predictions, judged))
    words = list(compress(truth, legible))
    overlap = overlap[judged][:, legible]
    read = where_same(overlap, kept, words, _same_letters)
    scores = [entry.get("score", 0.0) for entry in kept]
    counts = []
    # A word that is found may be read wrong, so the two matchings are made apart.
    for matching in (read, overlap):
        matched = greedy_match(matching, scores, _IOU)
        counts.append(_Counts(len(matched), len(kept), len(words)))
    return np.array(counts)


def _same_letters(label: Entry, true: Entry) -> bool:
    """Whether two words have equal letters and digits."""
    return letters(label["text"]) == letters(true["text"])


def _quads(entries: Sequence[Entry]) -> list[Sequence[float]]:
    """The four points of each word, as `quad_iou` reads them."""
    quads = []
    for entry in entries:
        quads.append(_quad(entry))
    return quads


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


def _ratios(prefix: str, counts: _Counts) -> dict[str, float]:
    """Precision, recall and F1, each 0 where nothing could be counted."""
    precision = 0.0
    recall = 0.0
    f1 = 0.0
    if counts.predicted:
        precision = counts.matched / counts.predicted
    if counts.true:
        recall = counts.matched / counts.true
    if counts.predicted + counts.true:
        f1 = 2 * counts.matched / (counts.predicted + counts.true)
    return {
        f"{prefix}precision": precision,
        f"{prefix}recall": recall,
        f"{prefix}F1": f1,
    }
