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
from dataclasses import dataclass

import numpy as np

from pipeline.quality.levels import count_levels, quantile
from pipeline.quality.summary import Summary, add, fixed_point, from_fixed_point
from pipeline.refinement.comparison import (
    Comparison,
    comparisons,
    label_log_probability,
    log_certainty,
)
from pipeline.refinement.matching import MATCHING, confirms
from pipeline.refinement.rules import MergeConfig, Rules, Thresholds
from pipeline.schema import Annotation, Annotations, Text
from pipeline.storage.json_types import Json

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


@dataclass(frozen=True, slots=True)
class Confirmations:
    """The confirmed labels of one kind in one sample."""

    labels: Sequence[Confirmation] = ()
    """One entry for each confirmed label."""

    possible: int = 0
    """How many old labels the model could have confirmed."""


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


def count_judged(samples: Iterable[Annotations], this_round: int, config: MergeConfig) -> Summary:
    """What a model said of some samples, as a part of a summary.

    `thresholds_of` and `agreement` read it, or the sum of such parts.
    """
    labels = 0
    support = 0
    kinds: dict[str, Summary] = {}
    for sample in samples:
        for name, confirmations in confirmed_labels(sample, this_round, config).items():
            counted = count_confirmed(confirmations)
            counted["asked"] = int(_was_asked(getattr(sample, name), this_round))
            add(kinds.setdefault(name, {}), counted)
        for annotation in sample.all():
            if annotation.round < this_round and annotation.support is not None:
                labels += 1
                support += fixed_point(annotation.support)
    return {"labels": labels, "support": support, "kinds": kinds}


def count_confirmed(confirmations: Confirmations) -> Summary:
    """The confirmed labels of one kind as a part of a summary."""
    labels = confirmations.labels
    counted: Summary = {"possible": confirmations.possible, "confirmed": len(labels)}
    if labels:
        judged = [label.old for label in labels if label.old is not None]
        counted["place_and_name"] = count_levels([label.place_and_name for label in labels])
        counted["name"] = count_levels([label.name for label in labels])
        counted["old"] = count_levels(judged)
    return counted


def thresholds_of(counted: Summary, config: MergeConfig) -> dict[str, Thresholds]:
    """The measured thresholds of every kind with old labels that the model judged."""
    measured = {}
    for name, kind in _kinds(counted).items():
        measured[name] = thresholds_from(getattr(config, name), kind)
    return measured


def thresholds_from(rules: Rules, counted: Summary) -> Thresholds:
    """The thresholds of one kind from its confirmed labels (`count_confirmed`).

    All numbers are rounded to two digits, so that another device, whose floats differ slightly,
    gets the same ones.
    """
    refound = 0.0
    if counted["possible"]:
        refound = round(counted["confirmed"] / counted["possible"], 2)
    if counted["confirmed"] < MIN_CONFIRMED:
        return Thresholds(refound=refound)
    return Thresholds(
        refound=refound,
        add=_threshold(counted["place_and_name"], rules.add_share),
        rename=_threshold(counted["name"], rules.rename_share),
        drop=_threshold(counted["old"], rules.drop_share) if rules.drop_share else None,
    )


def agreement(counted: Summary) -> Json:
    """How far a model agrees with the old labels, as evidence for samples without truth.

    `refound` is the share of the old labels that it confirms, over all kinds (0 to 1). `support` is
    the mean log-probability that it gives to old labels (nats per token). Both are None if there
    are no such labels. `kinds` has for each kind the number of confirmed labels, and `of` how many.
    """
    kinds = {}
    confirmed = 0
    possible = 0
    for name, kind in _kinds(counted).items():
        kinds[name] = {"confirmed": kind["confirmed"], "of": kind["possible"]}
        confirmed += kind["confirmed"]
        possible += kind["possible"]
    support = None
    if counted["labels"]:
        support = from_fixed_point(counted["support"]) / counted["labels"]
    return {
        "refound": confirmed / possible if possible else None,
        "support": support,
        "kinds": kinds,
    }


def _kinds(counted: Summary) -> dict[str, Summary]:
    """By kind, what was counted, if the model was asked about it and could confirm labels of it."""
    kinds = {}
    for name in MATCHING:
        kind = counted["kinds"].get(name)
        if kind and kind["asked"] and kind["possible"]:
            kinds[name] = kind
    return kinds


def _was_asked(annotations: Sequence[Annotation], this_round: int) -> bool:
    """Whether the model found or judged any of these annotations."""
    return any(a.round == this_round or a.support is not None for a in annotations)


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


def _threshold(counts: np.ndarray, share: float) -> float | None:
    """The value that all but `share` of the labels reach; None if there are too few labels.

    `counts` is what `count_levels` returns.
    """
    if counts.sum() < MIN_CONFIRMED:
        return None
    return round(quantile(counts, share), 2)
