"""How often new labels are right, without truth: estimated from how often a second look repeats
them.

A right label is repeated with a probability q, a wrong one with w. So if a share s of the labels of
some certainty is repeated, a share r = (s - w) / (q - w) of them is right. Of those that are
repeated a share r q / s is right, of the others r (1 - q) / (1 - s) (Bayes). q is measured on the
labels that confirm old ones, because nearly all of these are right. w cannot be measured without
truth (`REPEATED_WRONG`).

s is counted on all samples that the model has looked at twice, also on those that it has learned
from: a new label that no old one confirms is none that it was taught there.

Log-probabilities are in nats per token. The estimates were tried on rendered scenes with known
mistakes (README, "Refine").
"""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np

from pipeline.quality.audit import wilson
from pipeline.quality.levels import PER_NAT
from pipeline.quality.summary import Summary, add
from pipeline.refinement.rules import Certainties

REPEATED_WRONG = 0.2
"""Share of the wrong new labels that a second look repeats. On rendered scenes it was 0.08 to 0.23,
with models of 1,000 to 2,000 training steps and three sorts of mistakes, in rounds 1 to 3."""


@dataclass(frozen=True, slots=True)
class Curve:
    """How often new labels of one sort are right, by their certainty."""

    counted: Summary
    """`all` and `repeated`, (BINS,) int each: how many labels have each certainty."""

    repeated: np.ndarray
    """(BINS,) float: s at each certainty. It never grows as the certainty falls."""

    right_repeated: float
    """q, the share of the right labels that are repeated."""

    @classmethod
    def of(cls, counted: Summary, right_repeated: float) -> Curve:
        """The curve of some counted labels."""
        fitted = falling_shares(counted["all"], counted["repeated"])
        return cls(counted, fitted, max(right_repeated, REPEATED_WRONG))

    @property
    def right(self) -> np.ndarray:
        """r at each certainty, (BINS,) float: the share of all labels that are right."""
        apart = self.right_repeated - REPEATED_WRONG
        if apart == 0:
            return np.zeros_like(self.repeated)
        shares: np.ndarray = np.clip((self.repeated - REPEATED_WRONG) / apart, 0.0, 1.0)
        return shares

    @property
    def right_twice(self) -> np.ndarray:
        """The share of the repeated labels that are right, (BINS,) float."""
        return _share(self.right * self.right_repeated, self.repeated)

    @property
    def right_once(self) -> np.ndarray:
        """The share of the labels that are not repeated that are right, (BINS,) float."""
        return _share(self.right * (1 - self.right_repeated), 1 - self.repeated)

    def certainties(self, least: float) -> Certainties:
        """From which certainty on at least a share of the labels is right."""
        apart = self.right_repeated - REPEATED_WRONG
        if apart == 0:
            return Certainties()
        q = self.right_repeated
        w = REPEATED_WRONG
        # Each line is the formula for the share of right labels, solved for s.
        twice = q * w / (q - least * apart)
        once = (least * apart + w * (1 - q)) / (1 - q + least * apart)
        unasked = w + least * apart
        return Certainties(
            twice=certain_enough(self.counted, twice),
            once=certain_enough(self.counted, once),
            unasked=certain_enough(self.counted, unasked),
        )


@dataclass(frozen=True, slots=True)
class Curves:
    """How often the new labels of one kind are right, by their certainty."""

    added: Curve
    renamed: Curve

    @classmethod
    def of(cls, counted: Summary, learned: Summary | None = None) -> Curves:
        """The curves of a kind.

        Args:
            counted: what `evidence.count_second_look` counted of it on samples that no model has
                learned from.
            learned: what `evidence.count_changes` counted of it on the others.
        """
        same = counted["same"]
        confirmed = int(same["all"].sum())
        right_repeated = float(same["repeated"].sum()) / confirmed if confirmed else 0.0
        changes: Summary = {}
        for part in (counted, learned or {}):
            add(changes, {name: part[name] for name in ("added", "renamed") if name in part})
        return cls(
            added=Curve.of(changes["added"], right_repeated),
            renamed=Curve.of(changes["renamed"], right_repeated),
        )


def certain_enough(counted: Summary, least: float) -> float | None:
    """The certainty from which on at least a share of the labels is repeated.

    Chance must not be the reason: the lower end of the share's interval is above `least`, too.

    Args:
        counted: `all` and `repeated`, (BINS,) int each, how many labels have each certainty.
        least: the share.

    Returns:
        A log-probability; None if no labels are repeated so often, or too few to tell.
    """
    shares = falling_shares(counted["all"], counted["repeated"])
    enough = (shares >= least) & (counted["all"] > 0)
    labels = counted["all"].cumsum()
    repeated = counted["repeated"].cumsum()
    for last in np.flatnonzero(enough)[::-1]:
        surely, _ = wilson(repeated[last], labels[last])
        if surely >= least:
            return round(-(float(last) + 0.5) / PER_NAT, 3)
    return None


def falling_shares(all_: np.ndarray, hits: np.ndarray) -> np.ndarray:
    """The share of hits in each bin, if the share never grows from bin to bin: (bins,) float.

    It is fitted by isotonic regression (`scipy.optimize`). A bin without labels has the share of
    the next one before it that has some.

    Args:
        all_: (bins,) numbers.
        hits: (bins,) numbers, at most those of `all_`.
    """
    filled = np.flatnonzero(all_)
    if not len(filled):
        return np.zeros(len(all_))
    fitted = _isotonic(all_[filled], hits[filled])
    before = np.searchsorted(filled, np.arange(len(all_)), side="right") - 1
    shares: np.ndarray = fitted[np.maximum(before, 0)]
    return shares


def _isotonic(all_: np.ndarray, hits: np.ndarray) -> np.ndarray:
    from scipy.optimize import isotonic_regression

    fitted: np.ndarray = isotonic_regression(hits / all_, weights=all_, increasing=False).x
    return fitted


def _share(part: np.ndarray, whole: np.ndarray) -> np.ndarray:
    """part / whole, at most 1; 0 where `whole` is."""
    shares = np.divide(part, whole, out=np.zeros_like(part), where=whole > 0)
    capped: np.ndarray = np.minimum(shares, 1.0)
    return capped
