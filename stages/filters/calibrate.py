"""Score thresholds that reach a wanted precision, from a small labelled set. In: (labels, truth) of samples.

Out: per source and class the lowest threshold from which on the region labels are as precise as wanted, in
the form of the region filter's `min_scores`, with the precision and recall there. A class with too few labels
takes its source's threshold: it gets no entry of its own.
"""

from __future__ import annotations

from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass

import numpy as np

from pipeline.schema import Annotations, Region
from stages.filters.nms import iou_matrix


@dataclass(frozen=True, slots=True, kw_only=True)
class CalibrateConfig:
    precision: float = 0.9
    iou: float = 0.5  # from which on a label of the right category is correct
    min_labels: int = 30  # of a class, for a threshold of its own


@dataclass(frozen=True, slots=True)
class Curve:
    """Precision and recall of the labels that score at least `threshold`, by falling threshold."""

    threshold: np.ndarray
    precision: np.ndarray
    recall: np.ndarray

    def reach(self, precision: float) -> int | None:
        """Index of the lowest threshold with this precision, None when there is none."""
        good = np.flatnonzero(self.precision >= precision)
        return int(good[-1]) if len(good) else None


def correct(labels: Sequence[Region], truth: Sequence[Region], threshold: float) -> np.ndarray:
    """Which labels are right: best first, each takes the free truth of its category that it overlaps most."""
    right = np.zeros(len(labels), bool)
    overlap = iou_matrix(
        np.array([r.box for r in labels]).reshape(-1, 4), np.array([r.box for r in truth]).reshape(-1, 4)
    )
    same = np.array([[a.phrase == b.phrase for b in truth] for a in labels], bool).reshape(overlap.shape)
    overlap = np.where(same, overlap, 0.0)
    for i in sorted(range(len(labels)), key=lambda i: -(labels[i].score or 0.0)):
        best = int(overlap[i].argmax()) if len(truth) else -1
        if best >= 0 and overlap[i, best] >= threshold:
            right[i] = True
            overlap[:, best] = 0.0
    return right


def curve(scores: np.ndarray, right: np.ndarray, there: int) -> Curve:
    """`there` counts the truth; equal scores stand or fall together."""
    order = np.argsort(-scores, kind="stable")
    hits = np.cumsum(right[order])
    last = np.flatnonzero(np.r_[np.diff(scores[order]) != 0, True])
    return Curve(scores[order][last], hits[last] / (last + 1), hits[last] / max(there, 1))


def calibrate(pairs: Iterable[tuple[Annotations, Annotations]], config: CalibrateConfig) -> dict[str, Curve]:
    """A curve by "source" and, with enough labels, by "source/class". Dropped labels count: thresholds
    decide anew.
    """
    scores: dict[str, list[float]] = {}
    right: dict[str, list[bool]] = {}
    there: dict[str, int] = {}
    for labels, truth in pairs:
        for region in truth.regions:
            there[region.phrase] = there.get(region.phrase, 0) + 1
        for source in {r.source for r in labels.regions if r.score is not None}:
            regions = [r for r in labels.regions if r.source == source and r.score is not None]
            for region, hit in zip(regions, correct(regions, truth.regions, config.iou), strict=True):
                for key in (source, f"{source}/{region.phrase}"):
                    scores.setdefault(key, []).append(region.score or 0.0)
                    right.setdefault(key, []).append(bool(hit))
    total = sum(there.values())
    return {
        key: curve(np.array(values), np.array(right[key]), there.get(key.partition("/")[2], 0) if "/" in key else total)
        for key, values in sorted(scores.items())
        if "/" not in key or len(values) >= config.min_labels
    }


def min_scores(curves: Mapping[str, Curve], precision: float) -> dict[str, float]:
    """The region filter's setting; a source or class that never gets so precise is shut out by a threshold
    above 1.
    """
    found = {key: (c, c.reach(precision)) for key, c in curves.items()}
    return {key: float(c.threshold[i]) if i is not None else 1.01 for key, (c, i) in found.items()}
