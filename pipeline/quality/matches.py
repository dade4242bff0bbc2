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
from typing import Any, NamedTuple

import numpy as np

from pipeline.quality.wording import bare_phrase, letters, normalise
from pipeline.schema import CROWD, Annotation, Annotations, Box, Region, Text, TextRegion, Triplet
from stages.geometry import box_iou, greedy_match, quad_iou

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
_IOU, _STRICT_IOU = 0.5, 0.75


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
    label_texts, true_texts = _brief(labels), _brief(truth)
    category = _region_overlap(labels.regions, truth.regions)
    attributes = where_same(category, labels.regions, truth.regions, _same_attributes)
    counts = [
        _count_texts(label_texts, true_texts),
        _count_words(label_texts, true_texts),
        _count(category, labels.regions, truth.regions, _IOU),
        _count(category, labels.regions, truth.regions, _STRICT_IOU),
        _count(attributes, labels.regions, truth.regions, _IOU),
        _count(attributes, labels.regions, truth.regions, _STRICT_IOU),
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
    for crowd in crowds:
        left, top, right, bottom = crowd.box
        width = min(x1, right) - max(x0, left)
        height = min(y1, bottom) - max(y0, top)
        shared = max(0.0, width) * max(0.0, height)
        is_inside = shared >= 0.5 * (x1 - x0) * (y1 - y0)
        if is_inside and _same_category(crowd, item):
            return True
    return False


def boxes(items: Sequence[Any]) -> list[Box]:
    """The xyxy boxes of regions or triplets."""
    return [item.box for item in items]


def pair_values(
    labels: Sequence[Any], truth: Sequence[Any], value: Callable[[Any, Any], float]
) -> np.ndarray:
    """`value(label, true)` of every pair: (labels, truth) float64."""
    values = np.zeros((len(labels), len(truth)))
    for i, label in enumerate(labels):
        for j, true in enumerate(truth):
            values[i, j] = value(label, true)
    return values


def where_same(
    overlap: np.ndarray,
    labels: Sequence[Any],
    truth: Sequence[Any],
    same: Callable[[Any, Any], bool],
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
        if single or not in_crowd(region, crowds):
            kept.append(region)
    return replace(labels, regions=kept)


def _region_overlap(labels: Sequence[Region], truth: Sequence[Region]) -> np.ndarray:
    """The IoU of regions of one category, elsewhere -1: (labels, truth) float64."""
    overlap = box_iou(boxes(labels), boxes(truth))
    return where_same(overlap, labels, truth, _same_category)


def _brief(annotations: Annotations) -> list[Text]:
    return [text for text in annotations.texts if text.granularity == "brief"]


def _confidences(labels: Sequence[Annotation]) -> list[float]:
    """The confidence of each label, else its score, else 0."""
    values = []
    for label in labels:
        value = label.score if label.confidence is None else label.confidence
        values.append(0.0 if value is None else value)
    return values


def _count(
    overlap: np.ndarray, labels: Sequence[Annotation], truth: Sequence[Any], iou: float
) -> Counts:
    """The counts of a metric whose matches overlap by at least `iou`."""
    pairs = greedy_match(overlap, _confidences(labels), iou)
    return Counts(len(pairs), len(labels), len(truth))


def _same_text(label: Text, true: Text) -> bool:
    return normalise(label.text) == normalise(true.text)


def _same_category(label: Region, true: Region) -> bool:
    return normalise(label.phrase) == normalise(true.phrase)


def _same_attributes(label: Region, true: Region) -> bool:
    if true.brief is None:
        return True
    return bare_phrase(label.brief or "") == bare_phrase(true.brief)


def _same_letters(label: TextRegion, true: TextRegion) -> bool:
    return letters(label.text) == letters(true.text)


def _same_phrase(label: Triplet, true: Triplet) -> bool:
    return bare_phrase(label.phrase) == bare_phrase(true.phrase)


def _count_texts(labels: Sequence[Text], truth: Sequence[Text]) -> Counts:
    """The counts of whole texts."""
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
        shared += (label_words[i] & true_words[j]).total()
        expected.append(true_words[j])
    # Without a label, the first text of the truth is the one that is missed.
    expected = expected or true_words[:1]
    return Counts(
        matched=shared,
        labels=sum(words.total() for words in label_words),
        truth=sum(words.total() for words in expected),
    )


def _words(text: Text) -> Counter[str]:
    return Counter(normalise(text.text).split())


def _common_share(label: Counter[str], true: Counter[str]) -> float:
    """Words in both over words in either, both with their repetitions."""
    either = (label | true).total()
    return (label & true).total() / max(either, 1)


def _count_text_regions(labels: Sequence[TextRegion], truth: Sequence[TextRegion]) -> Counts:
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
        found = predicted.get(granularity, [])
        overlap = box_iou(boxes(found), boxes(expected))
        same = where_same(overlap, found, expected, _same_phrase)
        total += _count(same, found, expected, _IOU)
    return Counts(*total.tolist())


def _by_granularity(annotations: Annotations) -> dict[str, list[Triplet]]:
    """The triplets of the texts of each granularity that there is."""
    granularity: dict[str, str] = {}
    triplets: dict[str, list[Triplet]] = {}
    for text in annotations.texts:
        granularity[text.id] = text.granularity
        triplets[text.granularity] = []
    for triplet in annotations.triplets:
        if triplet.text_id in granularity:
            triplets[granularity[triplet.text_id]].append(triplet)
    return triplets
