"""How likely is likely enough: thresholds that are measured on the labels which a model confirms.

A label that the model finds again under the same name, on a sample that it was not trained on, is
*confirmed*: two witnesses say the same. The log-probabilities that the model gives to confirmed
labels are the scale for all others. A new label is added if the model is more certain of it than of
the least certain tenth of the confirmed ones. An old label that was not found is dropped if the
model believes in it less than in the least believed tenth of them. So a threshold is set by a share
of the confirmed labels, and holds for a model of any size after any training. Paper section 4.2
asks for thresholds and gives none.

There are two limits. From the second round on the old labels contain what the earlier model said,
so that agreement proves less than in the first round. And with one fold the samples that the model
was trained on, of which it is more certain, are judged by thresholds that were measured on the
others, so that on them slightly more is added and slightly less is dropped.
"""

from __future__ import annotations

from collections import Counter
from collections.abc import Iterable, Sequence
from dataclasses import dataclass, field

import numpy as np

from pipeline.refinement.comparison import (
    Comparison,
    comparisons,
    label_log_probability,
    log_certainty,
)
from pipeline.refinement.matching import MATCHING, confirms
from pipeline.refinement.rules import MergeConfig, Rules, Thresholds
from pipeline.schema import Annotation, Annotations, Text

MIN_CONFIRMED = 20  # a quantile of fewer labels is mostly chance


@dataclass(frozen=True, slots=True)
class Confirmation:
    """How likely the model finds one confirmed label: log-probabilities in nats per token."""

    place_and_name: float
    """Of the label that the model found: the lower one of place and name."""

    name: float
    """Of the label that the model found: the name alone."""

    old: float | None
    """`support` of the old label; None if it is a human label, which the model does not judge."""


@dataclass(slots=True)
class Confirmations:
    """The confirmed labels of one kind, in one sample or in many."""

    labels: list[Confirmation] = field(default_factory=list)
    """One entry for each confirmed label."""

    possible: int = 0
    """How many old labels the model could have confirmed."""

    def add(self, other: Confirmations) -> None:
        """Add the labels of another sample."""
        self.labels += other.labels
        self.possible += other.possible


def confirmed_labels(
    annotations: Annotations, this_round: int, config: MergeConfig
) -> dict[str, Confirmations]:
    """The confirmed labels of one sample, for every kind.

    The model could have confirmed the labels that it judged, and human labels. Of several captions
    it could not have confirmed more than it wrote.
    """
    return {
        comparison.name: _confirmations(comparison)
        for comparison in comparisons(annotations, this_round, config)
    }


def measure_thresholds(
    samples: Iterable[Annotations], this_round: int, config: MergeConfig
) -> dict[str, Thresholds]:
    """The measured thresholds of every kind with old labels that the model judged."""
    totals = _Totals(this_round, config)
    for sample in samples:
        totals.add(sample)
    return {
        name: thresholds_from(getattr(config, name), confirmations)
        for name, confirmations in totals.by_kind().items()
    }


def thresholds_from(rules: Rules, confirmations: Confirmations) -> Thresholds:
    """The thresholds of one kind from its confirmed labels.

    All numbers are rounded to two digits, so that another device, whose floats differ slightly,
    gets the same ones.
    """
    labels = confirmations.labels
    refound = 0.0
    if confirmations.possible:
        refound = round(len(labels) / confirmations.possible, 2)
    if len(labels) < MIN_CONFIRMED:
        return Thresholds(refound=refound)
    judged = [label.old for label in labels if label.old is not None]
    return Thresholds(
        refound=refound,
        add=_threshold([label.place_and_name for label in labels], rules.add_share),
        rename=_threshold([label.name for label in labels], rules.rename_share),
        drop=_threshold(judged, rules.drop_share) if rules.drop_share else None,
    )


def agreement(
    samples: Iterable[Annotations], this_round: int, config: MergeConfig
) -> dict[str, object]:
    """How far a model agrees with the old labels, as evidence for samples without truth.

    `refound` is the share of the old labels that it confirms, over all kinds (0 to 1). `support` is
    the mean log-probability that it gives to old labels (nats per token). Both are None if there
    are no such labels. `kinds` has for each kind the number of confirmed labels, and `of` how many.
    """
    totals = _Totals(this_round, config)
    support: list[float] = []
    for sample in samples:
        totals.add(sample)
        for annotation in sample.all():
            if annotation.round < this_round and annotation.support is not None:
                support.append(annotation.support)
    kinds = {}
    confirmed = 0
    possible = 0
    for name, confirmations in totals.by_kind().items():
        kinds[name] = {"confirmed": len(confirmations.labels), "of": confirmations.possible}
        confirmed += len(confirmations.labels)
        possible += confirmations.possible
    return {
        "refound": confirmed / possible if possible else None,
        "support": float(np.mean(support)) if support else None,
        "kinds": kinds,
    }


class _Totals:
    """Confirmed labels, summed over samples."""

    def __init__(self, this_round: int, config: MergeConfig) -> None:
        self.this_round = this_round
        self.config = config
        self.totals = {name: Confirmations() for name in MATCHING}
        self.kinds_asked: set[str] = set()

    def add(self, annotations: Annotations) -> None:
        sample = confirmed_labels(annotations, self.this_round, self.config)
        for name, confirmations in sample.items():
            self.totals[name].add(confirmations)
            if self._was_asked(getattr(annotations, name)):
                self.kinds_asked.add(name)

    def by_kind(self) -> dict[str, Confirmations]:
        """For each kind that the model was asked about and could have confirmed labels of."""
        return {
            name: total
            for name, total in self.totals.items()
            if name in self.kinds_asked and total.possible
        }

    def _was_asked(self, annotations: Sequence[Annotation]) -> bool:
        """Whether the model found or judged any of these annotations."""
        return any(a.round == self.this_round or a.support is not None for a in annotations)


def _confirmations(comparison: Comparison) -> Confirmations:
    labels = []
    for match in comparison.matches():
        old = match.old
        new = match.new
        if _can_be_confirmed(old) and confirms(comparison.kind, comparison.rules, new, old):
            confirmation = Confirmation(log_certainty(new), label_log_probability(new), old.support)
            labels.append(confirmation)
    confirmable = [old for old in comparison.old if _can_be_confirmed(old)]
    possible = len(confirmable)
    if comparison.name == "texts":
        possible = _common_granularities(confirmable, comparison.found)
    return Confirmations(labels, possible)


def _can_be_confirmed(old: Annotation) -> bool:
    return old.support is not None or old.locked


def _common_granularities(old: Sequence[Annotation], found: Sequence[Annotation]) -> int:
    """How many old texts can be paired with a found text of the same granularity."""
    old_counts = Counter(text.granularity for text in old if isinstance(text, Text))
    found_counts = Counter(text.granularity for text in found if isinstance(text, Text))
    return (old_counts & found_counts).total()


def _threshold(values: Sequence[float], share: float) -> float | None:
    """The value that all but `share` of the values reach; None if there are too few values."""
    if len(values) < MIN_CONFIRMED:
        return None
    return round(float(np.quantile(values, share)), 2)
