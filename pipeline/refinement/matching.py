"""When two annotations are of the same thing, and what they say of it: for each kind.

An overlap is a number for a pair of annotations. Every kind has its own function for it, whose
docstring gives the unit. Two annotations with the same label need less overlap than two with
different labels (`Rules.same_iou`, `Rules.match_iou`) to be the same thing.
"""

from __future__ import annotations

from collections import Counter
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from typing import Any, Generic, Literal, TypeVar

import numpy as np

from pipeline.quality.wording import bare_phrase, letters, normalise
from pipeline.refinement.rules import Rules
from pipeline.schema import Annotation, Region, Text, TextRegion, Triplet
from pipeline.storage.json_types import Json
from stages.geometry import box_iou, quad_iou

A = TypeVar("A", bound=Annotation)
Label = str | tuple[str, str]
EPSILON = float(np.finfo(np.float64).eps)


@dataclass(frozen=True, slots=True)
class Kind(Generic[A]):
    """How the merge compares annotations of one kind."""

    overlap: Callable[[Sequence[A], Sequence[A]], np.ndarray]
    """Overlap of each of the first annotations (rows) with each of the second (columns): float64
    of shape (rows, columns)."""

    label: Callable[[A], Label]
    """What an annotation says, in a form in which equal labels compare equal."""

    place: Literal["box", "quad"] | None = "box"
    """The field that holds the place; None for texts, which have none."""

    only_place_is_answer: bool = False
    """Whether the model was given the label and answered with a place, so that an equal label
    confirms nothing."""

    in_mirror: bool = True
    """Whether a model can find such things in a mirrored image. Words cannot be read there."""


@dataclass(frozen=True, slots=True)
class Match:
    """An old label and a new one that are of the same thing."""

    old: Annotation
    """The label of an earlier round."""

    new: Annotation
    """The label that the model of this round found."""

    same_label: bool
    """Whether both say the same."""


@dataclass(frozen=True, slots=True)
class _Candidate:
    """An old annotation that a new one may be matched with."""

    index: int
    same_label: bool
    overlap: float

    def is_near(self, rules: Rules) -> bool:
        """Whether both overlap enough to be the same thing."""
        least = rules.same_iou if self.same_label else rules.match_iou
        return self.overlap >= least

    def rank(self) -> tuple[bool, float]:
        """Sort key: an equal label counts first, then the overlap.

        Overlaps under equal labels are compared in steps of the machine epsilon. So the first of
        two old labels is taken if their overlaps differ only by a rounding error.
        """
        if self.same_label:
            return True, round(self.overlap / EPSILON)
        return False, self.overlap


def text_overlap(left: Sequence[Text], right: Sequence[Text]) -> np.ndarray:
    """1 plus the share of common words (`shared_words`, 0 to 1) for texts of the same granularity.

    Texts of different granularity have an overlap of 0. So with thresholds of 1 two texts are of
    the same thing exactly if they have the same granularity, and of several captions those with the
    most common words are matched. Returns float64 of shape (len(left), len(right)).
    """
    overlap = np.zeros((len(left), len(right)))
    right_words = [normalise(text.text) for text in right]
    for row, text in enumerate(left):
        words = normalise(text.text)
        for column, other in enumerate(right):
            if text.granularity == other.granularity:
                share = shared_words(words, right_words[column])
                overlap[row, column] = 1 + share
    return overlap


def box_overlap(left: Sequence[Region | Triplet], right: Sequence[Region | Triplet]) -> np.ndarray:
    """IoU of the boxes, 0 to 1: float64 of shape (len(left), len(right))."""
    left_boxes = [item.box for item in left]
    right_boxes = [item.box for item in right]
    return box_iou(left_boxes, right_boxes)


def quad_overlap(left: Sequence[TextRegion], right: Sequence[TextRegion]) -> np.ndarray:
    """IoU of the convex hulls of the quads, 0 to 1: float64 of shape (len(left), len(right))."""
    left_quads = [word.quad for word in left]
    right_quads = [word.quad for word in right]
    return quad_iou(left_quads, right_quads)


def phrase_overlap(left: Sequence[Triplet], right: Sequence[Triplet]) -> np.ndarray:
    """IoU of the boxes, 0 to 1, for triplets of the same characters of the same text; 0 otherwise.

    Returns float64 of shape (len(left), len(right)).
    """
    overlap = box_overlap(left, right)
    right_spans = [_span(triplet) for triplet in right]
    for row, triplet in enumerate(left):
        span = _span(triplet)
        for column, right_span in enumerate(right_spans):
            if span != right_span:
                overlap[row, column] = 0.0
    return overlap


def text_label(text: Text) -> str:
    """The words without case and punctuation."""
    return normalise(text.text)


def region_label(region: Region) -> tuple[str, str]:
    """The category and the brief text; without a brief text the category stands for it."""
    brief = region.brief or region.phrase
    return normalise(region.phrase), bare_phrase(brief)


def word_label(word: TextRegion) -> str:
    """The letters and digits without case; a text that has none stands for itself."""
    return letters(word.text) or word.text


def phrase_label(triplet: Triplet) -> str:
    """The phrase without case, punctuation and a leading article."""
    return bare_phrase(triplet.phrase)


# The kinds have annotations of different classes, so the type of the mapping cannot name one.
AnyKind = Kind[Any]
MATCHING: Mapping[str, AnyKind] = {
    "texts": Kind(text_overlap, text_label, place=None),
    "regions": Kind(box_overlap, region_label),
    "text_regions": Kind(quad_overlap, word_label, place="quad", in_mirror=False),
    "triplets": Kind(phrase_overlap, phrase_label, only_place_is_answer=True),
}


def shared_words(left: Label, right: Label) -> float:
    """The share of words that two labels have in common, 0 to 1: the Dice coefficient of their
    multisets of words."""
    left_words = _words(left)
    right_words = _words(right)
    common = left_words & right_words
    total = left_words.total() + right_words.total()
    return 2 * common.total() / max(total, 1)


def same_label(kind: Kind[A], left: A, right: A) -> bool:
    """Whether two annotations say the same."""
    return kind.label(left) == kind.label(right)


def confirms(kind: Kind[A], rules: Rules, new: A, old: A) -> bool:
    """Whether a new label of the same thing confirms the old one.

    It does if the labels are equal or share enough words (`Rules.agree`). Where the label was part
    of the question, the place alone must agree (`Rules.match_iou`).
    """
    if kind.only_place_is_answer:
        overlap = kind.overlap([new], [old])
        return bool(overlap[0, 0] >= rules.match_iou)
    new_label = kind.label(new)
    old_label = kind.label(old)
    if new_label == old_label:
        return True
    if rules.agree == 1:
        # Only equal labels agree: the same words in another order are not enough.
        return False
    return shared_words(new_label, old_label) >= rules.agree


def matches(kind: Kind[A], rules: Rules, new: Sequence[A], old: Sequence[A]) -> list[Match]:
    """Pairs of a new and an old annotation that are of the same thing, each in one pair at most.

    The matching is greedy: the new annotations, in the given order, take the best old one that is
    still free. An old one with the same label is better than any with another label; among these
    the one with the larger overlap is better, and of equal ones the first.
    """
    if not new or not old:
        return []
    overlap = kind.overlap(new, old)
    old_labels = [kind.label(annotation) for annotation in old]
    free = list(range(len(old)))
    pairs = []
    for row, annotation in enumerate(new):
        label = kind.label(annotation)
        overlaps: list[float] = overlap[row].tolist()
        candidates = []
        for column in free:
            same = label == old_labels[column]
            candidate = _Candidate(column, same, overlaps[column])
            if candidate.is_near(rules):
                candidates.append(candidate)
        if candidates:
            # `max` returns the first of equally good candidates.
            best = max(candidates, key=_Candidate.rank)
            free.remove(best.index)
            pairs.append(Match(old[best.index], annotation, best.same_label))
    return pairs


def mean_place(kind: AnyKind, old: Annotation, new: Annotation, weight: float) -> Json:
    """The field that holds the place, with the mean of both places; `weight` is that of the new.

    Boxes and quads are in absolute pixels. The result is empty if annotations of the kind have no
    place, or if the new place has no weight.
    """
    if kind.place is None or weight == 0:
        return {}
    old_place = getattr(old, kind.place)
    new_place = getattr(new, kind.place)
    if kind.place == "quad":
        # The same quad may start at another corner.
        new_place = starting_like(new_place, old_place)
    mean = []
    for before, after in zip(old_place, new_place, strict=True):
        mean.append(before + weight * (after - before))
    return {kind.place: tuple(mean)}


def starting_like(quad: Sequence[float], reference: Sequence[float]) -> tuple[float, ...]:
    """The quad with its four points in the same cyclic order, but starting at the point that brings
    them closest to those of `reference` (least sum of squared distances).

    Both are x0 y0 .. x3 y3 in absolute pixels.
    """

    def distance(points: Sequence[float]) -> float:
        squares = 0.0
        for value, wanted in zip(points, reference, strict=True):
            squares += (value - wanted) ** 2
        return squares

    rotations = []
    for start in (0, 2, 4, 6):
        rotations.append((*quad[start:], *quad[:start]))
    return min(rotations, key=distance)


def _span(triplet: Triplet) -> tuple[str, int, int]:
    return triplet.text_id, triplet.start, triplet.end


def _words(label: Label) -> Counter[str]:
    text = label if isinstance(label, str) else " ".join(label)
    return Counter(text.split())
