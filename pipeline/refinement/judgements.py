"""What the models of a round said of the head's labels, counted shard by shard."""

from __future__ import annotations

from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass, field
from typing import cast

from pipeline.config.run import RunConfig
from pipeline.execution.reading import read_inputs, read_rows
from pipeline.plan.graph import WITNESS, Node
from pipeline.quality.summary import Summary, add
from pipeline.refinement.right_shares import Curves
from pipeline.refinement.rules import MergeConfig, Thresholds
from pipeline.refinement.second_look import NO_LOOK, SecondLook
from pipeline.refinement.thresholds import count_judged, count_learned, curves_of, thresholds_of
from pipeline.rows import Record, Row
from pipeline.schema import Annotations
from pipeline.storage.store import Store
from pipeline.training.selection import HeldOut, has_human_labels
from stages.base import ADDED, fold_of


@dataclass(frozen=True, slots=True, kw_only=True)
class JudgementsConfig:
    """What decides how judgements are counted."""

    held_out: float
    """`refine.gate.held_out`."""
    held_out_human: float = field(default=0.0, metadata=ADDED)
    """`refine.gate.held_out_human`."""
    merge: MergeConfig
    """The settings of the merge."""


@dataclass(frozen=True, slots=True)
class JudgedSample:
    """A sample that a model looked at."""

    key: str
    size: tuple[int, int]
    """(width, height) in pixels."""
    annotations: Annotations
    """The head's labels with the model's judgement (`support`), and the model's own labels."""


class JudgementsSummary:
    """Counts what the models said of the samples that were held out, and of the others."""

    version = 4

    def __init__(self, config: JudgementsConfig) -> None:
        self.config = config
        self.held_out = HeldOut(share=config.held_out, human_share=config.held_out_human)

    def __call__(self, store: Store, nodes: Sequence[Node], shard: str) -> Summary:
        """`nodes` are the head, the nodes of the models, and those of their witnesses."""
        head, *models = nodes
        refining, witnesses = by_look(models)
        looks = second_looks(store, witnesses, shard)
        away: list[tuple[Annotations, SecondLook]] = []
        others: list[tuple[Annotations, SecondLook]] = []
        for sample in judged_samples(store, head, refining, shard):
            is_held_out = self.held_out.has(sample.key, has_human_labels(sample.annotations))
            look = looks.get(sample.key, NO_LOOK)
            (away if is_held_out else others).append((sample.annotations, look))
        this_round = refining[0].round
        merge = self.config.merge
        counted: Summary = {
            "samples": len(away) + len(others),
            "held_out": count_judged(away, this_round, merge),
        }
        if len(refining) > 1:
            counted["others"] = count_judged(others, this_round, merge)
        else:
            # One model has learned from all samples that are not held out.
            counted["learned"] = count_learned(others, this_round, merge)
        return counted


def by_look(models: Sequence[Node]) -> tuple[list[Node], list[Node]]:
    """The nodes at which the models look at samples first, and those of their second looks."""
    first = [node for node in models if node.entry.use != WITNESS]
    second = [node for node in models if node.entry.use == WITNESS]
    return first, second


def judged_samples(
    store: Store, head: Node, refining: Sequence[Node], shard: str
) -> Iterator[JudgedSample]:
    """The samples of a shard that a model looked at; with folds, the model of their fold."""
    folds = len(refining)
    before: list[Record] = read_inputs(store, head, shard)
    tables = [read_rows(store, node, shard) for node in refining]
    for old, rows in zip(before, zip(*tables, strict=True), strict=True):
        row: Row = rows[fold_of(old.key, folds)]
        if row.failed is None:
            yield JudgedSample(
                key=old.key,
                size=(old.width, old.height),
                annotations=old.annotations.overlaid(row.annotations),
            )


def second_looks(store: Store, witnesses: Sequence[Node], shard: str) -> dict[str, SecondLook]:
    """The second looks at the samples of a shard by their keys; with folds, of several models."""
    looks: dict[str, SecondLook] = {}
    for node in witnesses:
        rows: list[Row] = read_rows(store, node, shard)
        for row in rows:
            look = SecondLook.of(row.annotations)
            if not look.is_empty:
                looks[row.key] = look
    return looks


def unlearned(counted: Summary) -> Summary:
    """What was counted on the samples that the model which looked at them has not learned from.

    With folds these are all samples, with one model those that are held out.
    """
    both: Summary = {}
    for part in ("held_out", "others"):
        if part in counted:
            add(both, counted[part])
    return both


@dataclass(frozen=True, slots=True)
class Measured:
    """What follows for the merge from what was counted on all shards, by kind of labels."""

    thresholds: Mapping[str, Thresholds]
    curves: Mapping[str, Curves]

    @classmethod
    def of(cls, counted: Summary, run: RunConfig) -> Measured:
        """From the sum of what `JudgementsSummary` has counted."""
        judged = unlearned(counted)
        curves = curves_of(judged, counted.get("learned"))
        return cls(thresholds_of(judged, merge_config(run), curves), curves)


def merge_config(run: RunConfig) -> MergeConfig:
    """The settings of the merge. `Entry.options` does not tell their class."""
    return cast(MergeConfig, run.refine.merge.options)
