"""What people said of held-out samples, compared with the head and with a new round.

Where people have reviewed a sample, their labels stand in every round, so all rounds are alike
there. What is compared is what the machines alone would have made of it: the head's labels without
those of people, and the same after the merge. The region filters decide anew on both. What
specialists add to a merged round (`refine.complete`) takes no part.
"""

from __future__ import annotations

from collections.abc import Collection, Iterator, Sequence
from dataclasses import dataclass, replace

import numpy as np

from pipeline.config.run import RunConfig
from pipeline.plan.graph import Node
from pipeline.quality import truth
from pipeline.quality.machine_labels import as_filtered, region_filters, without_people
from pipeline.quality.reviewed import Review, group_of, is_review
from pipeline.refinement.judgements import JudgedSample, judged_samples
from pipeline.refinement.merge import merge
from pipeline.refinement.rules import MergeConfig
from pipeline.schema import Annotation, Annotations
from pipeline.storage.reviews import reviewed_shards
from pipeline.storage.store import Store
from pipeline.training.selection import held_out
from stages.base import Sample, Stage


@dataclass(frozen=True, slots=True)
class ByPeople:
    """How the head and a new round compare with what people said of the same samples."""

    before: np.ndarray
    """(samples, len(METRICS), 3) int64, the counts of the head (`truth.count_samples`)."""
    after: np.ndarray
    """(samples, len(METRICS), 3) int64, the counts of the new round."""


def compare_with_people(
    store: Store,
    run: RunConfig,
    nodes: Sequence[Node],
    merging: MergeConfig,
    shards: Collection[str],
) -> ByPeople:
    """Compare on the reviewed samples that are held out of every training.

    In each sample the groups of labels count that the review has completed. Only the shards with
    reviews are read, so the work grows with that of people.

    Args:
        store: of the work folder.
        run: its settings.
        nodes: the head, and the nodes of the models that judged it.
        merging: the settings of the merge with its measured thresholds.
        shards: those that are done.
    """
    filters = region_filters(run.filters)
    before = []
    after = []
    for sample in _held_out_and_reviewed(store, run, nodes, shards):
        review = Review.of(sample.annotations)
        if review is None or not review.complete:
            continue
        said = _labels_of_people(sample.annotations, review)
        old, new = _by_machines(sample, merging, nodes[-1].round, filters)
        before.append((_in_groups(old, review), said))
        after.append((_in_groups(new, review), said))
    return ByPeople(truth.count_samples(before), truth.count_samples(after))


def _held_out_and_reviewed(
    store: Store, run: RunConfig, nodes: Sequence[Node], shards: Collection[str]
) -> Iterator[JudgedSample]:
    """The held-out samples of the shards that have reviewed ones."""
    head, *refining = nodes
    for shard in reviewed_shards(store):
        if shard not in shards:
            continue
        for sample in judged_samples(store, head, refining, shard):
            if held_out(sample.key, run.refine.gate.held_out):
                yield sample


def _by_machines(
    sample: JudgedSample,
    merging: MergeConfig,
    this_round: int,
    filters: Sequence[Stage],
) -> tuple[Annotations, Annotations]:
    """What the head and the merged round hold of machines, as if nobody had reviewed the sample."""
    labels = without_people(sample.annotations)
    old = labels.where(lambda label: label.round < this_round)
    merged = labels.overlaid(merge(labels, this_round, merging))
    sample_of_head = Sample(sample.key, sample.size, annotations=old)
    sample_of_round = replace(sample_of_head, round=this_round, annotations=merged)
    return as_filtered(sample_of_head, filters), as_filtered(sample_of_round, filters)


def _labels_of_people(annotations: Annotations, review: Review) -> Annotations:
    """What people said is right, in the groups that they completed."""

    def is_said(label: Annotation) -> bool:
        return is_review(label) and label.dropped is None

    return _in_groups(annotations.where(is_said), review)


def _in_groups(annotations: Annotations, review: Review) -> Annotations:
    """The labels of the groups that people have completed."""
    return annotations.where(lambda label: group_of(label) in review.complete)
