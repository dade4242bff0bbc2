"""Precision and recall of scored labels by the score that they must have at least."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from typing import TypedDict

import numpy as np

from pipeline.quality.audit import wilson


class CurvePoint(TypedDict):
    """A point of a curve; the first three are None where it does not reach the wanted precision."""

    threshold: float | None
    precision: float | None
    recall: float | None
    judged: int
    """How many labels score at least the threshold; all labels where there is none."""
    low: float
    """The lower end of the 95% Wilson interval of the precision of these labels."""
    high: float
    """The upper end of the interval."""


@dataclass(frozen=True, slots=True)
class Curve:
    """Precision and recall of the labels that score at least `threshold`, by falling threshold.

    The first three arrays are (thresholds,) float64.
    """

    threshold: np.ndarray
    precision: np.ndarray
    recall: np.ndarray
    judged: np.ndarray
    """(thresholds,) int: how many labels score at least the threshold."""
    labels: int

    def reach(self, precision: float) -> int | None:
        """Index of the lowest threshold with this precision, None when there is none."""
        good = np.flatnonzero(self.precision >= precision)
        return int(good[-1]) if len(good) else None

    def at(self, precision: float) -> CurvePoint:
        """The lowest threshold with this precision, and what it reaches; None if there is none."""
        i = self.reach(precision)
        # Where there is no threshold, all labels together show it.
        shown = -1 if i is None else i
        judged = int(self.judged[shown])
        low, high = wilson(float(self.precision[shown]) * judged, judged)
        return {
            "threshold": None if i is None else float(self.threshold[i]),
            "precision": None if i is None else float(self.precision[i]),
            "recall": None if i is None else float(self.recall[i]),
            "judged": judged,
            "low": low,
            "high": high,
        }


def curve(scores: Sequence[float], right: Sequence[bool], truths: int) -> Curve:
    """The curve of some labels. Labels with equal scores are kept or dropped together.

    Args:
        scores: the score of each label.
        right: whether each label is right.
        truths: how many true objects there are.
    """
    falling = np.argsort(-np.array(scores), kind="stable")
    sorted_scores = np.array(scores)[falling]
    hits = np.cumsum(np.array(right)[falling])
    is_last = np.r_[np.diff(sorted_scores) != 0, True]
    last_of_score = np.flatnonzero(is_last)
    return Curve(
        threshold=sorted_scores[last_of_score],
        precision=hits[last_of_score] / (last_of_score + 1),
        recall=hits[last_of_score] / max(truths, 1),
        judged=last_of_score + 1,
        labels=len(scores),
    )
