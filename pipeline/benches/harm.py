"""`fld bench harm`: does a round make labels worse, and does the gate know it without truth?

Round 1 of `experiment=refinement` (configs/experiment/refinement.yaml) is made after trainings of
several lengths, on mistakes of several kinds. The labels after the merge are compared with the
exact truth whether or not the gate accepts them. The gate judges every round twice: with the truth
of the scenes, and without.
"""

from __future__ import annotations

import tempfile
import time
from dataclasses import asdict, dataclass
from pathlib import Path
from typing import Literal, TypedDict

from pipeline.benches.refinement_runs import FinishedRun, run_experiment, shuffled_model
from pipeline.quality.truth import Scores
from pipeline.refinement.gate import Verdict
from pipeline.refinement.loop import Attempt
from pipeline.storage import layout
from pipeline.storage.json_types import Json

Noise = Literal["low", "high"]

NOISE: dict[Noise, tuple[str, ...]] = {
    "low": (),
    "high": (
        "specialists.noisy.missed=0.3",
        "specialists.noisy.spurious=0.3",
        "specialists.noisy.wrong_category=0.2",
        "specialists.noisy.wrong_attribute=0.2",
        "specialists.noisy.jitter=0.15",
        "specialists.noisy.merged=0.1",
    ),
}
"""Settings of the specialists that make mistakes, by name. `low` are the defaults."""
COMPARED = ("region_attributes", "region_attributes_75", "text_tokens", "text_regions", "triplets")
"""The metrics that must not get worse."""
SHUFFLED = 0
"""Stands for a model that has learned the labels of other scenes."""


@dataclass(frozen=True, slots=True, kw_only=True)
class HarmBenchConfig:
    """Settings of `fld bench harm`."""

    steps: tuple[int, ...] = (50, 200, 400, 1000)
    """Training steps of the models, one round each; 0 is a model that has learned the labels of
    other scenes."""
    noise: tuple[Noise, ...] = ("low", "high")
    """Names of the mistakes: low, high."""
    scenes: int = 1500
    """Scenes that are labelled."""
    seed: int = 0
    """Seed of the scenes and of the mistakes."""
    settings: tuple[str, ...] = ()
    """Further overrides of the experiment."""
    work: str = ""
    """Local folder that keeps the runs, so that the same command resumes; empty: a temporary
    folder."""


class HarmRow(TypedDict):
    """A round that was made after one training."""

    noise: str
    steps: int
    before: dict[str, float]
    """F1 of the head's labels by metric, on the samples that were trained on."""
    after: dict[str, float]
    """F1 of the merged labels."""
    with_truth: str
    """What the gate says with truth: accepted, rejected."""
    without_truth: str
    gain: float | None
    """Of the held-out score, with truth; None if nothing was changed."""
    estimated_gain: float | None
    reason: str
    """What the gate says without truth."""


def harm(config: HarmBenchConfig) -> Json:
    """Make the rounds; `worst` is the largest loss of F1 of any metric in any round.

    `same_decision` is the share of rounds that the gate decides alike with and without truth.

    """
    started = time.time()
    rows = []
    with tempfile.TemporaryDirectory(prefix="fld-bench-") as temporary:
        work = Path(config.work or temporary)
        for name in config.noise:
            for steps in config.steps:
                rows.append(_row(work / name, name, steps, config))
    losses = [row["before"][metric] - row["after"][metric] for row in rows for metric in COMPARED]
    alike = [row["with_truth"] == row["without_truth"] for row in rows]
    return {
        "name": "harm",
        "worst": max(losses),
        "same_decision": sum(alike) / len(alike),
        "rows": rows,
        "seconds": time.time() - started,
        "settings": asdict(config),
    }


def _row(work: Path, noise: Noise, steps: int, config: HarmBenchConfig) -> HarmRow:
    """Make a round, and let the gate judge it with and without truth."""
    settings = [*NOISE[noise], f"source.count={config.scenes}", *config.settings]
    if steps == SHUFFLED:
        start = shuffled_model(work, settings)
        trained = [*settings, f"refine.start={start}", "train.stages=[[64,0]]"]
    else:
        trained = [*settings, f"train.stages=[[64,{steps}]]"]
    verdicts = {}
    for truth in ("source", "none"):
        # Only the verdict differs, so all other work of the second run is done.
        overrides = (*trained, "refine.rounds=1", f"refine.gate.truth={truth}")
        run = run_experiment(work, config.seed, overrides)
        verdicts[truth] = run.attempts[1].verdict
    before, after = run.attempts
    return {
        "noise": noise,
        "steps": steps,
        "before": _f1(run, before),
        "after": _f1(run, after),
        "with_truth": verdicts["source"].status,
        "without_truth": verdicts["none"].status,
        "gain": _true_gain(verdicts["source"]),
        "estimated_gain": _estimated_gain(verdicts["none"]),
        "reason": verdicts["none"].reason,
    }


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
