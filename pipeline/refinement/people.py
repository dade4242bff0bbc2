"""What people said of held-out samples, compared with the head and with a new round.

Where people have reviewed a sample, their labels stand in every round, so all rounds are alike
there. What is compared is what the machines alone would have made of it: the head's labels without
those of people, and the same after the merge. The region filters decide anew on both. What
specialists add to a merged round (`refine.complete`) takes no part.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field, replace
from typing import cast

from pipeline.config.run import Entry
from pipeline.plan.graph import Node
from pipeline.quality.machine_labels import as_filtered, region_filters, without_people
from pipeline.quality.reviewed import Review, group_of, is_review
from pipeline.quality.summary import Summary
from pipeline.refinement.gate import PairedCounts
from pipeline.refinement.judgements import JudgedSample, judged_samples
from pipeline.refinement.merge import merge
from pipeline.refinement.rules import MergeConfig
from pipeline.schema import Annotation, Annotations
from pipeline.storage.store import Store
from pipeline.training.selection import HeldOut, human_keys
from stages.base import ADDED, Sample, Stage


@dataclass(frozen=True, slots=True, kw_only=True)
class PeopleConfig:
    """What decides how a round is compared with what people said."""

    held_out: float
    """`refine.gate.held_out`."""
    held_out_human: float = field(default=0.0, metadata=ADDED)
    """`refine.gate.held_out_human`."""
    filters: Mapping[str, Entry]
    """The filters of the run."""


class PeopleSummary:
    """Counts how the head and the merged round compare with what people said.

    Reviewed samples that are held out of every training take part, and in each of them the groups
    of labels that the review has completed.
    """

    version = 4

    def __init__(self, config: PeopleConfig) -> None:
        self.config = config
        self.filters = region_filters(config.filters)
        self.held_out = HeldOut(share=config.held_out, human_share=config.held_out_human)

    def __call__(self, store: Store, nodes: Sequence[Node], shard: str) -> Summary:
        """`nodes` are the head, the nodes of the models, of their second looks, and the merge."""
        head, *models, merging = nodes
        counts = PairedCounts()
        samples = 0
        human = human_keys(store, shard)
        if human:
            for sample in judged_samples(store, head, models, shard):
                samples += 1
                if sample.key in human and self.held_out.has(sample.key, is_human=True):
                    self._count(sample, merging, counts)
        return {"samples": samples, "paired": counts.summary()}

    def _count(self, sample: JudgedSample, merging: Node, counts: PairedCounts) -> None:
        """Count a sample if people have completed any group of its labels."""
        review = Review.of(sample.annotations)
        if review is None or not review.complete:
            return
        labels = without_people(sample.annotations)
        old = labels.where(lambda label: label.round < merging.round)
        config = cast(MergeConfig, merging.entry.options)
        new = labels.overlaid(merge(labels, merging.round, config, sample.look))
        counts.add(
            sample.key,
            _in_groups(_filtered(sample, 0, old, self.filters), review),
            _in_groups(_filtered(sample, merging.round, new, self.filters), review),
            _said(sample.annotations, review),
        )


def _filtered(
    sample: JudgedSample, this_round: int, labels: Annotations, filters: Sequence[Stage]
) -> Annotations:
    """The labels as the region filters leave them."""
    shown = Sample(sample.key, sample.size, round=this_round, annotations=labels)
    return as_filtered(shown, filters)


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
