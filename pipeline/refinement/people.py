"""What people said of held-out samples, compared with the head and with a new round.

Where people have reviewed a sample, their labels stand in every round, so all rounds are alike
there. What is compared is what the machines alone would have made of it: the labels that are
dropped for the review, and for no other reason. The merge and the region filters treat these as if
nobody had reviewed the sample, in every round anew (`pipeline.refinement.merge`). What specialists
add to a merged round (`refine.complete`) takes no part.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass, field, replace

from pipeline.execution.reading import read_rows
from pipeline.plan.graph import Node
from pipeline.quality.machine_labels import without_people
from pipeline.quality.reviewed import Review, group_of, is_review
from pipeline.quality.summary import Summary
from pipeline.refinement.gate import PairedCounts
from pipeline.rows import Record
from pipeline.schema import Annotation, Annotations
from pipeline.storage.store import Store
from pipeline.training.selection import HeldOut, human_keys
from stages.base import ADDED


@dataclass(frozen=True, slots=True, kw_only=True)
class PeopleConfig:
    """What decides how a round is compared with what people said."""

    held_out: float
    """`refine.gate.held_out`."""
    held_out_human: float = field(default=0.0, metadata=ADDED)
    """`refine.gate.held_out_human`."""


class PeopleSummary:
    """Counts how the head and the new round compare with what people said.

    Reviewed samples that are held out of every training take part, and in each of them the groups
    of labels that the review has completed.
    """

    version = 5

    def __init__(self, config: PeopleConfig) -> None:
        self.held_out = HeldOut(share=config.held_out, human_share=config.held_out_human)

    def __call__(self, store: Store, nodes: Sequence[Node], shard: str) -> Summary:
        """`nodes` are the head and the round."""
        head, node = nodes
        counts = PairedCounts()
        samples = 0
        human = human_keys(store, shard)
        if human:
            before: list[Record] = read_rows(store, head, shard)
            after: list[Record] = read_rows(store, node, shard)
            for old, new in zip(before, after, strict=True):
                samples += 1
                if old.key in human and self.held_out.has(old.key, is_human=True):
                    _count(old, new, counts)
        return {"samples": samples, "paired": counts.summary()}


def _count(before: Record, after: Record, counts: PairedCounts) -> None:
    """Count a sample if people have completed any group of its labels."""
    review = Review.of(after.annotations)
    if review is None or not review.complete:
        return
    counts.add(
        after.key,
        _alone(before.annotations, review),
        _alone(after.annotations, review),
        _said(after.annotations, review),
    )


def _alone(annotations: Annotations, review: Review) -> Annotations:
    """What machines alone would say, in the groups that people have completed."""
    return _in_groups(without_people(annotations, ()), review)


def _said(annotations: Annotations, review: Review) -> Annotations:
    """What people said is right, in the groups that they completed.

    Of a region people judge the box and the category. Its brief text came with the label of a
    machine, and the labels that a review drops never get one, so it is not compared.
    """

    def is_said(label: Annotation) -> bool:
        return is_review(label) and label.dropped is None

    said = _in_groups(annotations.where(is_said), review)
    regions = [replace(region, brief=None) for region in said.regions]
    return replace(said, regions=regions)


def _in_groups(annotations: Annotations, review: Review) -> Annotations:
    """The labels of the groups that people have completed."""
    return annotations.where(lambda label: group_of(label) in review.complete)
