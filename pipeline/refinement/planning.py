"""What `fld run` would do: the same loop, with an executor that records instead of working."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass

from pipeline.config.run import RunConfig
from pipeline.execution.summaries import total
from pipeline.ingest.assignment import Names, assign_all, ingest_state, naming
from pipeline.plan.graph import Node
from pipeline.plan.journal import INGEST, SUMMARY
from pipeline.plan.shard_state import plan
from pipeline.refinement.gate import Verdict
from pipeline.refinement.judgements import Measured
from pipeline.refinement.judging import judge_candidate
from pipeline.refinement.loop import Attempt, Candidate, Loop, NotDone, States
from pipeline.refinement.rules import Thresholds
from pipeline.storage.layout import IMAGES
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
    """An executor that writes nothing.

    It raises `NotDone` where the next step needs work that is missing.
    """

    def __init__(self, store: Store, run: RunConfig) -> None:
        self.store = store
        self.run = run
        self.stages: dict[str, PlannedStage] = {}
        """By name, in the order of the work."""
        self.counts: set[str] = set()
        """The names of the stages that only count what others have made."""
        self.shards = 0
        """How many shards the sources have; known after `ingest`."""

    def ingest(self, names: Names) -> States:
        """Record how many shards are new. The stages after it are planned for all of them."""
        sources = self.run.all_sources
        assigned = assign_all(self.store, sources, names, publish=False)
        states: States = {}
        by_source: dict[str, States] = {}
        for name, config in sources.items():
            with naming(name):
                by_source[name] = ingest_state(self.store, config, assigned.shards[name]).states
            states.update(by_source[name])
        self.shards = len(states)
        self._record(INGEST, IMAGES, _to_bring_in(states), of=self.shards)
        for name, own in by_source.items():
            if name:
                self._record(f"{INGEST} {name}", IMAGES, _to_bring_in(own), of=len(own))
        return states

    def annotate(
        self, title: str, nodes: Sequence[Node], states: States, head: Node | None
    ) -> States:
        """Record the shards of each stage.

        Raises:
            NotDone: there are shards to do, so what follows depends on unknown labels.
        """
        planned = plan(self.store, nodes, states)
        is_done = True
        for node in nodes:
            todo = planned.todo(node)
            if todo:
                is_done = False
            self._record(node.name, node.folder, todo, of=self.shards)
            if node.kind == SUMMARY:
                self.counts.add(node.name)
        if not is_done:
            raise _what_follows(nodes)
        return planned.states

    def train(self, training: Training) -> str:
        """Record whether the model is there.

        Raises:
            NotDone: it is not, so the digest that names all that follows is unknown.
        """
        revision = model_digest(self.store, training)
        todo = 1 if revision is None else 0
        self._record(f"{training.number}.train", training.folder, todo, of=1)
        if revision is None:
            raise NotDone(training.number, "refine")
        return revision

    def thresholds(self, judged: Node, states: States) -> Mapping[str, Thresholds]:
        """The thresholds of the merge; no sum is kept, because a plan writes no files."""
        counted = total(self.store, judged, states, keep=False)
        return Measured.of(counted, self.run).thresholds

    def judge(self, candidate: Candidate) -> Verdict:
        """Ask the gate; the verdict of an earlier run may be one by other settings of the gate."""
        return judge_candidate(self.store, candidate, self.run, keep=False)

    def publish(self, attempt: Attempt, parent: Attempt | None) -> None:
        """Nothing: a plan writes no files."""

    def finish(self, head: Attempt, attempts: Sequence[Attempt]) -> None:
        """Nothing: a plan writes no files."""

    def announce(self, missing: NotDone) -> None:
        """Record the steps that cannot be planned before the missing work is done."""
        steps = [f"{missing.round_number}.{missing.step}"]
        later = range(missing.round_number + 1, self.run.refine.rounds + 1)
        steps += [f"{number}.train" for number in later]
        if missing.round_number > self.run.refine.rounds:
            # The last round is the missing work; nothing follows it.
            return
        for step in steps:
            stage = f"{step} and what follows"
            self._record(stage, None, self.shards, of=self.shards)

    def shown(self) -> list[PlannedStage]:
        """The stages in the order of the work.

        One that only counts is shown if nothing else is left to do.
        """
        stages = [one for one in self.stages.values() if one.stage not in self.counts]
        if any(stage.todo for stage in stages):
            return stages
        return [one for one in self.stages.values() if one in stages or one.todo]

    def _record(self, stage: str, folder: str | None, todo: int, *, of: int) -> None:
        """Record a stage that has `todo` shards (or models) of `of` to do."""
        self.stages[stage] = PlannedStage(
            stage=stage,
            folder=folder,
            done=of - todo,
            todo=todo,
        )


def plan_run(store: Store, run: RunConfig, names: Names) -> list[PlannedStage]:
    """What `fld run` would do, stage by stage; `names` is what the source lists."""
    recorder = Recorder(store, run)
    try:
        Loop(store, run, recorder).rounds(names)
    except NotDone as missing:
        recorder.announce(missing)
    return recorder.shown()


def _to_bring_in(states: States) -> int:
    """How many shards have no images yet."""
    return sum(not state.has(IMAGES) for state in states.values())


def _what_follows(nodes: Sequence[Node]) -> NotDone:
    """The step that needs the output of `nodes`, which run together."""
    number = nodes[0].round
    if any(node.kind == "round" for node in nodes):
        return NotDone(number + 1, "train")
    return NotDone(number, "merge")
