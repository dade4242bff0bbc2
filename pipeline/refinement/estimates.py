"""How often changes are right, and old labels wrong: estimates that need no truth.

In: what `evidence` has counted on samples that the model was not trained on, and how often new
labels are right (`right_shares`). Log-probabilities are in nats per token. The estimates were tried
on rendered scenes with known mistakes, with models of 200 to 2,000 training steps (README,
"Refine").
"""

from __future__ import annotations

import math
from collections.abc import Sequence
from dataclasses import asdict, dataclass

import numpy as np

from pipeline.quality.levels import PER_NAT, quantile
from pipeline.quality.summary import Summary
from pipeline.quality.truth import Interval
from pipeline.refinement.right_shares import Curve, Curves, falling_shares
from pipeline.refinement.rules import Certainties, Thresholds
from pipeline.storage.json_types import Json

MIN_LABELS = 20
"""Fewer labels tell little."""
TAILS = (0.1, 0.2, 0.3)
"""Shares of the decoys, those with the least support, among which old labels are taken for wrong.
Each gives an upper bound of the number of wrong labels; the smallest one counts."""


@dataclass(frozen=True, slots=True)
class Changes:
    """Some changes of labels, and how many of them are estimated to be right."""

    labels: int
    right: float


NO_CHANGES = Changes(0, 0.0)


@dataclass(frozen=True, slots=True, kw_only=True)
class Decision:
    """The possible changes of one sort: a threshold parts them."""

    made: Changes
    """Those that the merge makes."""
    refused: Changes = NO_CHANGES
    """Those that are too seldom right."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Estimate:
    """What is estimated of one kind of labels before and after a merge."""

    labels: int
    """Old labels, with those of people."""
    right: float | None
    """How many of them are right; None if it cannot be told."""
    recall: float | None
    """Share of all things that have a right old label; None if it cannot be told."""
    added: Decision
    renamed: Decision
    dropped: Decision
    """Old labels that were not found; a drop is right if the label was wrong."""

    def f1(self) -> tuple[float, float] | None:
        """F1 of the labels before and after the merge; None if it cannot be told."""
        if self.right is None or not self.recall:
            return None
        return self._f1(self.right, self.right / self.recall)

    @property
    def changes(self) -> int:
        """How many labels are added, renamed or dropped."""
        return self.added.made.labels + self.renamed.made.labels + self.dropped.made.labels

    @property
    def gained(self) -> float:
        """How many more labels are right after the merge, at least.

        A wrong new name may have replaced a right one, so it counts as one that did.
        """
        renamed = 2 * self.renamed.made.right - self.renamed.made.labels
        lost = self.dropped.made.labels - self.dropped.made.right
        return self.added.made.right + renamed - lost

    @property
    def grown(self) -> int:
        """How many more labels there are after the merge."""
        return self.added.made.labels - self.dropped.made.labels

    def gain(self) -> Interval:
        """The difference of F1 that the merge makes, with its 95% interval.

        Where it cannot be told how many old labels are right, all are taken for right, because
        then added labels gain least. Where recall cannot be told, it is taken for 1. The interval
        is that of chance in how many changes are right (binomial, normal approximation); the errors
        of the estimated shares are not in it.
        """
        right = self.labels if self.right is None else self.right
        things = right / (self.recall or 1.0)
        before, after = self._f1(right, things)
        value = after - before
        half = 1.96 * 2 * self._deviation() / (self.labels + self.grown + things)
        return Interval(value=value, low=value - half, high=value + half)

    def plain(self) -> Json:
        """The same as plain values, with F1 before and after."""
        scores = self.f1()
        before, after = scores or (None, None)
        return {**asdict(self), "f1_before": before, "f1_after": after}

    def _f1(self, right: float, things: float) -> tuple[float, float]:
        """F1 before and after, if so many old labels are right and there are so many things."""
        before = 2 * right / (self.labels + things)
        after = 2 * (right + self.gained) / (self.labels + self.grown + things)
        return before, after

    def _deviation(self) -> float:
        """The standard deviation of `gained`, in labels."""
        variance = 0.0
        for decision, weight in ((self.added, 1.0), (self.renamed, 2.0), (self.dropped, 1.0)):
            made = decision.made
            if made.labels:
                # Two more of each keep the interval from vanishing where all seem to be right.
                share = min((made.right + 2) / (made.labels + 4), 1.0)
                variance += weight**2 * made.labels * share * (1 - share)
        return math.sqrt(variance)


def estimate(counted: Summary, thresholds: Thresholds, curves: Curves) -> Estimate:
    """What a merge with these thresholds makes of one kind of labels."""
    wrong = wrong_labels(counted)
    labels = int(counted["old"].sum()) + counted["human"]
    return Estimate(
        labels=labels,
        right=None if wrong is None else labels - wrong,
        recall=_recall(counted, curves),
        added=_new_labels(counted["added"], thresholds.add, curves.added),
        renamed=_new_labels(counted["renamable"], thresholds.rename, curves.renamed),
        dropped=_below(counted, thresholds.drop, wrong),
    )


def mean_gain(estimates: Sequence[Estimate]) -> Interval:
    """The mean gain over kinds of labels, whose chances are taken to be independent.

    Kinds that the merge does not change gain nothing, and count as well, as they do with truth.
    """
    gains = [found.gain() for found in estimates]
    value = math.fsum(gain.value for gain in gains) / len(gains)
    half = math.hypot(*(gain.high - gain.value for gain in gains)) / len(gains)
    return Interval(value=value, low=value - half, high=value + half)


def _recall(counted: Summary, curves: Curves) -> float | None:
    """The share of the right labels among the repeated ones that the old labels have, too.

    Nearly all labels that confirm old ones are right. Old labels were not made by the model.
    """
    confirmed = float(counted["same"]["repeated"].sum())
    added = float((counted["added"]["repeated"] * curves.added.right_twice).sum())
    renamed = float((counted["renamed"]["repeated"] * curves.renamed.right_twice).sum())
    total = confirmed + added + renamed
    return confirmed / total if total >= MIN_LABELS else None


def _new_labels(counted: Summary, least: Certainties, curve: Curve) -> Decision:
    """The labels that are certain enough, and the others; how many are right tells the curve."""
    twice = counted["repeated"]
    once = counted["all"] - twice
    sorts = ((twice, least.twice, curve.right_twice), (once, least.once, curve.right_once))
    labels = [0, 0]
    right = [0.0, 0.0]
    for counts, threshold, share in sorts:
        first_refused = 0 if threshold is None else _bins_above(threshold).stop
        for i, bins in enumerate((slice(0, first_refused), slice(first_refused, None))):
            labels[i] += int(counts[bins].sum())
            right[i] += float((counts[bins] * share[bins]).sum())
    return Decision(made=Changes(labels[0], right[0]), refused=Changes(labels[1], right[1]))


def _below(counted: Summary, threshold: float | None, wrong: float | None) -> Decision:
    """The old labels that were not found and whose support is below a threshold are dropped."""
    if wrong is None:
        return Decision(made=NO_CHANGES)
    if threshold is None:
        return Decision(made=NO_CHANGES, refused=_unfound(counted, slice(None), wrong))
    above = _bins_above(threshold)
    below = slice(above.stop, None)
    return Decision(made=_unfound(counted, below, wrong), refused=_unfound(counted, above, wrong))


def _unfound(counted: Summary, bins: slice, wrong: float) -> Changes:
    """The old labels in some bins that were not found, of which the wrong ones would rightly go."""
    old = counted["old"][bins].sum()
    decoys = counted["decoys"]
    expected = decoys[bins].sum() / decoys.sum() * wrong
    labels = int(counted["missed"][bins].sum())
    share = min(expected / old, 1.0) if old else 0.0
    return Changes(labels, float(labels * share))


def _bins_above(threshold: float) -> slice:
    """The bins of the log-probabilities that reach a threshold."""
    return slice(0, math.floor(-threshold * PER_NAT) + 1)


def wrong_labels(counted: Summary) -> float | None:
    """The estimated number of wrong labels among those of machines; None if it cannot be told.

    Right labels seldom have so little support as the least supported decoys. So the old labels
    there are nearly all wrong, and stand for as large a share of all wrong labels as the decoys
    there of all decoys.
    """
    old = counted["old"]
    decoys = counted["decoys"]
    if min(old.sum(), decoys.sum()) < MIN_LABELS:
        return None
    bounds = [float(old.sum())]
    for tail in TAILS:
        first = round(-quantile(decoys, tail) * PER_NAT)
        bounds.append(float(old[first:].sum() / decoys[first:].sum() * decoys.sum()))
    return min(bounds)


def unsupported(counted: Summary, least: float) -> float | None:
    """The support below which at least a share of the old labels is wrong; None if there is none.

    At each support the number of wrong labels is that of the decoys, scaled to `wrong_labels`.
    """
    wrong = wrong_labels(counted)
    if wrong is None:
        return None
    old = counted["old"]
    expected = counted["decoys"] * (wrong / counted["decoys"].sum())
    # Among old labels and expected wrong ones together, a share of least / (1 + least) are expected
    # wrong ones where a share of `least` of the old labels is wrong.
    both = (old + expected)[::-1]
    shares = falling_shares(both, expected[::-1])
    enough = ((shares >= least / (1 + least)) & (both > 0))[::-1]
    if not enough.any():
        return None
    first = int(np.flatnonzero(enough).min())
    if old[first:].sum() < MIN_LABELS:
        return None
    return round(-(first - 0.5) / PER_NAT, 3)
