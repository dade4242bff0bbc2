"""Rounds of refinement that are judged with truth and without: what `harm` and `gate` measure.

A round is round 1 of `experiment=refinement` (configs/experiment/refinement.yaml), made by one
model, on labels with one kind of mistakes.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Literal, TypedDict

from pipeline.benches.refinement_runs import FinishedRun, run_experiment, shuffled_model
from pipeline.quality.truth import Scores
from pipeline.refinement.gate import ACCEPTED, Verdict
from pipeline.refinement.loop import Attempt
from pipeline.storage import layout

Noise = Literal["low", "high", "systematic"]

NOISE: Mapping[Noise, tuple[str, ...]] = {
    "low": (),
    "high": (
        "specialists.noisy.missed=0.3",
        "specialists.noisy.spurious=0.3",
        "specialists.noisy.wrong_category=0.2",
        "specialists.noisy.wrong_attribute=0.2",
        "specialists.noisy.jitter=0.15",
        "specialists.noisy.merged=0.1",
    ),
    "systematic": ("specialists=noisy_systematic",),
}
"""Settings of the specialists that make mistakes, by name. `low` are the defaults."""
HELD_OUT = "refine.gate.held_out=0.2"
"""So many samples are held out that both verdicts are seldom a matter of chance."""
COMPARED = ("region_attributes", "region_attributes_75", "text_tokens", "text_regions", "triplets")
"""The metrics that must not get worse."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Case:
    """How a round is made."""

    noise: Noise
    """The mistakes of the specialists."""
    model: str
    """Name of the model, for people."""
    steps: int
    """Training steps."""
    scenes: int
    """Scenes that are labelled, with those that are held out."""
    seed: int
    """Seed of the scenes and of the mistakes."""
    shuffled: bool = False
    """Whether the model has learned the labels of other scenes."""
    settings: tuple[str, ...] = ()
    """Further overrides of the experiment."""

    @property
    def overrides(self) -> tuple[str, ...]:
        """The overrides of the experiment."""
        scenes = f"source.count={self.scenes}"
        training = f"train.stages=[[64,{self.steps}]]"
        return (*NOISE[self.noise], scenes, HELD_OUT, training, *self.settings)

    @property
    def folder(self) -> str:
        """The name of the work folder; rounds with the same mistakes and scenes share it."""
        return f"{self.noise}-{self.scenes}-seed-{self.seed}"


class JudgedRound(TypedDict):
    """A round, and what the gate says of it."""

    noise: str
    model: str
    steps: int
    before: dict[str, float]
    """F1 of the head's labels by metric, on the samples that were trained on."""
    after: dict[str, float]
    """F1 of the merged labels, whether or not the gate accepts them."""
    with_truth: str
    """What the gate says with truth: accepted, rejected."""
    without_truth: str
    gain: float | None
    """Of the held-out score, with truth; None if nothing was changed."""
    estimated_gain: float | None
    """The same without truth; None if nothing was changed, or if it cannot be estimated."""
    reason: str
    """What the gate says without truth."""


def make_round(folder: Path, case: Case) -> JudgedRound:
    """Make a round, and let the gate judge it with and without truth.

    The work folder is in `folder`. Rounds with the same mistakes and scenes share round 0, and a
    round that has been made there before is not made again.
    """
    work = folder / case.folder
    settings = (*case.overrides, "refine.rounds=1")
    if case.shuffled:
        start = shuffled_model(work, case.seed, settings)
        settings = (*settings, f"refine.start={start}", "train.stages=[[64,0]]")
    # Only the verdict differs, so all other work of the second run is done.
    known = run_experiment(work, case.seed, (*settings, "refine.gate.truth=source"))
    unknown = run_experiment(work, case.seed, (*settings, "refine.gate.truth=none"))
    before, after = known.attempts
    with_truth = after.verdict
    without_truth = unknown.attempts[1].verdict
    return {
        "noise": case.noise,
        "model": case.model,
        "steps": case.steps,
        "before": _f1(known, before),
        "after": _f1(known, after),
        "with_truth": with_truth.status,
        "without_truth": without_truth.status,
        "gain": _true_gain(with_truth),
        "estimated_gain": _estimated_gain(without_truth),
        "reason": without_truth.reason,
    }


def worst_change(rounds: Sequence[JudgedRound]) -> float:
    """The least change of F1 of any metric in any of some rounds; negative if any falls."""
    changes = []
    for row in rounds:
        changes += [row["after"][metric] - row["before"][metric] for metric in COMPARED]
    return min(changes)


def same_decision(rounds: Sequence[JudgedRound]) -> float:
    """The share of the rounds on which the gate decides alike with and without truth."""
    alike = [row["with_truth"] == row["without_truth"] for row in rounds]
    return sum(alike) / len(alike)


def accepted(rounds: Sequence[JudgedRound]) -> list[JudgedRound]:
    """The rounds that the gate accepts without truth."""
    return [row for row in rounds if row["without_truth"] == ACCEPTED]


def _f1(run: FinishedRun, attempt: Attempt) -> dict[str, float]:
    """F1 by metric of the labels of a round, on the samples that were trained on."""
    metrics = run.store.read_json(layout.round_metrics(attempt.node.folder))
    scores: Scores = metrics["truth"]["trained"]
    return {name: round(scores["metrics"][name]["f1"], 4) for name in COMPARED}


def _true_gain(verdict: Verdict) -> float | None:
    differences = verdict.evidence.get("differences")
    return None if differences is None else float(differences["score"]["value"])


def _estimated_gain(verdict: Verdict) -> float | None:
    score = verdict.evidence.get("score")
    return None if score is None else float(score["value"])
