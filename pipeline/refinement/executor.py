"""The executor of `fld run`: stages on Ray, models by Ray Train, everything published."""

from __future__ import annotations

import functools
import itertools
from collections.abc import Mapping, Sequence
from dataclasses import asdict

from pipeline.config.run import RunConfig
from pipeline.execution.engine import Engine, Step
from pipeline.execution.worker import Worker
from pipeline.ingest.assignment import assign, check_keys, ingested
from pipeline.ingest.shard import Ingest
from pipeline.plan.graph import Node
from pipeline.plan.shard_state import plan
from pipeline.refinement.gate import Verdict, judge, thresholds
from pipeline.refinement.loop import Attempt, States
from pipeline.refinement.round_metrics import measure
from pipeline.refinement.rules import Levels, MergeConfig
from pipeline.storage import layout
from pipeline.storage.store import Store
from pipeline.training.run import Training, train


class RunExecutor:
    """Does the work of the loop, unless it is done, and publishes it."""

    def __init__(self, store: Store, run: RunConfig, engine: Engine | None = None) -> None:
        self.store, self.run = store, run
        self.engine = engine or Engine(run.cluster, store)

    def ingest(self, names: Sequence[str]) -> States:
        assigned = assign(self.store, self.run.source, names)
        states, relabelled = ingested(self.store, self.run.source, assigned)
        self.store.withdraw(layout.IMAGES, dict.fromkeys(relabelled, ()))
        todo = {shard: assigned[shard] for shard, state in states.items() if not state}
        make = functools.partial(Ingest, self.store.url, self.run.source, todo)
        states = self.engine.run("ingest", [Step("ingest", make, (layout.IMAGES,))], states)
        check_keys(self.store, self.run.source, list(states))
        return states

    def annotate(
        self, title: str, nodes: Sequence[Node], states: States, head: Node | None
    ) -> States:
        planned = plan(self.store, nodes, states)
        planned.forget_stale(self.store)
        self._journal(nodes)
        return self.engine.run(title, self._steps(nodes, head), planned.states)

    def train(self, training: Training) -> str | None:
        return train(self.store, self.run.cluster, training)

    def thresholds(
        self, head: Node, refining: Sequence[Node], states: States
    ) -> Mapping[str, Levels]:
        return thresholds(self.store, self.run, head, refining, states)

    def judge(self, head: Node, nodes: Sequence[Node], states: States) -> Verdict:
        return judge(self.store, self.run, head, nodes, states)
