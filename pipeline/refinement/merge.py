"""Old labels and the model's new ones, merged: a pure function over one sample, and its stage.

In: the kept annotations of earlier rounds, with `support` (the mean log-probability per token that
the round's model gives to them) where the model judged them, and the model's own annotations of
this round. Out: revisions only. Paper section 4.2, "iterative data refinement"; the paper gives no
rules, so the rules are ours. Each makes a decision (pipeline/refinement/decisions.py):

    kept      an old label was found again, and the new name is the same or not better
    replaced  it was found under a likelier name: the new label takes its place
    moved     it was found elsewhere on the same thing: it moves to the mean of both places
    dropped   it was not found, and is unlikely or a duplicate of a label that stays; or its text
              is dropped
    added     a label was found where no old one is, and is certain enough
    rejected  a new label is not taken

The model looks twice (pipeline/refinement/second_look.py). A new label that it repeats is more
often right than one that it does not, so less certainty is asked of it. From which certainty on a
change is likely enough to be right, is estimated without truth
(pipeline/refinement/right_shares.py). Where nothing could be estimated, nothing changes. If a model
confirms too few of the old labels of a kind, all that it says of this kind is rejected.

A label that replaces an old one has it as its parent. Human labels are never changed. An old label
that the model neither judged (no `support`) nor found stays as it is.

Where people have completed a group of labels in a review, their labels stand, and the labels of
machines are dropped. The stage merges the dropped ones as if nobody had reviewed the sample, and
they stay dropped. So every round knows what the machines alone would have made of a reviewed
sample, and the gate can compare that with what people said (pipeline/refinement/people.py).
"""

from __future__ import annotations

from collections.abc import Collection, Sequence
from dataclasses import replace
from typing import ClassVar

from pipeline.quality.machine_labels import without_people
from pipeline.quality.reviewed import Review, group_of
from pipeline.refinement.comparison import Comparison, comparisons
from pipeline.refinement.conditions import (
    is_certain,
    is_duplicate,
    is_likelier,
    is_unsupported,
    may_rename,
    wins_tie,
    would_be_certain,
)
from pipeline.refinement.decisions import (
    DUPLICATE,
    LESS_LIKELY,
    NOT_CONFIDENT,
    NOT_REPEATED,
    NOT_SUPPORTED,
    NOT_TRUSTED,
    RELABELLED,
    Decision,
    apply,
    revise,
)
from pipeline.refinement.matching import Match, mean_place
from pipeline.refinement.rules import MergeConfig
from pipeline.refinement.second_look import NO_LOOK, SecondLook
from pipeline.schema import Annotation, Annotations
from stages.base import Batch, Result
from stages.florence.witness import WITNESSED
from stages.links import AGREES, RESHAPED, TEXT_DROPPED


def merge(
    annotations: Annotations, this_round: int, config: MergeConfig, look: SecondLook = NO_LOOK
) -> Annotations:
    """The revisions of annotations that follow from the decisions of `decide`."""
    return apply(decide(annotations, this_round, config, look), config)


def decide(
    annotations: Annotations, this_round: int, config: MergeConfig, look: SecondLook = NO_LOOK
) -> list[Decision]:
    """The decisions on all labels of a sample, at which the model has looked a second time.

    They do not depend on the order of the annotations, except that triplets which go with their
    text are decided on last, in the order of the sample.
    """
    decisions: list[Decision] = []
    for comparison in comparisons(annotations, this_round, config, look):
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
    return [_reject(comparison, new, NOT_TRUSTED) for new in comparison.found]


def decide_match(comparison: Comparison, match: Match) -> list[Decision]:
    """The decisions on an old label that was found, and on what was found."""
    old = match.old
    new = match.new
    name = comparison.name
    if old.locked:
        reason = AGREES if match.same_label else LESS_LIKELY
        return [Decision(name, old, new, "rejected", reason)]
    if match.same_label:
        return [keep_or_move(comparison, match)]
    if may_rename(comparison, new):
        if is_likelier(comparison, new, old):
            return [Decision(name, old, new, "replaced", RELABELLED)]
        if wins_tie(comparison, new, old):
            return decide_tie(comparison, match)
    return [keep_or_move(comparison, match)]


def keep_or_move(comparison: Comparison, match: Match) -> Decision:
    """The old label stays. It moves to the mean of both places if that lies elsewhere."""
    old = match.old
    new = match.new
    kind = comparison.kind
    rules = comparison.rules
    place = mean_place(kind, old, new, comparison.thresholds.reshape)
    if place:
        moved = replace(old, **place)
        overlap = kind.overlap([moved], [old])
        if overlap[0, 0] < rules.reshape_iou:
            return Decision(comparison.name, old, new, "moved", RESHAPED)
    reason = AGREES if match.same_label else LESS_LIKELY
    return Decision(comparison.name, old, new, "kept", reason)


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
    reason = NOT_REPEATED if would_be_certain(comparison, new) else NOT_CONFIDENT
    return _reject(comparison, new, reason)


def decide_missed(
    comparison: Comparison, old: Annotation, standing: Sequence[Annotation]
) -> list[Decision]:
    """The decision on an old label that was not found, if it does not stay.

    `standing` are the labels that stay after the decisions on all found labels.
    """
    if old.locked or old.support is None:
        return []
    if is_duplicate(comparison, old, standing, comparison.rules.match_iou):
        return [_drop(comparison, old, DUPLICATE)]
    if is_unsupported(comparison, old) and not comparison.is_seen_again(old):
        return [_drop(comparison, old, NOT_SUPPORTED)]
    return []


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
    """Merges old and new labels.

    In: all annotations of a sample, and what the second look says. Out: revisions of the former.
    """

    version: ClassVar[int] = 11
    reads_images: ClassVar[bool] = False

    def __init__(self, config: MergeConfig) -> None:
        self.config = config

    def __call__(self, batch: Batch) -> list[Result]:
        merged: list[Result] = []
        for sample in batch:
            look = SecondLook.of(sample.annotations, sample.annotations, sample.round)
            labels = sample.annotations.where(lambda label: label.source not in WITNESSED)
            made = merge(labels, sample.round, self.config, look)
            review = Review.of(labels)
            if review is not None and review.complete:
                alone = merge(without_people(labels, ()), sample.round, self.config, look)
                made = _with_groups(made, alone, review.complete)
            merged.append(made)
        return merged


def _with_groups(made: Annotations, alone: Annotations, groups: Collection[str]) -> Annotations:
    """The revisions in `alone` for some groups of labels, and those in `made` for all others."""
    others = made.where(lambda label: group_of(label) not in groups)
    return others.overlaid(alone.where(lambda label: group_of(label) in groups))


def _standing(comparison: Comparison, decisions: Sequence[Decision]) -> list[Annotation]:
    standing = []
    for decision in decisions:
        for annotation in revise(decision, comparison.thresholds.reshape):
            if annotation.dropped is None:
                standing.append(annotation)
    return standing


def _reject(comparison: Comparison, new: Annotation, reason: str) -> Decision:
    return Decision(comparison.name, None, new, "rejected", reason)


def _drop(comparison: Comparison, old: Annotation, reason: str) -> Decision:
    return Decision(comparison.name, old, None, "dropped", reason)
