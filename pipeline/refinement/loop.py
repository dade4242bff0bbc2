"""The loop: label, filter, train, refine, merge, measure, gate, stop.

Round 0 is the output of the specialists after the filters. Round N trains a model on the labels of
the head (the last accepted round). That model annotates all images again and judges the old labels.
Then the merge decides which labels change, the specialists complete what changed, and the filters
run again. The gate compares the new round with the head on samples that no training has seen. Every
round that was tried is stored with its status in `round.json`; only an accepted one becomes head.

`Loop` holds the order of these steps and nothing else: an `Executor` does the work. `fld run` gives
it one that runs stages on Ray (`pipeline.refinement.executor`), `fld plan` one that only records
(`pipeline.refinement.planning`). Finished work is never done again, so the same command resumes.
"""

from __future__ import annotations

import logging
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, replace
from typing import Protocol

from pipeline.config.run import Entry, RunConfig
from pipeline.execution.summaries import total
from pipeline.ingest.assignment import Names
from pipeline.plan import graph
from pipeline.plan.graph import Node, RoundModels, TrainedModel
from pipeline.plan.shard_state import ShardState
from pipeline.plan.summaries import judgement_summary, people_summary, round_summary
from pipeline.refinement.gate import ACCEPTED, Verdict
from pipeline.refinement.rules import Thresholds
from pipeline.refinement.trainings import RoundTrainings
from pipeline.storage import layout
from pipeline.storage.store import Store
from pipeline.training.run import Training

warn = logging.getLogger("fld").warning

States = dict[str, ShardState]


@dataclass(frozen=True, slots=True, kw_only=True)
class Attempt:
    """One round that was tried."""

    nodes: Sequence[Node]
    """The nodes of the round; the last one writes its records."""

    states: States
    """Of every shard: its images, its records of the round, and what was counted of them."""

    verdict: Verdict
    """What the gate decided."""

    counted: Node
    """The node that counts the round (`round_summary`)."""

    models: Sequence[TrainedModel] = ()
    """The models that refined the round; none for round 0."""

    @property
    def node(self) -> Node:
        return self.nodes[-1]

    @property
    def name(self) -> str:
        """`NN-<fingerprint>`, as users see it."""
        return layout.round_name(self.node.folder)

    @property
    def model(self) -> str | None:
        """The folder of the first model, None for round 0."""
        return self.models[0].folder if self.models else None

    @property
    def accepted(self) -> bool:
        return self.verdict.status == ACCEPTED


@dataclass(frozen=True, slots=True, kw_only=True)
class Candidate:
    """A round that is made, and waits for the gate."""

    head: Node
    """The round that it began with."""

    last: Node
    """The node that wrote it."""

    counted: Node
    """The node that counted it (`round_summary`)."""

    judged: Node
    """The node that counted what its models said of the head's labels (`judgements`)."""

    people: Node | None
    """The node that compared it with what people said (`people`); None if they do not judge."""

    states: States


class Executor(Protocol):
    """What the loop asks for.

    Every method may raise `NotDone` where it may not do the work itself.
    """

    def ingest(self, names: Names) -> States:
        """Bring the images that the sources list into the work folder; the state of every shard."""

    def annotate(
        self, title: str, nodes: Sequence[Node], states: States, head: Node | None
    ) -> States:
        """Run `nodes` on every shard; `states` with what they add. They may read `head`."""

    def train(self, training: Training) -> str:
        """Train a model; the digest of its files."""

    def thresholds(self, judged: Node, states: States) -> Mapping[str, Thresholds]:
        """The thresholds of the merge by kind, from what `judged` has counted on all shards."""

    def judge(self, candidate: Candidate) -> Verdict:
        """Whether a round becomes head."""

    def publish(self, attempt: Attempt, parent: Attempt | None) -> None:
        """Write what the round counts and what the gate said of it."""

    def finish(self, head: Attempt, attempts: Sequence[Attempt]) -> None:
        """Write which rounds make up the finished run."""


class NotDone(Exception):
    """Work that only `fld run` does is missing, so that what follows cannot be known yet."""

    def __init__(self, round_number: int, step: str) -> None:
        super().__init__(f"{round_number}.{step}")
        self.round_number, self.step = round_number, step


class Loop:
    """The rounds of one run, one after the other."""

    def __init__(self, store: Store, run: RunConfig, executor: Executor) -> None:
        self.store, self.run, self.executor = store, run, executor

    def rounds(self, names: Names) -> list[Attempt]:
        """Make all rounds and return them; `names` is what the sources list."""
        head = self.round_zero(names)
        attempts = [head]
        models: RoundModels | None = None
        for number in range(1, self.run.refine.rounds + 1):
            models = self.train(number, head, models)
            if models is None:
                warn(
                    f"round {number}: no labels to train on; "
                    "loosen the filters or lower refine.gate.held_out"
                )
                break
            attempt = self.refine(number, head, models)
            attempts.append(attempt)
            if attempt.accepted:
                head = attempt
            elif self.run.refine.stop == "no_gain":
                break
        self.executor.finish(head, attempts)
        return attempts

    def round_zero(self, names: Names) -> Attempt:
        """Ingest the images, run the specialists and the filters."""
        states = self.executor.ingest(names)
        nodes = graph.round_zero(self.run)
        counted = round_summary(self.run, nodes[-1], None)
        states = self.executor.annotate("round 0", [*nodes, counted], states, None)
        verdict = Verdict(ACCEPTED, "the filtered specialists", {})
        attempt = Attempt(
            nodes=nodes,
            states=only(states, (layout.IMAGES, nodes[-1].name, counted.name)),
            verdict=verdict,
            counted=counted,
        )
        self.executor.publish(attempt, None)
        return attempt

    def train(self, number: int, head: Attempt, before: RoundModels | None) -> RoundModels | None:
        """Train the models of round `number`; `before` are those of the round before.

        Returns None when there is nothing to learn from.
        """
        counted = total(self.store, head.counted, head.states, keep=False)
        planned = RoundTrainings(
            self.store,
            self.run,
            head.node,
            head.states,
            counted,
            number,
        )
        refining: list[TrainedModel] = []
        for fold, training in planned.refining(before).items():
            if not len(training.data):
                return None
            revision = self.executor.train(training)
            refining.append(TrainedModel(training.folder, revision, fold))
        sparse = planned.sparse(refining[0])
        if sparse is None:
            return RoundModels(refining)
        revision = self.executor.train(sparse)
        return RoundModels(refining, TrainedModel(sparse.folder, revision))

    def refine(self, number: int, head: Attempt, models: RoundModels) -> Attempt:
        """Annotate and judge with the models, merge, complete, filter; then ask the gate."""
        title = f"round {number}"
        # What a new round takes over from its head: the images and the head's labels.
        states = only(head.states, (layout.IMAGES, head.node.name))
        refining = graph.refine_nodes(self.run, number, head.node, models)
        witnesses = graph.witness_nodes(self.run, number, head.node, models)
        judged = judgement_summary(self.run, refining, witnesses, head.node)
        looking = [*refining, *witnesses, judged]
        annotated = self.executor.annotate(title, looking, states, head.node)
        thresholds = self.executor.thresholds(judged, annotated)
        merge = with_thresholds(self.run.refine.merge, thresholds)
        nodes = graph.next_round(self.run, number, head.node, models, merge)
        last = nodes[-1]
        counted = round_summary(self.run, last, head.node)
        people = people_summary(self.run, last, head.node)
        counting = [counted, judged, people] if people else [counted, judged]
        # The witnesses stay in the journal, so that `fld retry` and `fld gc` know them.
        everything = [*witnesses, *nodes, *counting]
        states = self.executor.annotate(title, everything, states, head.node)
        candidate = Candidate(
            head=head.node,
            last=last,
            counted=counted,
            judged=judged,
            people=people,
            states=states,
        )
        attempt = Attempt(
            nodes=nodes,
            states=only(states, (layout.IMAGES, last.name, counted.name)),
            verdict=self.executor.judge(candidate),
            counted=counted,
            models=models.refining,
        )
        self.executor.publish(attempt, head)
        return attempt


def only(states: States, names: Sequence[str]) -> States:
    """The states with some of their finished nodes; the others take much memory."""
    return {shard: state.only(names) for shard, state in states.items()}


def with_thresholds(merge: Entry, thresholds: Mapping[str, Thresholds]) -> Entry:
    """The merge stage with the thresholds that were measured for it."""
    return replace(merge, options=replace(merge.options, levels=thresholds))
