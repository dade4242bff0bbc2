"""What a model says of old labels, counted, and the thresholds of the merge that follow from it.

A label that the model finds again under the same name, on a sample that it was not trained on, is
*confirmed*: two witnesses say the same. A model that confirms hardly any old label is not listened
to. The thresholds of all changes come from its second look (`right_shares`, `estimates`). So a
threshold holds for a model of any size after any training. Paper section 4.2 asks for thresholds
and gives none.
"""

from __future__ import annotations

from collections import Counter
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass

from pipeline.quality.summary import Summary, add, fixed_point, from_fixed_point
from pipeline.refinement.comparison import Comparison, comparisons
from pipeline.refinement.estimates import MIN_LABELS, unsupported
from pipeline.refinement.evidence import count_changes, count_second_look
from pipeline.refinement.matching import MATCHING, confirms
from pipeline.refinement.places import weight_of_new_place
from pipeline.refinement.right_shares import Curves
from pipeline.refinement.rules import MergeConfig, Rules, Thresholds
from pipeline.refinement.second_look import SecondLook
from pipeline.schema import Annotation, Annotations, Text
from pipeline.storage.json_types import Json

REFOUND_TO_DROP = 0.2
"""Least share of the old labels that a model must confirm before any is dropped. A model that knows
little believes in right labels as little as in decoys. A model that had learned 200 rendered scenes
by heart confirmed 13% of the labels of other scenes. 74% of those that it would drop seemed to be
wrong, but without them F1 fell from 0.576 to 0.512."""


@dataclass(frozen=True, slots=True)
class Confirmations:
    """How many old labels of one kind in one sample a model confirms."""

    confirmed: int
    possible: int
    """How many it could have confirmed: those that it judged, and human labels."""


def confirmed_labels(comparison: Comparison) -> Confirmations:
    """The confirmed labels of one kind in one sample.

    Of several captions a model cannot confirm more than it wrote.
    """
    confirmed = 0
    for match in comparison.matches():
        agrees = confirms(comparison.kind, comparison.rules, match.new, match.old)
        if agrees and _can_be_confirmed(match.old):
            confirmed += 1
    confirmable = [old for old in comparison.old if _can_be_confirmed(old)]
    possible = len(confirmable)
    if comparison.name == "texts":
        possible = _common_granularities(confirmable, comparison.found)
    return Confirmations(confirmed, possible)


def count_judged(
    samples: Iterable[tuple[Annotations, SecondLook]], this_round: int, config: MergeConfig
) -> Summary:
    """What a model said of some samples at both looks, as a part of a summary.

    `thresholds_of` and `agreement` read it, or the sum of such parts.
    """
    labels = 0
    support = 0
    kinds: dict[str, Summary] = {}
    for sample, look in samples:
        for comparison in comparisons(sample, this_round, config, look):
            name = comparison.name
            confirmations = confirmed_labels(comparison)
            counted: Summary = {
                "asked": int(_was_asked(getattr(sample, name), this_round)),
                "confirmed": confirmations.confirmed,
                "possible": confirmations.possible,
                **count_second_look(comparison, look),
            }
            add(kinds.setdefault(name, {}), counted)
        for annotation in sample.all():
            if annotation.round < this_round and annotation.support is not None:
                labels += 1
                support += fixed_point(annotation.support)
    return {"labels": labels, "support": support, "kinds": kinds}


def count_learned(
    samples: Iterable[tuple[Annotations, SecondLook]], this_round: int, config: MergeConfig
) -> Summary:
    """What a model finds in samples that it has learned from, as a part of a summary.

    Only labels are counted that no old one confirms, as it was not taught them.
    """
    kinds: dict[str, Summary] = {}
    for sample, look in samples:
        for comparison in comparisons(sample, this_round, config, look):
            add(kinds.setdefault(comparison.name, {}), count_changes(comparison))
    return {"kinds": kinds}


def curves_of(counted: Summary, learned: Summary | None = None) -> dict[str, Curves]:
    """The curves of every kind with old labels that the model judged.

    Args:
        counted: what `count_judged` counted on samples that no model has learned from.
        learned: what `count_learned` counted on the others.
    """
    others = learned["kinds"] if learned else {}
    curves = {}
    for name, kind in judged_kinds(counted).items():
        curves[name] = Curves.of(kind, others.get(name))
    return curves


def thresholds_of(
    counted: Summary, config: MergeConfig, curves: Mapping[str, Curves]
) -> dict[str, Thresholds]:
    """The measured thresholds of every kind with old labels that the model judged.

    Args:
        counted: what `count_judged` counted on samples that no model has learned from.
        config: the settings of the merge.
        curves: what `curves_of` made of the same counts.
    """
    measured = {}
    for name, kind in judged_kinds(counted).items():
        measured[name] = thresholds_from(getattr(config, name), kind, curves[name])
    return measured


def thresholds_from(rules: Rules, counted: Summary, curves: Curves) -> Thresholds:
    """The thresholds of one kind, from what was counted on samples that no model has learned from.

    Shares are rounded to two digits, and certainties are counted to two digits, so that another
    device, whose floats differ slightly, gets the same ones.
    """
    refound = 0.0
    if counted["possible"]:
        refound = round(counted["confirmed"] / counted["possible"], 2)
    if counted["confirmed"] < MIN_LABELS:
        return Thresholds(refound=refound)
    drop = None
    if refound >= REFOUND_TO_DROP:
        drop = unsupported(counted, rules.least_precision)
    return Thresholds(
        refound=refound,
        add=curves.added.certainties(rules.least_precision),
        rename=curves.renamed.certainties(rules.least_precision),
        drop=drop,
        reshape=weight_of_new_place(counted["places"]),
    )


def agreement(counted: Summary) -> Json:
    """How far a model agrees with the old labels.

    `refound` is the share of the old labels that it confirms, over all kinds (0 to 1). `support` is
    the mean log-probability that it gives to old labels (nats per token). Both are None if there
    are no such labels. `kinds` has for each kind the number of confirmed labels, and `of` how many.
    """
    kinds = {}
    confirmed = 0
    possible = 0
    for name, kind in judged_kinds(counted).items():
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


def judged_kinds(counted: Summary) -> dict[str, Summary]:
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


def _can_be_confirmed(old: Annotation) -> bool:
    return old.support is not None or old.locked


def _common_granularities(old: Sequence[Annotation], found: Sequence[Annotation]) -> int:
    """How many old texts can be paired with a found text of the same granularity."""
    old_counts = Counter(text.granularity for text in old if isinstance(text, Text))
    found_counts = Counter(text.granularity for text in found if isinstance(text, Text))
    return (old_counts & found_counts).total()
