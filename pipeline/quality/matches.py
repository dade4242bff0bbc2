"""How many labels of one sample match its truth.

Matching is greedy and one-to-one: labels by descending confidence (or score) take the free truth
that they overlap most. Only kept annotations count.

    texts             brief texts equal after `normalise` (case and punctuation ignored, articles
                      kept)
    text_tokens       shared words of matched brief texts (a multiset); the unit is the word
    regions           box IoU >= 0.5 and the same category; `regions_75` asks for 0.75
    region_attributes also the same brief text (without its article), where the truth has one; and
                      `region_attributes_75`
    text_regions      quad IoU >= 0.5 and the same letters and digits, case ignored
    triplets          box IoU >= 0.5, the same phrase (without its article), texts of the same
                      granularity

Truth texts beyond the number of labels are alternatives (COCO gives five captions), not misses.
"""

from __future__ import annotations

from collections import Counter
from collections.abc import Callable, Sequence
from dataclasses import replace
from typing import NamedTuple, TypeVar

import numpy as np

from pipeline.quality.wording import bare_phrase, letters, normalise
from pipeline.schema import CROWD, Annotation, Annotations, Box, Region, Text, TextRegion, Triplet
from stages.geometry import box_iou, greedy_match, quad_iou

A = TypeVar("A")
B = TypeVar("B")
METRICS = (
    "texts",
    "text_tokens",
    "regions",
    "regions_75",
    "region_attributes",
    "region_attributes_75",
    "text_regions",
    "triplets",
)
_IOU = 0.5
_STRICT_IOU = 0.75


class Counts(NamedTuple):
    """The counts of one metric."""

    matched: int
    """Labels that match a truth of their own."""
    labels: int
    """Labels in all."""
    truth: int
    """Truths in all."""


def count_sample(labels: Annotations, truth: Annotations) -> np.ndarray:
    """The counts of one sample.

    Args:
        labels: the labels, of which the kept ones count.
        truth: the truth; human regions that were dropped as crowds are crowds.

    Returns:
        (len(METRICS), 3) int64, a `Counts` for each metric.
    """
    crowds = [region for region in truth.regions if region.dropped == CROWD]
    truth = truth.kept()
    labels = _outside(labels.kept(), truth, crowds)
    label_texts = _brief(labels)
    true_texts = _brief(truth)
    regions = labels.regions
    true_regions = truth.regions
    category = _region_overlap(regions, true_regions)
    attributes = where_same(category, regions, true_regions, _same_attributes)
    counts = [
        _count_texts(label_texts, true_texts),
        _count_words(label_texts, true_texts),
        _count(category, regions, true_regions, _IOU),
        _count(category, regions, true_regions, _STRICT_IOU),
        _count(attributes, regions, true_regions, _IOU),
        _count(attributes, regions, true_regions, _STRICT_IOU),
        _count_text_regions(labels.text_regions, truth.text_regions),
        _count_triplets(labels, truth),
    ]
    return np.array(counts)


def in_crowd(item: Annotation, crowds: Sequence[Region]) -> bool:
    """Whether at least half of a region lies in a crowd of its category.

    Args:
        item: an annotation; one that is not a region lies in no crowd.
        crowds: regions of whole crowds.
    """
    if not isinstance(item, Region):
        return False
    x0, y0, x1, y1 = item.box
    width = x1 - x0
    height = y1 - y0
    area = width * height
    for crowd in crowds:
        # IoU would not do: a crowd is much larger than the region in it.
        shared = _shared_area(item.box, crowd.box)
        if shared >= 0.5 * area and _same_category(crowd, item):
            return True
    return False


def _shared_area(left: Box, right: Box) -> float:
    """The area of the intersection of two boxes.

    Both are xyxy in absolute pixels; the area is in square pixels, 0 for boxes that do not meet.
    """
    left_x0, left_y0, left_x1, left_y1 = left
    right_x0, right_y0, right_x1, right_y1 = right
    width = min(left_x1, right_x1) - max(left_x0, right_x0)
    height = min(left_y1, right_y1) - max(left_y0, right_y0)
    return max(0.0, width) * max(0.0, height)


def boxes(items: Sequence[Region | Triplet]) -> list[Box]:
    """The xyxy boxes of regions or triplets."""
    return [item.box for item in items]


def pair_values(
    labels: Sequence[A], truth: Sequence[B], value: Callable[[A, B], float]
) -> np.ndarray:
    """`value(label, true)` of every pair: (labels, truth) float64."""
    values = np.zeros((len(labels), len(truth)))
    for i, label in enumerate(labels):
        for j, true in enumerate(truth):
            values[i, j] = value(label, true)
    return values


def where_same(
    overlap: np.ndarray,
    labels: Sequence[A],
    truth: Sequence[B],
    same: Callable[[A, B], bool],
) -> np.ndarray:
    """The overlap of labels with those truths that say the same.

    Args:
        overlap: (labels, truth) float64.
        labels: one for each row.
        truth: one for each column.
        same: whether a label and a truth say the same.

    Returns:
        (labels, truth) float64: the overlap where `same` holds, elsewhere -1.
    """
    is_same = pair_values(labels, truth, same) > 0
    return np.where(is_same, overlap, -1.0)


def _outside(labels: Annotations, truth: Annotations, crowds: Sequence[Region]) -> Annotations:
    """The labels without those regions of a crowd that match no single object of the truth.

    They are neither right nor wrong, as in COCO's own scoring.
    """
    if not crowds:
        return labels
    overlap = _region_overlap(labels.regions, truth.regions)
    is_single: np.ndarray = np.any(overlap >= _IOU, axis=1)
    kept = []
    for region, single in zip(labels.regions, is_single, strict=True):
        is_judged = single or not in_crowd(region, crowds)
        if is_judged:
            kept.append(region)
    return replace(labels, regions=kept)


def _region_overlap(labels: Sequence[Region], truth: Sequence[Region]) -> np.ndarray:
    """The IoU of regions of one category, elsewhere -1: (labels, truth) float64."""
    overlap = box_iou(boxes(labels), boxes(truth))
    return where_same(overlap, labels, truth, _same_category)


def _brief(annotations: Annotations) -> list[Text]:
    """The texts that are compared: truth has brief texts only."""
    return [text for text in annotations.texts if text.granularity == "brief"]


def _confidences(labels: Sequence[Annotation]) -> list[float]:
    """The confidence of each label, else its score, else 0."""
    values = []
    for label in labels:
        value = label.confidence
        if value is None:
            value = label.score
        values.append(0.0 if value is None else value)
    return values


def _count(
    overlap: np.ndarray, labels: Sequence[Annotation], truth: Sequence[Annotation], iou: float
) -> Counts:
    """The counts of a metric whose matches overlap by at least `iou`."""
    pairs = greedy_match(overlap, _confidences(labels), iou)
    return Counts(len(pairs), len(labels), len(truth))


def _same_text(label: Text, true: Text) -> bool:
    """Whether two texts have equal words."""
    return normalise(label.text) == normalise(true.text)


def _same_category(label: Region, true: Region) -> bool:
    """Whether two regions have equal categories."""
    return normalise(label.phrase) == normalise(true.phrase)


def _same_attributes(label: Region, true: Region) -> bool:
    """Whether the brief texts are equal; where the truth has none, any is right."""
    if true.brief is None:
        return True
    return bare_phrase(label.brief or "") == bare_phrase(true.brief)


def _same_letters(label: TextRegion, true: TextRegion) -> bool:
    """Whether two words have equal letters and digits."""
    return letters(label.text) == letters(true.text)


def _same_phrase(label: Triplet, true: Triplet) -> bool:
    """Whether two phrases are equal but for their articles."""
    return bare_phrase(label.phrase) == bare_phrase(true.phrase)


def _count_texts(labels: Sequence[Text], truth: Sequence[Text]) -> Counts:
    """The counts of whole texts.

    Texts are matched one-to-one, so a repeated text matches once.
    """
    same = pair_values(labels, truth, _same_text)
    pairs = greedy_match(same, _confidences(labels), 1.0)
    # One text is needed; the others of the truth are alternatives.
    needed = min(len(truth), max(1, len(labels)))
    return Counts(len(pairs), len(labels), needed)


def _count_words(labels: Sequence[Text], truth: Sequence[Text]) -> Counts:
    """Words of texts that are matched by the share of words that they have in common."""
    label_words = [_words(text) for text in labels]
    true_words = [_words(text) for text in truth]
    similar = pair_values(label_words, true_words, _common_share)
    shared = 0
    expected = []
    for i, j in greedy_match(similar, _confidences(labels), 0.0):
        common = label_words[i] & true_words[j]
        shared += common.total()
        expected.append(true_words[j])
    if not expected:
        # Without a label, the first text of the truth is the one that is missed.
        expected = true_words[:1]
    return Counts(
        matched=shared,
        labels=sum(words.total() for words in label_words),
        truth=sum(words.total() for words in expected),
    )


def _words(text: Text) -> Counter[str]:
    """How often each word occurs, as `normalise` writes it."""
    words = normalise(text.text).split()
    return Counter(words)


def _common_share(label: Counter[str], true: Counter[str]) -> float:
    """Words in both over words in either, both with their repetitions."""
    either = label | true
    both = label & true
    # Two empty texts have no word in common.
    return both.total() / max(either.total(), 1)


def _count_text_regions(labels: Sequence[TextRegion], truth: Sequence[TextRegion]) -> Counts:
    """The counts of words in the image.

    A word matches if it lies in the same place and has the same letters.
    """
    quads = [word.quad for word in labels]
    true_quads = [word.quad for word in truth]
    overlap = quad_iou(quads, true_quads)
    same = where_same(overlap, labels, truth, _same_letters)
    return _count(same, labels, truth, _IOU)


def _count_triplets(labels: Annotations, truth: Annotations) -> Counts:
    """Triplets of a granularity that the truth lacks are left out: nothing is known about them."""
    predicted = _by_granularity(labels)
    total = np.zeros(3, int)
    for granularity, expected in _by_granularity(truth).items():
        labelled = predicted.get(granularity, [])
        overlap = box_iou(boxes(labelled), boxes(expected))
        same = where_same(overlap, labelled, expected, _same_phrase)
        counts = _count(same, labelled, expected, _IOU)
        total += counts
    return Counts(*total.tolist())


def _by_granularity(annotations: Annotations) -> dict[str, list[Triplet]]:
    """The triplets of the texts of each granularity that there is."""
    granularity: dict[str, str] = {}
    triplets: dict[str, list[Triplet]] = {}
    for text in annotations.texts:
        granularity[text.id] = text.granularity
        triplets[text.granularity] = []
    for triplet in annotations.triplets:
        # A triplet whose text is dropped belongs to no granularity.
        if triplet.text_id in granularity:
            name = granularity[triplet.text_id]
            triplets[name].append(triplet)
    return triplets
