"""Score thresholds that reach a wanted precision, from a small labelled set.

In: the labels of some samples with their truth. Out: for every specialist, and for every class of
it with enough labels, the lowest score from which on its labels are as precise as wanted, in the
form that the filters take; and the curve. A class with too few labels takes the threshold of its
specialist. `calibrated_round.py` does this for a round.
"""

from __future__ import annotations

import dataclasses
from collections import Counter
from collections.abc import Iterable, Iterator, Sequence
from dataclasses import dataclass, field
from typing import TypedDict

import numpy as np

from pipeline.quality.calibration_truth import Truth
from pipeline.quality.curves import Curve, CurvePoint, curve
from pipeline.quality.matches import boxes, in_crowd, where_same
from pipeline.quality.wording import bare_phrase, letters, normalise
from pipeline.schema import Annotation, Annotations, Box, Quad, Region, TextRegion, Triplet
from pipeline.storage.json_types import Json
from stages.geometry import box_iou, greedy_match, quad_iou

FILTER_OF_KIND = {
    "regions": "region_filter",
    "text_regions": "region_filter",
    "triplets": "triplet_filter",
}
NEVER = 1.01
"""Above every score: the threshold of a specialist or class that is never so precise."""


@dataclass(frozen=True, slots=True, kw_only=True)
class CalibrateConfig:
    """What `fld calibrate` asks for."""

    precision: float = 0.9
    """Wanted precision of the labels that score at least the threshold, in (0, 1]."""
    iou: float = 0.5
    """A label with the right words is right from this IoU on, in (0, 1]."""
    min_labels: int = 30
    """Labels of a class that earn it a threshold of its own."""

    def check(self) -> None:
        """Check the shares, which come from options that argparse does not check.

        Raises:
            ValueError: a share is not in (0, 1].
        """
        if not 0 < self.precision <= 1 or not 0 < self.iou <= 1:
            raise ValueError(f"--precision {self.precision} --iou {self.iou}: both are in (0, 1]")


# `class` is a keyword of Python, so this cannot be written as a class.
CurveName = TypedDict("CurveName", {"type": str, "source": str, "class": str | None})
"""The kind, the specialist, and the class or None for all classes."""


class ThresholdRow(CurveName, CurvePoint):
    """What calibration reports of one curve."""

    labels: int
    """How many labels it is of."""


class CurveRow(CurveName):
    """One curve, by falling threshold."""

    threshold: list[float]
    precision: list[float]
    recall: list[float]


class CalibrationSummary(TypedDict):
    """Everything that was found, as plain JSON."""

    wanted: Json
    """The settings of `CalibrateConfig`."""
    samples: int
    """How many samples have been compared."""
    thresholds: list[ThresholdRow]
    curves: list[CurveRow]


Key = tuple[str, str]
"""Kind (`regions`, ...) and specialist or specialist/class."""
Curves = dict[Key, Curve]


@dataclass(slots=True)
class _Judged:
    """The scored labels of a specialist or class, and which of them are right."""

    scores: list[float] = field(default_factory=list)
    right: list[bool] = field(default_factory=list)


def calibrate(samples: Iterable[tuple[Annotations, Truth]], config: CalibrateConfig) -> Curves:
    """The curves of every specialist and of its classes with enough labels.

    The arguments are those of `all_curves`.
    """
    curves = {}
    for (kind, name), found in all_curves(samples, config).items():
        if is_specialist(name) or found.labels >= config.min_labels:
            curves[kind, name] = found
    return curves


def is_specialist(name: str) -> bool:
    """Whether a name of a curve is that of a specialist, not of one of its classes."""
    return "/" not in name


def all_curves(samples: Iterable[tuple[Annotations, Truth]], config: CalibrateConfig) -> Curves:
    """The curves of every specialist and of all its classes.

    Args:
        samples: the labels and the truth of each sample.
        config: what is asked for.
    """
    judged: dict[Key, _Judged] = {}
    truths: Counter[Key] = Counter()
    for labels, truth in samples:
        for kind in truth.kinds:
            _count_truths(kind, truth, truths)
            for item, is_right in _judge(kind, labels, truth, config.iou):
                score = _score(item)
                # A label counts for its specialist as a whole and for its class.
                for name in _names(item):
                    entry = judged.setdefault((kind, name), _Judged())
                    entry.scores.append(score)
                    entry.right.append(is_right)
    curves = {}
    for (kind, name), entry in sorted(judged.items(), key=_by_key):
        _, _, class_ = name.partition("/")
        true_objects = truths[kind, class_]
        curves[kind, name] = curve(entry.scores, entry.right, true_objects)
    return curves


def _by_key(item: tuple[Key, _Judged]) -> Key:
    key, _ = item
    return key


def _count_truths(kind: str, truth: Truth, truths: Counter[Key]) -> None:
    """Count the true objects of a sample, in all (class "") and by class."""
    for item in getattr(truth.annotations, kind):
        truths[kind, ""] += 1
        class_ = _class(item)
        if class_:
            truths[kind, class_] += 1


def _names(item: Annotation) -> list[str]:
    """The specialist of a label and, if the label has a class, specialist/class."""
    class_ = _class(item)
    if not class_:
        return [item.source]
    return [item.source, f"{item.source}/{class_}"]


def thresholds(curves: Curves, precision: float) -> dict[str, dict[str, float]]:
    """The lowest thresholds that reach a precision.

    Args:
        curves: the curves of `calibrate`.
        precision: the wanted precision, in (0, 1].

    Returns:
        By filter, the value of its setting: thresholds by specialist or specialist/class.
    """
    found: dict[str, dict[str, float]] = {use: {} for use in FILTER_OF_KIND.values()}
    for (kind, key), own in curves.items():
        i = own.reach(precision)
        threshold = NEVER
        if i is not None:
            # Rounded down, so that the last right label passes the threshold.
            threshold = float(np.floor(own.threshold[i] * 1e4) / 1e4)
        found[FILTER_OF_KIND[kind]][key] = threshold
    return found


def summary(curves: Curves, config: CalibrateConfig, samples: int) -> CalibrationSummary:
    """Everything that was found, as plain JSON.

    Args:
        curves: the curves of `calibrate`.
        config: what was asked for.
        samples: how many samples have been compared.
    """
    rows: list[ThresholdRow] = []
    lines: list[CurveRow] = []
    for (kind, name), own in curves.items():
        source, _, class_ = name.partition("/")
        head: CurveName = {"type": kind, "source": source, "class": class_ or None}
        rows.append({**head, "labels": own.labels, **own.at(config.precision)})
        lines.append(
            {
                **head,
                "threshold": own.threshold.tolist(),
                "precision": own.precision.tolist(),
                "recall": own.recall.tolist(),
            }
        )
    return {
        "wanted": dataclasses.asdict(config),
        "samples": samples,
        "thresholds": rows,
        "curves": lines,
    }


def _judge(
    kind: str, labels: Annotations, truth: Truth, iou: float
) -> Iterator[tuple[Annotation, bool]]:
    """The scored labels of a kind and whether each is right.

    The labels of one specialist do not compete with those of another. Of one specialist, the best
    label comes first, and each takes the free true object that it overlaps most. Labels in a crowd
    are neither right nor wrong.
    """
    items: list[Annotation] = [item for item in getattr(labels, kind) if _has_score(item)]
    if kind == "triplets":
        items = _with_known_texts(items, labels, truth.annotations)
    by_source: dict[str, list[Annotation]] = {}
    for item in items:
        by_source.setdefault(item.source, []).append(item)
    for own in by_source.values():
        overlap = _overlap(kind, own, getattr(truth.annotations, kind))
        scores = [_score(item) for item in own]
        right = {row for row, _ in greedy_match(overlap, scores, iou)}
        for row, item in enumerate(own):
            if row in right:
                yield item, True
            elif not in_crowd(item, truth.crowds):
                yield item, False


def _with_known_texts(
    triplets: Iterable[Annotation], labels: Annotations, truth: Annotations
) -> list[Annotation]:
    """The triplets whose texts have a granularity of which the truth has triplets too."""
    granularity = {text.id: text.granularity for text in (*labels.texts, *truth.texts)}
    covered = {granularity.get(triplet.text_id) for triplet in truth.triplets}
    result: list[Annotation] = []
    for triplet in triplets:
        if isinstance(triplet, Triplet) and granularity.get(triplet.text_id) in covered:
            result.append(triplet)
    return result


def _overlap(kind: str, labels: Sequence[Annotation], truth: Sequence[Annotation]) -> np.ndarray:
    """The IoU where both say the same, elsewhere -1: (labels, truth) float64."""
    if kind == "text_regions":
        overlap = quad_iou(_quads(labels), _quads(truth))
    else:
        overlap = box_iou(_boxes(labels), _boxes(truth))
    return where_same(overlap, labels, truth, _same_words)


def _quads(words: Iterable[Annotation]) -> list[Quad]:
    return [word.quad for word in words if isinstance(word, TextRegion)]


def _boxes(items: Iterable[Annotation]) -> list[Box]:
    return boxes([item for item in items if isinstance(item, Region | Triplet)])


def _same_words(label: Annotation, true: Annotation) -> bool:
    return _words(label) == _words(true)


def _words(item: Annotation) -> str:
    """What a label says, in the form in which it is compared."""
    match item:
        case TextRegion():
            return letters(item.text)
        case Region():
            return normalise(item.phrase)
        case Triplet():
            return bare_phrase(item.phrase)
    raise TypeError(f"an annotation without a place: {item!r}")


def _class(item: Annotation) -> str:
    """The class of a region; other kinds have none."""
    return item.phrase if isinstance(item, Region) else ""


def _has_score(item: Annotation) -> bool:
    return item.score is not None or item.confidence is not None


def _score(item: Annotation) -> float:
    """What the merge believes, else the score of the source; `_has_score` says that it has one."""
    score = item.score if item.confidence is None else item.confidence
    assert score is not None, f"an annotation without a score: {item!r}"
    return float(score)
