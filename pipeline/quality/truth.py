"""How good a round's labels are against truth, and whether one round is better than another.

In: pairs (labels, truth) of one sample each. Out: counts per sample, which add up over shards, and
ratios of their sums. `matches.py` says what matches. The counts of a sample are an integer array
(len(METRICS), 3): matched, labels, truth.
"""

from __future__ import annotations

import zlib
from collections.abc import Iterable, Iterator
from dataclasses import dataclass
from typing import TypedDict

import numpy as np

from pipeline.quality.matches import METRICS, count_sample
from pipeline.schema import Annotations

__all__ = [
    "METRICS",
    "Interval",
    "compare",
    "count_sample",
    "count_samples",
    "group_of",
    "score_round",
    "summary",
]
SCORED = ("text_tokens", "region_attributes", "region_attributes_75", "text_regions", "triplets")
# Numbers that one chunk of the bootstrap may hold, so that it fits memory.
_BOOTSTRAP_CELLS = 20_000_000

GROUPS = 1000
"""Groups of samples that the bootstrap draws, so that counts of any number of samples add up."""

LabelsAndTruth = tuple[Annotations, Annotations]


@dataclass(frozen=True, slots=True, kw_only=True)
class Interval:
    """A difference with its 95% bootstrap interval."""

    value: float
    low: float
    high: float


class MetricScores(TypedDict):
    """One metric against truth."""

    matched: int
    """Labels that match a truth of their own."""
    labels: int
    """Labels in all."""
    truth: int
    """Truths in all."""
    precision: float
    recall: float
    f1: float


class Scores(TypedDict):
    """All metrics that have truth."""

    score: float
    """The mean F1 of the metrics in `SCORED` that have truth."""
    metrics: dict[str, MetricScores]
    """By name."""


def group_of(key: str) -> int:
    """The group of a sample, in [0, GROUPS). It depends on the key alone."""
    return zlib.crc32(f"group {key}".encode()) % GROUPS


def count_samples(samples: Iterable[LabelsAndTruth]) -> np.ndarray:
    """The counts of each sample.

    Args:
        samples: the labels and the truth of each sample.

    Returns:
        (samples, len(METRICS), 3) int64.
    """
    counts = [count_sample(labels, truth) for labels, truth in samples]
    return np.array(counts, np.int64).reshape(-1, len(METRICS), 3)


def score_round(samples: Iterable[LabelsAndTruth]) -> Scores:
    """`summary` of the summed counts of all samples."""
    return summary(count_samples(samples).sum(axis=0))


def summary(totals: np.ndarray) -> Scores:
    """Counts, precision, recall and F1 of each metric that has truth.

    Args:
        totals: (len(METRICS), 3) int, a sum over samples.
    """
    metrics: dict[str, MetricScores] = {}
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
    """New minus old, on the same samples in the same order.

    The method is a paired bootstrap: both sides are resampled alike. Instead of single samples,
    random groups of them (`group_of`) may be drawn: the interval is then as wide, up to chance.

    Args:
        new: (samples, len(METRICS), 3) int, the counts of `count_samples`, or sums over groups.
        old: (samples, len(METRICS), 3) int, the counts of the other side.
        seed: of the resampling.
        resamples: how often the samples are drawn again.

    Returns:
        The differences of `score` and of the F1 of each metric that has truth, by name.
    """
    assert new.shape == old.shape, f"{new.shape} and {old.shape} are not the same samples"
    has_truth = _has_truth(new.sum(axis=0))
    names = ["score"]
    for name, has in zip(METRICS, has_truth, strict=True):
        if has:
            names.append(name)
    both = np.stack([new, old]).astype(np.float64)
    values = _differences(both.sum(axis=1), has_truth)
    draws = []
    for totals in _resampled(both, seed, resamples):
        draws.append(_differences(totals, has_truth))
    lows, highs = np.quantile(np.concatenate(draws), [0.025, 0.975], axis=0)
    intervals = {}
    for i, name in enumerate(names):
        intervals[name] = Interval(
            value=float(values[i]),
            low=float(lows[i]),
            high=float(highs[i]),
        )
    return intervals


def _has_truth(totals: np.ndarray) -> np.ndarray:
    """Which metrics have truth: (..., len(METRICS), 3) gives (..., len(METRICS)) bool."""
    return totals[..., 2] > 0


def _f1(totals: np.ndarray) -> np.ndarray:
    """F1 of each metric: (..., len(METRICS), 3) gives (..., len(METRICS)) float64."""
    matched = 2.0 * totals[..., 0]
    both = totals[..., 1] + totals[..., 2]
    return np.divide(matched, both, out=np.zeros(matched.shape), where=both > 0)


def _score(totals: np.ndarray, has_truth: np.ndarray) -> np.ndarray:
    """The mean F1 of the scored metrics: (..., len(METRICS), 3) gives (...)."""
    scored = has_truth & np.array([name in SCORED for name in METRICS])
    if not scored.any():
        return np.zeros(totals.shape[:-2])
    return np.asarray(_f1(totals)[..., scored].mean(axis=-1))


def _differences(totals: np.ndarray, has_truth: np.ndarray) -> np.ndarray:
    """New minus old of score and F1s: (2, ..., len(METRICS), 3) gives (..., 1 + metrics)."""
    scores = _score(totals, has_truth)[..., None]
    values = np.concatenate([scores, _f1(totals)[..., has_truth]], axis=-1)
    return np.asarray(values[0] - values[1])


def _resampled(both: np.ndarray, seed: int, resamples: int) -> Iterator[np.ndarray]:
    """Totals of samples that are drawn with replacement, in chunks that fit memory.

    `both` is (2, samples, len(METRICS), 3); a chunk is (2, draws, len(METRICS), 3) float64.
    """
    rng = np.random.default_rng(seed)
    samples = both.shape[1]
    chunk = max(1, min(resamples, _BOOTSTRAP_CELLS // max(samples, 1)))
    for start in range(0, resamples, chunk):
        draws = min(chunk, resamples - start)
        chances = np.full(samples, 1 / samples)
        weights = rng.multinomial(samples, chances, size=draws).astype(np.float64)
        yield np.tensordot(weights, both, axes=(1, 1)).swapaxes(0, 1)
