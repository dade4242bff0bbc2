"""A run that a test plays round by round, in this process and with a real nano model."""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from pathlib import Path
from typing import Any

from pipeline.config.compose import compose
from pipeline.config.parse import parse
from pipeline.config.run import RunConfig
from pipeline.execution.reading import read_rows
from pipeline.execution.steps import Step
from pipeline.execution.summaries import total
from pipeline.ingest.assignment import list_sources
from pipeline.plan.graph import Node, RoundModels
from pipeline.plan.recipe import content_hash
from pipeline.plan.shard_state import ShardState
from pipeline.refinement.executor import RunExecutor
from pipeline.refinement.loop import Attempt, Loop
from pipeline.refinement.trainings import RoundTrainings
from pipeline.rows import Record
from pipeline.storage.store import Store
from pipeline.training.run import Training
from stages.florence.model import load, resolve, save

SCENES = (
    "experiment=refinement",
    "source.count=12",
    "source.shard_size=6",
    "refine.annotate.max_tokens=40",
)
OFF = [
    f"refine.merge.{kind}.{rule}"
    for kind in ("texts", "regions", "triplets")
    for rule in (
        "relabel_margin=99",
        "drop_below=-99",
        "add_above=0",
        "rename_above=0",
        "reshape=0",
    )
]
LOOSE = [
    f"refine.merge.{kind}.{rule}"
    for kind in ("texts", "regions", "triplets")
    for rule in (
        "relabel_margin=-99",
        "add_above=-99",
        "rename_above=-99",
        "drop_below=0",
        "reshape=1",
        "min_refound=0",
    )
]


class Serial:
    """An engine without Ray."""

    def run(
        self, title: str, steps: Sequence[Step], shards: Mapping[str, ShardState]
    ) -> dict[str, ShardState]:
        done = dict(shards)
        for step in steps:
            work = step.make()
            done = {shard: work(shard, each) for shard, each in done.items()}
        return done


class WithoutRay(RunExecutor):
    """The executor of `fld run` in this process; `get` makes the models."""

    def __init__(self, store: Store, run: RunConfig) -> None:
        super().__init__(store, run)
        self.engine: Any = Serial()
        self.get: Callable[[Training], str] | None = None

    def train(self, training: Training) -> str:
        assert self.get is not None
        return self.get(training)


class Played:
    """A run that is played round by round."""

    def __init__(self, work: Path, *overrides: str) -> None:
        self.run = parse(compose([f"work={work}", *overrides]))
        self.store = Store(self.run.work)
        self.executor = WithoutRay(self.store, self.run)
        self.loop = Loop(self.store, self.run, self.executor)
        self.head = self.loop.round_zero(list_sources(self.run))

    def models(self, number: int, get: Callable[[Training], str]) -> RoundModels:
        self.executor.get = get
        models = self.loop.train(number, self.head, None)
        assert models is not None
        return models

    def refine(self, number: int, models: RoundModels) -> Attempt:
        return self.loop.refine(number, self.head, models)

    def trainings(self, number: int) -> RoundTrainings:
        head = self.head
        counted = total(self.store, head.counted, head.states)
        return RoundTrainings(self.store, self.run, head.node, head.states, counted, number)

    def records(self, node: Node) -> dict[str, Record]:
        records: dict[str, Record] = {}
        for shard in sorted(self.head.states):
            for row in read_rows(self.store, node, shard):
                records[row.key] = row
        return records


def untrained(loop: Played) -> Callable[[Training], str]:
    """Every model is the checkpoint of the repository."""

    def get(training: Training) -> str:
        save(load("nano"), Path(loop.store.path(training.folder)))
        return content_hash(resolve("nano"))

    return get
