"""How good a round's labels are against truth, and whether one round is better than another.

In: pairs (labels, truth) of one sample each. Out: counts per sample, which add up over shards, and ratios of
their sums. Only kept annotations count. The counts of a sample are an integer array (len(METRICS), 3):
matched, labels, truth.

Matching is greedy and one-to-one: labels by descending confidence (or score) take the free truth that they
overlap most.

    texts             brief texts equal after `normalise` (case and punctuation ignored, articles kept)
    text_tokens       shared words of matched brief texts (a multiset); the unit is the word
    regions           box IoU >= 0.5 and the same category; `regions_75` asks for 0.75
    region_attributes also the same brief text (without its article), where the truth has one; and `.._75`
    text_regions      quad IoU >= 0.5 and the same letters and digits, case ignored
    triplets          box IoU >= 0.5, the same phrase (without its article), texts of the same granularity

Truth texts beyond the number of labels are alternatives (COCO gives five captions), not misses.
"""

from __future__ import annotations

import re
from collections import Counter
from collections.abc import Iterable, Sequence
from dataclasses import dataclass, replace
from typing import Any

import numpy as np

from pipeline.schema import CROWD, Annotation, Annotations, Region, Text, TextRegion, Triplet
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
SCORED = ("text_tokens", "region_attributes", "region_attributes_75", "text_regions", "triplets")
_BOOTSTRAP_CELLS = 20_000_000

Pair = tuple[Annotations, Annotations]


@dataclass(frozen=True, slots=True, kw_only=True)
class Interval:
    """A difference with its 95% bootstrap interval."""

    value: float
    low: float
    high: float


def normalise(text: str) -> str:
    return " ".join(re.sub(r"[^\w\s]|_", " ", text.casefold()).split())


def bare_phrase(phrase: str) -> str:
    """The normalised phrase without a leading article."""
    return re.sub(r"^(a|an|the) ", "", normalise(phrase))


def letters(text: str) -> str:
    return "".join(c for c in text.casefold() if c.isalnum())


def count_samples(pairs: Iterable[Pair]) -> np.ndarray:
    """The counts of each sample: an array (samples, len(METRICS), 3)."""
    counts = [count_sample(labels, truth) for labels, truth in pairs]
    return np.array(counts, np.int64).reshape(-1, len(METRICS), 3)


def count_sample(labels: Annotations, truth: Annotations) -> np.ndarray:
    crowds = [region for region in truth.regions if region.dropped == CROWD]
    labels, truth = _outside(labels.kept(), truth.kept(), crowds), truth.kept()
    exact, tokens = _count_texts(labels, truth)
    overlap = box_iou([r.box for r in labels.regions], [r.box for r in truth.regions])
    category = _where(overlap, labels.regions, truth.regions, _same_category)
    attributes = _where(category, labels.regions, truth.regions, _same_attributes)
    return np.array(
        [
            exact,
            tokens,
            _count(category, labels.regions, truth.regions, 0.5),
            _count(category, labels.regions, truth.regions, 0.75),
            _count(attributes, labels.regions, truth.regions, 0.5),
            _count(attributes, labels.regions, truth.regions, 0.75),
            _count_text_regions(labels.text_regions, truth.text_regions),
            _count_triplets(labels, truth),
        ]
    )


def _outside(labels: Annotations, truth: Annotations, crowds: Sequence[Region]) -> Annotations:
    """Without the regions of a crowd that are no single thing of the truth: they are neither right nor wrong (as COCO
    has it)."""
    if not crowds:
        return labels
    overlap = box_iou([r.box for r in labels.regions], [r.box for r in truth.regions])
    single = _where(overlap, labels.regions, truth.regions, _same_category) >= 0.5
    kept = [r for i, r in enumerate(labels.regions) if single[i].any() or not in_crowd(r, crowds)]
    return replace(labels, regions=kept)


def in_crowd(item: Any, crowds: Sequence[Region]) -> bool:
    """Whether at least half of a region lies in a crowd of its category."""
    for crowd in crowds if isinstance(item, Region) else ():
        (a, b, c, d), (e, f, g, h) = item.box, crowd.box
        shared = max(0.0, min(c, g) - max(a, e)) * max(0.0, min(d, h) - max(b, f))
        if _same_category(crowd, item) and shared >= 0.5 * (c - a) * (d - b):
            return True
    return False


def score_round(pairs: Iterable[Pair]) -> dict[str, Any]:
    """`summary` of the summed counts of all samples."""
    return summary(count_samples(pairs).sum(axis=0))


def summary(totals: np.ndarray) -> dict[str, Any]:
    """Counts, precision, recall and F1 of each metric that has truth, and `score`, the mean F1 of `SCORED`.

    `totals` is (len(METRICS), 3), a sum over samples.
    """
    metrics = {}
    for name, (matched, labels, truth) in zip(METRICS, totals.tolist(), strict=True):
        if truth:
            metrics[name] = {
                "matched": matched,
                "labels": labels,
                "truth": truth,
                "precision": matched / labels if labels else 0.0,
                "recall": matched / truth,
                "f1": 2 * matched / (labels + truth),
            }
    return {"score": float(_score(totals, _has_truth(totals))), "metrics": metrics}


def compare(
    new: np.ndarray, old: np.ndarray, *, seed: int, resamples: int = 1000
) -> dict[str, Interval]:
    """New minus old, on the same samples in the same order: `score` and the F1 of each metric that has truth.

    A paired bootstrap: both sides are resampled alike. `new` and `old` are the arrays of `count_samples`.
    """
    assert new.shape == old.shape, f"{new.shape} and {old.shape} are not the same samples"
    here = _has_truth(new.sum(axis=0))
    both = np.stack([new, old]).astype(np.float64)
    names = ["score", *(name for name, has in zip(METRICS, here, strict=True) if has)]
    point = _differences(both.sum(axis=1), here)
    drawn = np.concatenate(
        [_differences(totals, here) for totals in _resampled(both, seed, resamples)]
    )
    low, high = np.quantile(drawn, [0.025, 0.975], axis=0)
    return {
        name: Interval(value=v, low=a, high=b)
        for name, v, a, b in zip(names, point.tolist(), low.tolist(), high.tolist(), strict=True)
    }


def _has_truth(totals: np.ndarray) -> np.ndarray:
    return totals[..., 2] > 0


def _f1(totals: np.ndarray) -> np.ndarray:
    matched, both = 2.0 * totals[..., 0], totals[..., 1] + totals[..., 2]
    return np.divide(matched, both, out=np.zeros(matched.shape), where=both > 0)


def _score(totals: np.ndarray, has_truth: np.ndarray) -> np.ndarray:
    scored = has_truth & np.array([name in SCORED for name in METRICS])
    if not scored.any():
        return np.zeros(totals.shape[:-2])
    return _f1(totals)[..., scored].mean(axis=-1)


def _differences(totals: np.ndarray, has_truth: np.ndarray) -> np.ndarray:
    """New minus old of score and F1s: (2, ..., len(METRICS), 3) gives (..., 1 + metrics)."""
    values = np.concatenate(
        [_score(totals, has_truth)[..., None], _f1(totals)[..., has_truth]], axis=-1
    )
    return values[0] - values[1]


def _resampled(both: np.ndarray, seed: int, resamples: int) -> Iterable[np.ndarray]:
    """Totals (2, draws, len(METRICS), 3) of samples drawn with replacement, in chunks that fit memory."""
    rng = np.random.default_rng(seed)
    samples = both.shape[1]
    chunk = max(1, min(resamples, _BOOTSTRAP_CELLS // max(samples, 1)))
    for start in range(0, resamples, chunk):
        draws = min(chunk, resamples - start)
        weights = rng.multinomial(samples, np.full(samples, 1 / samples), size=draws).astype(
            np.float64
        )
        yield np.tensordot(weights, both, axes=(1, 1)).swapaxes(0, 1)


def _confidences(labels: Sequence[Annotation]) -> list[float]:
    return [next((v for v in (a.confidence, a.score) if v is not None), 0.0) for a in labels]


def _where(
    overlap: np.ndarray, labels: Sequence[Any], truth: Sequence[Any], same: Any
) -> np.ndarray:
    """The overlap where `same(label, truth)`, elsewhere -1."""
    allowed = [[same(a, b) for b in truth] for a in labels]
    return np.where(np.array(allowed, bool).reshape(overlap.shape), overlap, -1.0)


def _count(
    overlap: np.ndarray, labels: Sequence[Annotation], truth: Sequence[Any], iou: float
) -> list[int]:
    return [len(greedy_match(overlap, _confidences(labels), iou)), len(labels), len(truth)]


def _same_category(a: Region, b: Region) -> bool:
    return normalise(a.phrase) == normalise(b.phrase)


def _same_attributes(a: Region, b: Region) -> bool:
    return b.brief is None or bare_phrase(a.brief or "") == bare_phrase(b.brief)


def _count_texts(labels: Annotations, truth: Annotations) -> tuple[list[int], list[int]]:
    mine, theirs = _brief(labels), _brief(truth)
    same = np.array([[float(normalise(a.text) == normalise(b.text)) for b in theirs] for a in mine])
    needed = min(len(theirs), max(1, len(mine)))
    exact = [len(greedy_match(same, _confidences(mine), 1.0)), len(mine), needed]
    words, reference = (
        [Counter(normalise(t.text).split()) for t in side] for side in (mine, theirs)
    )
    shared = np.array(
        [[(a & b).total() / max((a | b).total(), 1) for b in reference] for a in words]
    )
    pairs = greedy_match(shared, _confidences(mine), 0.0)
    expected = [reference[j] for _, j in pairs] or reference[:1]
    return exact, [
        sum((words[i] & reference[j]).total() for i, j in pairs),
        sum(w.total() for w in words),
        sum(w.total() for w in expected),
    ]


def _brief(annotations: Annotations) -> list[Text]:
    return [t for t in annotations.texts if t.granularity == "brief"]


def _count_text_regions(labels: Sequence[TextRegion], truth: Sequence[TextRegion]) -> list[int]:
    overlap = quad_iou([t.quad for t in labels], [t.quad for t in truth])
    same = _where(overlap, labels, truth, lambda a, b: letters(a.text) == letters(b.text))
    return _count(same, labels, truth, 0.5)


def _count_triplets(labels: Annotations, truth: Annotations) -> list[int]:
    """Triplets of a granularity that the truth lacks are left out: nothing is known about them."""
    mine, theirs = _by_granularity(labels), _by_granularity(truth)
    total = np.zeros(3, int)
    for granularity, expected in theirs.items():
        found = mine.get(granularity, [])
        overlap = box_iou([t.box for t in found], [t.box for t in expected])
        same = _where(
            overlap, found, expected, lambda a, b: bare_phrase(a.phrase) == bare_phrase(b.phrase)
        )
        total += _count(same, found, expected, 0.5)
    return total.tolist()


def _by_granularity(annotations: Annotations) -> dict[str, list[Triplet]]:
    granularity: dict[str, str] = {t.id: t.granularity for t in annotations.texts}
    grouped: dict[str, list[Triplet]] = {g: [] for g in granularity.values()}
    for triplet in annotations.triplets:
        if triplet.text_id in granularity:
            grouped[granularity[triplet.text_id]].append(triplet)
    return grouped
