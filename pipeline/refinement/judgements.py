"""What the models of a round said of the head's labels, and the thresholds measured on that."""

from __future__ import annotations

from collections.abc import Iterator, Mapping, Sequence
from dataclasses import asdict, dataclass
from typing import cast

from pipeline.config.run import RunConfig
from pipeline.execution.reading import read_inputs, read_rows
from pipeline.plan.graph import Node
from pipeline.plan.recipe import recipe_settings
from pipeline.plan.shard_state import ShardState
from pipeline.refinement.memo import outputs_digest, remembered
from pipeline.refinement.merge import Merge
from pipeline.refinement.round_metrics import held_out
from pipeline.refinement.rules import MergeConfig, Thresholds
from pipeline.refinement.thresholds import measure_thresholds
from pipeline.schema import Annotations, Record, Row
from pipeline.storage import layout
from pipeline.storage.json_types import Json
from pipeline.storage.store import Store
from stages.base import fold_of


@dataclass(frozen=True, slots=True)
class JudgedSample:
    """A sample that a model looked at."""

    key: str
    size: tuple[int, int]
    """(width, height) in pixels."""
    annotations: Annotations
    """The head's labels with the model's judgement (`support`), and the model's own labels."""


@dataclass(frozen=True, slots=True)
class Judgements:
    """What the nodes `refining`, one per model, said of the labels of `head`."""

    store: Store
    run: RunConfig
    head: Node
    refining: Sequence[Node]
    states: Mapping[str, ShardState]

    def samples(self) -> Iterator[JudgedSample]:
        """Every sample that a model looked at; with folds, the model of the sample's fold."""
        folds = len(self.refining)
        for shard in sorted(self.states):
            before: list[Record] = read_inputs(self.store, self.head, shard)
            tables = [read_rows(self.store, node, shard) for node in self.refining]
            for old, rows in zip(before, zip(*tables, strict=True), strict=True):
                row: Row = rows[fold_of(old.key, folds)]
                if row.failed is None:
                    yield JudgedSample(
                        key=old.key,
                        size=(old.width, old.height),
                        annotations=old.annotations.overlaid(row.annotations),
                    )

    def held_out(self) -> Iterator[JudgedSample]:
        """The samples that are held out of every training."""
        for sample in self.samples():
            if held_out(sample.key, self.run):
                yield sample

    def unlearned(self) -> Iterator[Annotations]:
        """The samples that the model which looked at them has not learned from.

        With folds these are all samples, with one model those that are held out.
        """
        samples = self.held_out() if len(self.refining) == 1 else self.samples()
        for sample in samples:
            yield sample.annotations

    def thresholds(self, *, keep: bool = True) -> dict[str, Thresholds]:
        """The thresholds of the merge by kind of annotation, measured on `unlearned` samples.

        With `keep` they are written to the journal, so that the next call need not measure again.
        """
        rules = merge_config(self.run)
        inputs = (
            Merge.version,
            recipe_settings(rules),
            self.run.refine.gate.held_out,
            outputs_digest([self.head, *self.refining], self.states),
        )

        def compute() -> Json:
            measured = measure_thresholds(self.unlearned(), self.refining[0].round, rules)
            return {"levels": {kind: asdict(thresholds) for kind, thresholds in measured.items()}}

        name = layout.measured_levels(self.refining[0].folder)
        stored = remembered(self.store, name, inputs, compute, keep=keep)
        return {kind: Thresholds(**values) for kind, values in stored["levels"].items()}


def merge_config(run: RunConfig) -> MergeConfig:
    """The settings of the merge. `Entry.options` does not tell their class."""
    return cast(MergeConfig, run.refine.merge.options)
