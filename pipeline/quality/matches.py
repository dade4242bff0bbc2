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

from pipeline.quality.geometry import box_iou, greedy_match, quad_iou
from pipeline.quality.wording import bare_phrase, letters, normalise
from pipeline.schema import CROWD, Annotation, Annotations, Region, Text, TextRegion, Triplet

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
    """The counts of one sample: (len(METRICS), 3) int64, a `Counts` for each metric."""
    crowds = [region for region in truth.regions if region.dropped == CROWD]
    truth = truth.kept()
    labels = _outside(labels.kept(), truth, crowds)
    texts, tokens = _count_texts(_brief(labels), _brief(truth))
    overlap = box_iou(_boxes(labels.regions), _boxes(truth.regions))
    category = where_same(overlap, labels.regions, truth.regions, _same_category)
    attributes = where_same(category, labels.regions, truth.regions, _same_attributes)
    counts = [
        texts,
        tokens,
        _count(category, labels.regions, truth.regions, _IOU),
        _count(category, labels.regions, truth.regions, _STRICT_IOU),
        _count(attributes, labels.regions, truth.regions, _IOU),
        _count(attributes, labels.regions, truth.regions, _STRICT_IOU),
        _count_text_regions(labels.text_regions, truth.text_regions),
        _count_triplets(labels, truth),
    ]
    return np.array(counts)


def in_crowd(item: Annotation, crowds: Sequence[Region]) -> bool:
    """Whether at least half of a region lies in a crowd of its category."""
    if not isinstance(item, Region):
        return False
    x0, y0, x1, y1 = item.box
    area = (x1 - x0) * (y1 - y0)
    for crowd in crowds:
        left, top, right, bottom = crowd.box
        width = max(0.0, min(x1, right) - max(x0, left))
        height = max(0.0, min(y1, bottom) - max(y0, top))
        if _same_category(crowd, item) and width * height >= 0.5 * area:
            return True
    return False


def where_same(
    overlap: np.ndarray,
    labels: Sequence[Any],
    truth: Sequence[Any],
    same: Callable[[Any, Any], bool],
) -> np.ndarray:
    """The overlap (labels, truth) where `same(label, truth)` holds, elsewhere -1."""
    allowed = np.zeros(overlap.shape, bool)
    for i, label in enumerate(labels):
        for j, true in enumerate(truth):
            allowed[i, j] = same(label, true)
    return np.where(allowed, overlap, -1.0)


def _outside(labels: Annotations, truth: Annotations, crowds: Sequence[Region]) -> Annotations:
    """The labels without those regions of a crowd that match no single object of the truth.

    They are neither right nor wrong, as in COCO's own scoring.
    """
    if not crowds:
        return labels
    overlap = box_iou(_boxes(labels.regions), _boxes(truth.regions))
    category = where_same(overlap, labels.regions, truth.regions, _same_category)
    single: np.ndarray = np.any(category >= _IOU, axis=1)
    kept = []
    for i, region in enumerate(labels.regions):
        if single[i] or not in_crowd(region, crowds):
            kept.append(region)
    return replace(labels, regions=kept)


def _boxes(items: Sequence[Any]) -> list[Any]:
    return [item.box for item in items]


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
    pairs = greedy_match(overlap, _confidences(labels), iou)
    return Counts(len(pairs), len(labels), len(truth))


def _same_category(label: Region, truth: Region) -> bool:
    return normalise(label.phrase) == normalise(truth.phrase)


def _same_attributes(label: Region, truth: Region) -> bool:
    if truth.brief is None:
        return True
    return bare_phrase(label.brief or "") == bare_phrase(truth.brief)


def _same_letters(label: TextRegion, truth: TextRegion) -> bool:
    return letters(label.text) == letters(truth.text)


def _same_phrase(label: Triplet, truth: Triplet) -> bool:
    return bare_phrase(label.phrase) == bare_phrase(truth.phrase)


def _count_texts(labels: Sequence[Text], truth: Sequence[Text]) -> tuple[Counts, Counts]:
    """The counts of whole texts, and of their words."""
    label_words = [Counter(normalise(text.text).split()) for text in labels]
    truth_words = [Counter(normalise(text.text).split()) for text in truth]
    same = np.zeros((len(labels), len(truth)))
    similar = np.zeros((len(labels), len(truth)))
    for i, label in enumerate(labels):
        for j, true in enumerate(truth):
            same[i, j] = normalise(label.text) == normalise(true.text)
            shared, either = label_words[i] & truth_words[j], label_words[i] | truth_words[j]
            similar[i, j] = shared.total() / max(either.total(), 1)
    exact = greedy_match(same, _confidences(labels), 1.0)
    needed = min(len(truth), max(1, len(labels)))
    pairs = greedy_match(similar, _confidences(labels), 0.0)
    # Without a label, the first text of the truth is the one that is missed.
    expected = [truth_words[j] for _, j in pairs] or truth_words[:1]
    words = Counts(
        matched=sum((label_words[i] & truth_words[j]).total() for i, j in pairs),
        labels=sum(words.total() for words in label_words),
        truth=sum(words.total() for words in expected),
    )
    return Counts(len(exact), len(labels), needed), words


def _count_text_regions(labels: Sequence[TextRegion], truth: Sequence[TextRegion]) -> Counts:
    overlap = quad_iou([word.quad for word in labels], [word.quad for word in truth])
    same = where_same(overlap, labels, truth, _same_letters)
    return _count(same, labels, truth, _IOU)


def _count_triplets(labels: Annotations, truth: Annotations) -> Counts:
    """Triplets of a granularity that the truth lacks are left out: nothing is known about them."""
    by_granularity = _by_granularity(labels)
    total = np.zeros(3, int)
    for granularity, expected in _by_granularity(truth).items():
        found = by_granularity.get(granularity, [])
        overlap = box_iou(_boxes(found), _boxes(expected))
        same = where_same(overlap, found, expected, _same_phrase)
        total += _count(same, found, expected, _IOU)
    return Counts(*total.tolist())


def _by_granularity(annotations: Annotations) -> dict[str, list[Triplet]]:
    """The triplets of the texts of each granularity that there is."""
    granularity: dict[str, str] = {text.id: text.granularity for text in annotations.texts}
    triplets: dict[str, list[Triplet]] = {name: [] for name in granularity.values()}
    for triplet in annotations.triplets:
        if triplet.text_id in granularity:
            triplets[granularity[triplet.text_id]].append(triplet)
    return triplets
