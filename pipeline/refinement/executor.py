"""The executor of `fld run`: stages on Ray, models by Ray Train, everything published."""

from __future__ import annotations

import functools
import itertools
import shlex
from collections.abc import Mapping, Sequence
from dataclasses import asdict
from operator import attrgetter

from pipeline.config.effects import announce
from pipeline.config.run import RunConfig
from pipeline.errors import NothingLabelled
from pipeline.execution.engine import Engine
from pipeline.execution.steps import Step
from pipeline.execution.summaries import total, total_by_source
from pipeline.execution.worker import Worker
from pipeline.ingest import failures
from pipeline.ingest.assignment import (
    Assigned,
    Names,
    assign_all,
    check_first_keys,
    check_keys,
    ingest_state,
    naming,
)
from pipeline.ingest.by_source import without_images
from pipeline.ingest.refused import Refused
from pipeline.ingest.several import IngestAll, SourceWork
from pipeline.plan.graph import Node
from pipeline.plan.journal import INGEST, publish_graph, ref
from pipeline.plan.shard_state import plan
from pipeline.quality.statistics import Statistics, statistics_by_source
from pipeline.refinement.copies import cost_of_copies
from pipeline.refinement.emptied import emptied
from pipeline.refinement.gate import Verdict
from pipeline.refinement.judgements import Measured
from pipeline.refinement.judging import judge_candidate
from pipeline.refinement.loop import Attempt, Candidate, Loop, States
from pipeline.refinement.round_metrics import metrics, metrics_by_source
from pipeline.refinement.rules import MergeConfig, Thresholds
from pipeline.storage import layout, rounds
from pipeline.storage.json_types import Json
from pipeline.storage.layout import IMAGES
from pipeline.storage.round_parts import RoundPart, publish_parts
from pipeline.storage.source_ids import publish_source_ids
from pipeline.storage.store import Store
from pipeline.training.run import Training, train

EMPTY: rounds.Status = "empty"
"""The status of a round 0 without any label."""


class RunExecutor:
    """Does the work of the loop, unless it is done, and publishes it.

    The methods are those of `pipeline.refinement.loop.Executor`.
    """

    def __init__(
        self,
        store: Store,
        run: RunConfig,
        engine: Engine | None = None,
        keep_going: bool = False,
    ) -> None:
        self.store = store
        self.run = run
        self.engine = engine or Engine(run.cluster, store)
        self.keep_going = keep_going

    def ingest(self, names: Names) -> States:
        """Ingest the shards that are new or whose labels of a source have changed."""
        sources = self.run.all_sources
        assigned = assign_all(self.store, sources, names)
        present: States = {}
        work: dict[str, SourceWork] = {}
        for name, config in sources.items():
            shards = assigned.shards[name]
            with naming(name):
                state = ingest_state(self.store, config, shards)
            publish_source_ids(self.store, state.ids, assigned.work.stem(name))
            self.store.withdraw(IMAGES, dict.fromkeys(state.relabelled, ()))
            present.update(state.states)
            todo = {shard: shards[shard] for shard in shards if not present[shard].has(IMAGES)}
            work[name] = SourceWork(config, todo, Refused.of(config, name))
        step = Step(INGEST, functools.partial(IngestAll, self.store.url, work), (IMAGES,))
        states = self.engine.run(INGEST, [step], present)
        if any(part.shards for part in work.values()):
            announce(cost_of_copies(self.store, self.run))
        self._check_ingested(assigned, states)
        return states

    def _check_ingested(self, assigned: Assigned, states: States) -> None:
        """Check what only is known when the images of all sources are there.

        Raises:
            ValueError: a source claims that its keys are unique, and they are not.
            NothingLabelled: no image came in.
        """
        for name, config in self.run.all_sources.items():
            check_keys(self.store, config, list(assigned.shards[name]), name)
        check_first_keys(self.store, assigned.work, sorted(states))
        failed = failures.in_ingest(self.store, len(states))
        if failed and failed.is_all:
            raise NothingLabelled(f"no image came in: {failed}; {failed.listing(self.store)}")
        announce(without_images(self.store, assigned.shards))

    def annotate(
        self, title: str, nodes: Sequence[Node], states: States, head: Node | None
    ) -> States:
        """Run the stages on the shards whose inputs are new or have changed."""
        planned = plan(self.store, nodes, states)
        planned.withdraw_stale(self.store)
        publish_graph(self.store, nodes)
        steps = self._steps(nodes, head)
        done = self.engine.run(title, steps, planned.states)
        if not self.keep_going:
            self._check_stages(nodes, len(done))
        return done

    def _check_stages(self, nodes: Sequence[Node], shards: int) -> None:
        """Check that every stage could do at least one sample.

        Raises:
            NothingLabelled: one could do none, so the round lacks all that it gives.
        """
        for node in nodes:
            failed = failures.in_stage(self.store, ref(node), shards)
            if failed and failed.is_all:
                retry = f"`fld retry {shlex.quote(self.store.url)} --stage {node.entry.name}`"
                raise NothingLabelled(
                    f"stage {node.entry.name} labelled nothing: {failed}; "
                    f"{failed.listing(self.store)}; mend the cause and give {retry}, or go on "
                    "without its labels by `fld run --keep-going`"
                )

    def train(self, training: Training) -> str:
        """Train a model, or go on from its newest checkpoint."""
        return train(self.store, self.run.cluster, training)

    def thresholds(self, judged: Node, states: States) -> Mapping[str, Thresholds]:
        """Add up what was counted, and read the thresholds of the merge from it."""
        counted = total(self.store, judged, states)
        return Measured.of(counted, self.run).thresholds

    def judge(self, candidate: Candidate) -> Verdict:
        """Ask the gate."""
        return judge_candidate(self.store, candidate, self.run)

    def publish(self, attempt: Attempt, parent: Attempt | None) -> None:
        """Write what was counted on the round and, last, the verdict."""
        node = attempt.node
        counted = total(self.store, attempt.counted, attempt.states)
        own = total_by_source(self.store, attempt.counted, attempt.states)
        measured = metrics(counted["metrics"], with_changes=parent is not None)
        statistics = Statistics.of(counted["statistics"]).to_dict()
        if own:
            measured["by_source"] = metrics_by_source(own)
            statistics["by_source"] = statistics_by_source(own)
        self.store.publish_json(layout.round_metrics(node.folder), measured)
        self.store.publish_json(layout.round_statistics(node.folder), statistics)
        parts = [RoundPart(**part) for _, part in sorted(counted["parts"].items())]
        publish_parts(self.store, node.folder, parts)
        levels: dict[str, Json] = {}
        for kind, thresholds in merge_thresholds(attempt.nodes).items():
            levels[kind] = asdict(thresholds)
        verdict = attempt.verdict
        if parent is None and not any(measured["kept"].values()):
            # Nobody shall read `accepted` beside zeros.
            verdict = Verdict(EMPTY, "no label was kept: what was dropped, and why, is below", {})
        state = rounds.RoundState(
            round=node.round,
            parent=parent.name if parent else None,
            model=attempt.model,
            models=[model.folder for model in attempt.models],
            status=verdict.status,
            reason=verdict.reason,
            evidence=verdict.evidence,
            levels=levels,
        )
        rounds.publish_round_state(self.store, node.folder, state)
        announce(emptied(self.run.filters, measured, attempt.name))

    def finish(self, head: Attempt, attempts: Sequence[Attempt]) -> None:
        """Write `head.json`. It comes last, so that readers see whole runs only."""
        tried: list[rounds.HeadAttempt] = []
        for attempt in attempts:
            state = rounds.read_round_state(self.store, attempt.node.folder)
            assert state is not None, f"{attempt.name} was not published"
            entry = rounds.HeadAttempt(
                round=attempt.name,
                model=attempt.model,
                status=state.status,
            )
            tried.append(entry)
        chain = rounds.Head(
            round=head.name,
            model=head.model,
            attempts=tried,
        )
        rounds.publish_head(self.store, chain)

    def _steps(self, nodes: Sequence[Node], head: Node | None) -> list[Step]:
        """One step per run of nodes of the same group, in the order of the graph.

        Adjacent nodes of a group share one worker, so that it decodes each image once.
        """
        graph = list(nodes)
        if head:
            # The nodes read the records of the head.
            graph.insert(0, head)
        steps: list[Step] = []
        for group, members in itertools.groupby(nodes, key=attrgetter("group")):
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
        options = node.entry.options
        if isinstance(options, MergeConfig):
            return options.levels
    return {}


def run_loop(
    store: Store,
    run: RunConfig,
    names: Names,
    keep_going: bool = False,
) -> list[Attempt]:
    """Do all that `fld run` does between its lease and its report; the rounds that were tried.

    `names` is what the sources list. With `keep_going`, no number of failed samples ends the run.
    """
    executor = RunExecutor(store, run, keep_going=keep_going)
    loop = Loop(store, run, executor)
    return loop.rounds(names)
