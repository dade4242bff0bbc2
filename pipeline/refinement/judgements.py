"""What the models of a round said of the head's labels, counted shard by shard."""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from typing import cast

from pipeline.config.run import RunConfig
from pipeline.execution.reading import read_inputs, read_rows
from pipeline.plan.graph import WITNESS, Node
from pipeline.quality.summary import Summary, add
from pipeline.refinement.rules import MergeConfig
from pipeline.refinement.thresholds import count_judged
from pipeline.schema import Annotations, Record, Row
from pipeline.storage.store import Store
from pipeline.training.selection import held_out
from stages.base import fold_of


@dataclass(frozen=True, slots=True, kw_only=True)
class JudgementsConfig:
    """What decides how judgements are counted."""

    held_out: float
    """`refine.gate.held_out`."""
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

    version = 1

    def __init__(self, config: JudgementsConfig) -> None:
        self.config = config

    def __call__(self, store: Store, nodes: Sequence[Node], shard: str) -> Summary:
        """`nodes` are the head, the nodes of the models, and those of their witnesses."""
        head, *models = nodes
        refining = [node for node in models if node.entry.use != WITNESS]
        away: list[Annotations] = []
        others: list[Annotations] = []
        for sample in judged_samples(store, head, refining, shard):
            is_held_out = held_out(sample.key, self.config.held_out)
            (away if is_held_out else others).append(sample.annotations)
        this_round = refining[0].round
        merge = self.config.merge
        counted: Summary = {
            "samples": len(away) + len(others),
            "held_out": count_judged(away, this_round, merge),
        }
        if len(refining) > 1:
            # With one model, all other samples are among those that it has learned from.
            counted["others"] = count_judged(others, this_round, merge)
        return counted


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


def unlearned(counted: Summary) -> Summary:
    """What was counted on the samples that the model which looked at them has not learned from.

    With folds these are all samples, with one model those that are held out.
    """
    both: Summary = {}
    for part in ("held_out", "others"):
        if part in counted:
            add(both, counted[part])
    return both


def merge_config(run: RunConfig) -> MergeConfig:
    """The settings of the merge. `Entry.options` does not tell their class."""
    return cast(MergeConfig, run.refine.merge.options)
