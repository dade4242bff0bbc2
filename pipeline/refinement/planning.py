"""What `fld run` would do: the same loop, with an executor that records instead of working."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass

from pipeline.config.run import RunConfig
from pipeline.ingest.assignment import assign, ingest_state
from pipeline.plan.graph import Node
from pipeline.plan.journal import INGEST
from pipeline.plan.shard_state import plan
from pipeline.refinement.gate import Verdict
from pipeline.refinement.judgements import Judgements
from pipeline.refinement.loop import Attempt, Loop, NotDone, States
from pipeline.refinement.rules import Thresholds
from pipeline.storage.layout import IMAGES
from pipeline.storage.rounds import read_round_state
from pipeline.storage.store import Store
from pipeline.training.run import Training, model_digest


@dataclass(frozen=True, slots=True, kw_only=True)
class PlannedStage:
    """A line of `fld plan`."""

    stage: str
    """The name of a node, or what follows work that must be done first."""

    folder: str | None
    """Where its output lies; None while the fingerprint cannot be known."""

    done: int
    """Shards (or models) that are done."""

    todo: int
    """Shards (or models) that are to do."""


class Recorder:
    """An executor that writes nothing. It raises `NotDone` where the next step needs missing work."""

    def __init__(self, store: Store, run: RunConfig) -> None:
        self.store, self.run = store, run
        self.stages: dict[str, PlannedStage] = {}
        self.shards = 0

    def ingest(self, names: Sequence[str]) -> States:
        assigned = assign(self.store, self.run.source, names, publish=False)
        states = ingest_state(self.store, self.run.source, assigned).states
        self.shards = len(states)
        todo = sum(not state.has(IMAGES) for state in states.values())
        self._record(INGEST, IMAGES, todo, of=self.shards)
        return states

    def annotate(
        self, title: str, nodes: Sequence[Node], states: States, head: Node | None
    ) -> States:
        planned = plan(self.store, nodes, states)
        for node in nodes:
            self._record(node.name, node.folder, planned.todo(node), of=self.shards)
        if any(planned.todo(node) for node in nodes):
            raise _what_follows(nodes[-1])
        return planned.states

    def train(self, training: Training) -> str:
        revision = model_digest(self.store, training)
        self._record(f"{training.number}.train", training.folder, int(revision is None), of=1)
        if revision is None:
            raise NotDone(training.number, "refine")
        return revision

    def thresholds(self, judgements: Judgements) -> Mapping[str, Thresholds]:
        return judgements.thresholds(keep=False)

    def judge(self, judgements: Judgements, last: Node) -> Verdict:
        """The verdict of an earlier `fld run`, which may have been killed before it wrote one."""
        state = read_round_state(self.store, last.folder)
        if state is None:
            raise _what_follows(last)
        return Verdict(state.status, state.reason, state.evidence)

    def publish(self, attempt: Attempt, parent: Attempt | None) -> None:
        """Nothing: a plan writes no files."""

    def finish(self, head: Attempt, attempts: Sequence[Attempt]) -> None:
        """Nothing: a plan writes no files."""

    def announce(self, missing: NotDone) -> None:
        """Record the steps that cannot be planned before the missing work is done."""
        steps = [f"{missing.round_number}.{missing.step}"]
        later = range(missing.round_number + 1, self.run.refine.rounds + 1)
        steps += [f"{number}.train" for number in later]
        if missing.round_number <= self.run.refine.rounds:
            for step in steps:
                self._record(f"{step} and what follows", None, self.shards, of=self.shards)

    def _record(self, stage: str, folder: str | None, todo: int, *, of: int) -> None:
        self.stages[stage] = PlannedStage(stage=stage, folder=folder, done=of - todo, todo=todo)


def plan_run(store: Store, run: RunConfig, names: Sequence[str]) -> list[PlannedStage]:
    """What `fld run` would do, stage by stage; `names` is what the source lists."""
    recorder = Recorder(store, run)
    try:
        Loop(store, run, recorder).rounds(names)
    except NotDone as missing:
        recorder.announce(missing)
    return list(recorder.stages.values())


def _what_follows(node: Node) -> NotDone:
    """The step that needs the output of `node`, the last of the nodes that run together."""
    if node.kind == "round":
        return NotDone(node.round + 1, "train")
    return NotDone(node.round, "merge")
