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
from pipeline.refinement.second_look import SecondLook
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
    annotations: Annotations
    """The head's labels with the model's judgement (`support`), and the model's own labels."""
    look: SecondLook
    """What the model says at its second look."""


class JudgementsSummary:
    """Counts what the models said of the samples that were held out, and of the others."""

    version = 5

    def __init__(self, config: JudgementsConfig) -> None:
        self.config = config
        self.held_out = HeldOut(share=config.held_out, human_share=config.held_out_human)

    def __call__(self, store: Store, nodes: Sequence[Node], shard: str) -> Summary:
        """`nodes` are the head, the nodes of the models, and those of their witnesses."""
        head, *models = nodes
        away: list[tuple[Annotations, SecondLook]] = []
        others: list[tuple[Annotations, SecondLook]] = []
        for sample in judged_samples(store, head, models, shard):
            is_held_out = self.held_out.has(sample.key, has_human_labels(sample.annotations))
            (away if is_held_out else others).append((sample.annotations, sample.look))
        this_round = models[0].round
        merge = self.config.merge
        counted: Summary = {
            "samples": len(away) + len(others),
            "held_out": count_judged(away, this_round, merge),
        }
        if len(by_look(models)[0]) > 1:
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
    store: Store, head: Node, models: Sequence[Node], shard: str
) -> Iterator[JudgedSample]:
    """The samples of a shard that a model looked at; with folds, the model of their fold.

    `models` are the nodes of the models and those of their second looks.
    """
    refining, witnesses = by_look(models)
    folds = len(refining)
    said = _said_again(store, witnesses, shard)
    before: list[Record] = read_inputs(store, head, shard)
    tables = [read_rows(store, node, shard) for node in refining]
    for old, rows in zip(before, zip(*tables, strict=True), strict=True):
        row: Row = rows[fold_of(old.key, folds)]
        if row.failed is None:
            again = said.get(old.key, Annotations())
            yield JudgedSample(
                key=old.key,
                annotations=old.annotations.overlaid(row.annotations),
                look=SecondLook.of(again, old.annotations, refining[0].round),
            )


def _said_again(store: Store, witnesses: Sequence[Node], shard: str) -> dict[str, Annotations]:
    """What the models say at their second looks at the samples of a shard, by the samples' keys.

    With folds, each says something of its own samples only.
    """
    said: dict[str, Annotations] = {}
    for node in witnesses:
        rows: list[Row] = read_rows(store, node, shard)
        for row in rows:
            said[row.key] = said.get(row.key, Annotations()).overlaid(row.annotations)
    return said


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
