"""Words in pictures: found where they are (quad IoU 0.5) and read right.

To be read right is to have the same letters and digits, whatever their case. Words that nobody can read
(`###`, as ICDAR marks them) count neither as missed nor as found.
"""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

import numpy as np

from pipeline.quality.coco import Entry, check, grouped, xyxy
from pipeline.quality.truth import letters
from stages.geometry import greedy_match, quad_iou

_IOU = 0.5
_ILLEGIBLE = "###"


def score(ground_truth: Entry, predictions: list[Entry]) -> dict[str, Any]:
    """Precision, recall and F1 of words read right; with `detection_`, of words found, whatever was read."""
    check(ground_truth, predictions, ("image_id", "text"), ("image_id", "text"))
    truth = grouped(ground_truth["annotations"], lambda e: (e["image_id"],))
    found = grouped(predictions, lambda e: (e["image_id"],))
    counts = np.zeros((2, 3), int)
    for image in truth | found:
        counts += _count(found.get(image, []), truth.get(image, []))
    return {
        **_ratios("", *counts[0]),
        **_ratios("detection_", *counts[1]),
        "words": int(counts[0, 2]),
    }


def _count(found: Sequence[Entry], truth: Sequence[Entry]) -> np.ndarray:
    """(matched, found, true) of words read right, and of words found."""
    overlap = quad_iou([_quad(e) for e in found], [_quad(e) for e in truth])
    legible: np.ndarray = np.array([e["text"] != _ILLEGIBLE for e in truth], bool)
    ignored = (overlap[:, ~legible] >= _IOU).any(axis=1) & ~(overlap[:, legible] >= _IOU).any(
        axis=1
    )
    kept = [found[i] for i in np.flatnonzero(~ignored).tolist()]
    words = [truth[i] for i in np.flatnonzero(legible).tolist()]
    overlap = overlap[~ignored][:, legible]
    scores = [e.get("score", 0.0) for e in kept]
    same = np.array([[letters(a["text"]) == letters(b["text"]) for b in words] for a in kept], bool)
    read = np.where(same.reshape(overlap.shape), overlap, 0.0)
    return np.array(
        [[len(greedy_match(o, scores, _IOU)), len(kept), len(words)] for o in (read, overlap)]
    )


def _quad(entry: Entry) -> Sequence[float]:
    """Four points; a `bbox` stands for its corners."""
    if "quad" in entry:
        return list(entry["quad"])
    if "bbox" not in entry:
        raise ValueError(
            f"a word of image_id {entry['image_id']!r} has no `quad` (eight numbers) and no `bbox`"
        )
    x0, y0, x1, y1 = xyxy(entry["bbox"])
    return [x0, y0, x1, y0, x1, y1, x0, y1]


def _ratios(prefix: str, matched: int, found: int, true: int) -> dict[str, float]:
    return {
        f"{prefix}precision": float(matched / found) if found else 0.0,
        f"{prefix}recall": float(matched / true) if true else 0.0,
        f"{prefix}F1": float(2 * matched / (found + true)) if found + true else 0.0,
    }
