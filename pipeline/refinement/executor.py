"""The executor of `fld run`: stages on Ray, models by Ray Train, everything published."""

from __future__ import annotations

import functools
import itertools
from collections.abc import Mapping, Sequence
from dataclasses import asdict

from pipeline.config.run import RunConfig
from pipeline.execution.engine import Engine
from pipeline.execution.steps import Step
from pipeline.execution.worker import Worker
from pipeline.ingest.assignment import assign, check_keys, ingest_state
from pipeline.ingest.shard import Ingest
from pipeline.plan.graph import Node
from pipeline.plan.journal import INGEST, publish_graph
from pipeline.plan.shard_state import plan
from pipeline.refinement.gate import Verdict, judge
from pipeline.refinement.judgements import Judgements
from pipeline.refinement.loop import Attempt, Loop, States
from pipeline.refinement.round_metrics import measure
from pipeline.refinement.rules import MergeConfig, Thresholds
from pipeline.storage import rounds
from pipeline.storage.layout import IMAGES
from pipeline.storage.store import Store
from pipeline.training.run import Training, train


class RunExecutor:
    """Does the work of the loop, unless it is done, and publishes it."""

    def __init__(
        self,
        store: Store,
        run: RunConfig,
        engine: Engine | None = None,
        keep_going: bool = False,
    ) -> None:
        self.store, self.run = store, run
        self.engine = engine or Engine(run.cluster, store)
        self.keep_going = keep_going

    def ingest(self, names: Sequence[str]) -> States:
        assigned = assign(self.store, self.run.source, names)
        present = ingest_state(self.store, self.run.source, assigned)
        self.store.withdraw(IMAGES, dict.fromkeys(present.relabelled, ()))
        todo: dict[str, list[str]] = {}
        for shard, state in present.states.items():
            if not state.has(IMAGES):
                todo[shard] = assigned[shard]
        make = functools.partial(Ingest, self.store.url, self.run.source, todo)
        states = self.engine.run(INGEST, [Step(INGEST, make, (IMAGES,))], present.states)
        check_keys(self.store, self.run.source, list(states))
        return states

    def annotate(
        self, title: str, nodes: Sequence[Node], states: States, head: Node | None
    ) -> States:
        planned = plan(self.store, nodes, states)
        planned.withdraw_stale(self.store)
        publish_graph(self.store, nodes)
        return self.engine.run(title, self._steps(nodes, head), planned.states)

    def train(self, training: Training) -> str:
        return train(self.store, self.run.cluster, training)

    def thresholds(self, judgements: Judgements) -> Mapping[str, Thresholds]:
        return judgements.thresholds()

    def judge(self, judgements: Judgements, last: Node) -> Verdict:
        return judge(judgements, last)

    def publish(self, attempt: Attempt, parent: Attempt | None) -> None:
        """Write `round.json`; also the index and the metrics unless they are of the same shards."""
        measure(self.store, self.run, attempt.node, attempt.states, parent.node if parent else None)
        thresholds = merge_thresholds(attempt.nodes)
        state = rounds.RoundState(
            round=attempt.node.round,
            parent=parent.name if parent else None,
            model=attempt.model,
            models=[model.folder for model in attempt.models],
            status=attempt.verdict.status,
            reason=attempt.verdict.reason,
            evidence=attempt.verdict.evidence,
            levels={kind: asdict(levels) for kind, levels in thresholds.items()},
        )
        rounds.publish_round_state(self.store, attempt.node.folder, state)

    def finish(self, head: Attempt, attempts: Sequence[Attempt]) -> None:
        """Write `head.json`. It comes last, so that readers see whole runs only."""
        tried: list[rounds.HeadAttempt] = []
        for attempt in attempts:
            status = attempt.verdict.status
            tried.append(rounds.HeadAttempt(round=attempt.name, model=attempt.model, status=status))
        chain = rounds.Head(round=head.name, model=head.model, attempts=tried)
        rounds.publish_head(self.store, chain)

    def _steps(self, nodes: Sequence[Node], head: Node | None) -> list[Step]:
        """One step per run of nodes of the same group, in the order of the graph."""
        graph = [head, *nodes] if head else list(nodes)
        steps: list[Step] = []
        for group, members in itertools.groupby(nodes, key=lambda node: node.group):
            names = tuple(node.name for node in members)
            threads = self.run.cluster.group(group).threads
            make = functools.partial(
                Worker,
                self.store.url,
                graph,
                names,
                threads,
                self.keep_going,
            )
            steps.append(Step(group, make, names))
        return steps


def merge_thresholds(nodes: Sequence[Node]) -> Mapping[str, Thresholds]:
    """The thresholds that the merge among `nodes` used; none in round 0, which has no merge."""
    for node in nodes:
        if isinstance(node.entry.options, MergeConfig):
            return node.entry.options.levels
    return {}


def run_loop(
    store: Store,
    run: RunConfig,
    names: Sequence[str],
    keep_going: bool = False,
) -> list[Attempt]:
    """Do all that `fld run` does between its lease and its report; the rounds that were tried.

    `names` is what the source lists. With `keep_going`, no number of failed samples ends the run.
    """
    executor = RunExecutor(store, run, keep_going=keep_going)
    return Loop(store, run, executor).rounds(names)
