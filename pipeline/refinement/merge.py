"""Old labels and the model's new ones, merged: a pure function over one sample, and its stage.

In: the kept annotations of earlier rounds, with `support` (the mean log-probability per token that
the round's model gives to them) where the model judged them, and the model's own annotations of
this round: what it found, and alternatives, which are other names for an old annotation and have it
as their parent. Out: revisions only. Paper section 4.2, "iterative data refinement"; the paper
gives no rules, so the rules are ours. Each makes a decision (pipeline/refinement/decisions.py):

    kept      an old label was found again, and the new name is the same or not better
    replaced  it was found under a likelier name: the new label takes its place
    moved     it was found elsewhere on the same thing: it moves to the mean of both places
    renamed   the model was asked for its name and gave a likelier one
    dropped   it was not found, and is unlikely or a duplicate of a label that stays; or its text
              is dropped
    added     a label was found where no old one is, and is certain enough
    rejected  a new label is not taken

How likely is likely enough is measured on labels that the model confirms
(pipeline/refinement/thresholds.py), because no scale of a model or a task is known beforehand. If a
model confirms too few of the old labels of a kind, all that it says of this kind is rejected.

A label that replaces an old one has it as its parent. Human labels are never changed. An old label
that the model neither judged (no `support`) nor found stays as it is.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import replace
from typing import ClassVar

from pipeline.refinement.comparison import Comparison, comparisons
from pipeline.refinement.conditions import (
    better_name,
    is_certain,
    is_likelier,
    is_unsupported,
    stands_already,
    wins_tie,
)
from pipeline.refinement.decisions import (
    AGREES,
    DUPLICATE,
    LESS_LIKELY,
    NOT_CONFIDENT,
    NOT_SUPPORTED,
    NOT_TRUSTED,
    RELABELLED,
    RESHAPED,
    TEXT_DROPPED,
    Decision,
    apply,
    mean_place,
    revise,
)
from pipeline.refinement.matching import Match, same_label
from pipeline.refinement.rules import MergeConfig
from pipeline.schema import Annotation, Annotations, Text
from stages.base import Batch, Result


def merge(annotations: Annotations, this_round: int, config: MergeConfig) -> Annotations:
    """The revisions of annotations that follow from the decisions of `decide`."""
    return apply(decide(annotations, this_round, config), config)


def decide(annotations: Annotations, this_round: int, config: MergeConfig) -> list[Decision]:
    """The decisions on all labels of a sample.

    They do not depend on the order of the annotations, except that triplets which go with their
    text are decided on last, in the order of the sample.
    """
    decisions: list[Decision] = []
    for comparison in comparisons(annotations, this_round, config):
        if comparison.trusted:
            decisions += decide_kind(comparison)
        else:
            decisions += reject_all(comparison)
    revised = annotations.overlaid(apply(decisions, config))
    decisions += drop_triplets_without_text(revised)
    return decisions


def decide_kind(comparison: Comparison) -> list[Decision]:
    """The decisions on all labels of one kind."""
    decisions = []
    for alternative in comparison.weaker_alternatives:
        decisions.append(_reject(comparison, alternative, LESS_LIKELY))
    matched = set()
    for match in comparison.matches():
        decisions += decide_match(comparison, match)
        matched |= {match.old.id, match.new.id}
    for new in comparison.found:
        if new.id not in matched:
            decisions.append(decide_found(comparison, new))
    standing = _standing(comparison, decisions)
    for old in comparison.old:
        if old.id not in matched:
            decisions += decide_missed(comparison, old, standing)
    return decisions


def reject_all(comparison: Comparison) -> list[Decision]:
    """The decisions on the labels of a model that is not trusted for this kind."""
    return [_reject(comparison, new, NOT_TRUSTED) for new in comparison.new]


def decide_match(comparison: Comparison, match: Match) -> list[Decision]:
    """The decisions on an old label that was found, on what was found, and on the alternative."""
    old = match.old
    new = match.new
    name = comparison.name
    better = better_name(comparison, old)
    if old.locked:
        reason = AGREES if match.same_label else LESS_LIKELY
        decisions = [Decision(name, old, new, "rejected", reason)]
    elif match.same_label:
        decisions = [keep_or_move(comparison, match)]
    elif is_likelier(comparison, new, old) and is_certain(comparison, new):
        decisions = [Decision(name, old, new, "replaced", RELABELLED)]
    elif better is not None:
        return rename_matched(comparison, match, better)
    elif isinstance(old, Text) and isinstance(new, Text) and wins_tie(comparison, new, old):
        decisions = decide_tie(comparison, match)
    else:
        decisions = [keep_or_move(comparison, match)]
    decisions += reject_alternative(comparison, old, LESS_LIKELY)
    return decisions


def keep_or_move(comparison: Comparison, match: Match) -> Decision:
    """The old label stays. It moves if the new one is certain enough and lies elsewhere."""
    old = match.old
    new = match.new
    kind = comparison.kind
    rules = comparison.rules
    place = mean_place(kind, old, new, rules)
    if place and is_certain(comparison, new):
        moved = replace(old, **place)
        overlap = kind.overlap([moved], [old])
        if overlap[0, 0] < rules.reshape_iou:
            return Decision(comparison.name, old, new, "moved", RESHAPED)
    reason = AGREES if match.same_label else LESS_LIKELY
    return Decision(comparison.name, old, new, "kept", reason)


def rename_matched(comparison: Comparison, match: Match, alternative: Annotation) -> list[Decision]:
    """The alternative replaces the old label. What was found is not certain enough to do so."""
    old = match.old
    new = match.new
    agrees = same_label(comparison.kind, new, alternative)
    reason = AGREES if agrees else LESS_LIKELY
    return [
        Decision(comparison.name, old, alternative, "renamed", RELABELLED),
        Decision(comparison.name, old, new, "rejected", reason),
    ]


def decide_tie(comparison: Comparison, match: Match) -> list[Decision]:
    """The new text is added, beside the old one or instead of it (`Rules.tie`)."""
    old = match.old
    new = match.new
    added = Decision(comparison.name, old, new, "added")
    if comparison.rules.tie == "both":
        return [Decision(comparison.name, old, None, "kept"), added]
    return [_drop(comparison, old, RELABELLED), added]


def decide_found(comparison: Comparison, new: Annotation) -> Decision:
    """The decision on a new label that is the same thing as no old one."""
    if is_certain(comparison, new):
        return Decision(comparison.name, None, new, "added")
    return _reject(comparison, new, NOT_CONFIDENT)


def decide_missed(
    comparison: Comparison, old: Annotation, standing: Sequence[Annotation]
) -> list[Decision]:
    """The decisions on an old label that was not found, and on the alternative to it.

    `standing` are the labels that stay after the decisions on all found labels.
    """
    if old.locked or old.support is None:
        return reject_alternative(comparison, old, LESS_LIKELY)
    better = better_name(comparison, old)
    if stands_already(comparison, old, better, standing):
        dropped = _drop(comparison, old, DUPLICATE)
        return [dropped, *reject_alternative(comparison, old, DUPLICATE)]
    if better is not None:
        return [Decision(comparison.name, old, better, "renamed", RELABELLED)]
    if is_unsupported(comparison, old):
        dropped = _drop(comparison, old, NOT_SUPPORTED)
        return [dropped, *reject_alternative(comparison, old, NOT_CONFIDENT)]
    return reject_alternative(comparison, old, LESS_LIKELY)


def reject_alternative(comparison: Comparison, old: Annotation, reason: str) -> list[Decision]:
    """The decision on the alternative to an old label, if there is one."""
    alternative = comparison.alternatives.get(old.id)
    if alternative is None:
        return []
    return [_reject(comparison, alternative, reason)]


def drop_triplets_without_text(annotations: Annotations) -> list[Decision]:
    """Drop the triplets whose text is not kept. `annotations` are as all other decisions leave
    them."""
    kept = annotations.kept()
    texts = {text.id for text in kept.texts}
    decisions = []
    for triplet in kept.triplets:
        if triplet.text_id not in texts and not triplet.locked:
            decisions.append(Decision("triplets", triplet, None, "dropped", TEXT_DROPPED))
    return decisions


class Merge:
    """Merges old and new labels. In: all annotations of a sample. Out: their revisions."""

    version: ClassVar[int] = 7
    reads_images: ClassVar[bool] = False

    def __init__(self, config: MergeConfig) -> None:
        self.config = config

    def __call__(self, batch: Batch) -> list[Result]:
        return [merge(sample.annotations, sample.round, self.config) for sample in batch]


def _standing(comparison: Comparison, decisions: Sequence[Decision]) -> list[Annotation]:
    standing = []
    for decision in decisions:
        for annotation in revise(decision, comparison.rules):
            if annotation.dropped is None:
                standing.append(annotation)
    return standing


def _reject(comparison: Comparison, new: Annotation, reason: str) -> Decision:
    return Decision(comparison.name, None, new, "rejected", reason)


def _drop(comparison: Comparison, old: Annotation, reason: str) -> Decision:
    return Decision(comparison.name, old, None, "dropped", reason)
