"""`fld bench refinement` and `fld bench bootstrapping`: does the loop improve labels?

Both run `experiment=refinement` (configs/experiment/refinement.yaml) with the same function as
`fld run`, on rendered scenes whose specialists make known mistakes. The labels of the training
images in every round, which are those that would be shipped, are compared with the exact truth. A
region counts as right when its category, size and colour are right and its box overlaps the true
one by an IoU of 0.5 (or 0.75).
"""

from __future__ import annotations

import contextlib
import tempfile
import time
from collections.abc import Iterator, Sequence
from dataclasses import asdict, dataclass
from pathlib import Path
from statistics import fmean, stdev
from typing import TypedDict

from pipeline.benches.refinement_runs import (
    Figure,
    RoundFigures,
    measure_rounds,
    random_model,
    score_sparse_texts,
    shuffled_model,
)
from pipeline.refinement.gate import ACCEPTED
from pipeline.storage.json_types import Json
from stages.base import no_effect

# With no training step, the model of a round is the checkpoint that it starts from.
UNTRAINED = "train.stages=[[64,0]]"
# The figures whose spread over seeds is reported.
SPREAD: tuple[Figure, ...] = ("f1", "f1_75", "caption_accuracy")
# The share of scenes that have a detailed text in the bench of bootstrapping.
SPARSE = (
    "refine.rounds=1",
    "specialists.noisy.detailed=0.05",
    "refine.sparse.texts=[detailed]",
)


@dataclass(frozen=True, slots=True, kw_only=True)
class BootstrappingBenchConfig:
    """Settings of `fld bench bootstrapping`."""

    settings: tuple[str, ...] = ()
    """Further overrides of the experiment, such as `refine.rounds=1`."""
    work: str = ""
    """Local folder that keeps the runs, so that the same command resumes; empty: a temporary
    folder."""


@dataclass(frozen=True, slots=True, kw_only=True)
class RefinementBenchConfig(BootstrappingBenchConfig):
    """Settings of `fld bench refinement`."""

    full: bool = False
    """Also run the other seeds and the controls."""
    seeds: int = 3
    """Runs with different seeds, the first one included."""
    control_rounds: int = 2
    """Most refinement rounds of a control; it begins with the labels of the first run."""

    def without_effect(self) -> Iterator[str]:
        if not self.full:
            reason = "other seeds and controls run with full=true only"
            yield from no_effect(self, ("seeds", "control_rounds"), reason)


def refinement(config: RefinementBenchConfig) -> Json:
    """Measure the labels of every round; `ratio` is the F1 at IoU 0.75 of the last over the first.

    With `full` also the spread over seeds and the controls.
    """
    started = time.time()
    with work_folder(config.work) as work:
        rounds = measure_rounds(work / "seed-0", 0, config.settings)
        f1_75 = head_by_round(rounds, "f1_75")
        result: Json = {
            "name": "refinement",
            "f1_by_round": head_by_round(rounds, "f1"),
            "f1_75_by_round": f1_75,
            "caption_accuracy_by_round": head_by_round(rounds, "caption_accuracy"),
            "ratio": f1_75[-1] / f1_75[0],
            "rounds": rounds,
        }
        if config.full:
            runs = [rounds]
            for seed in range(1, config.seeds):
                other = measure_rounds(work / f"seed-{seed}", seed, config.settings)
                runs.append(other)
            result["seeds"] = spread(runs)
            result["controls"] = run_controls(work, config.settings, config.control_rounds)
    return {**result, "seconds": time.time() - started, "settings": asdict(config)}


def bootstrapping(config: BootstrappingBenchConfig) -> Json:
    """Measure the texts that a model writes for 95% of the scenes after training on the other 5%.

    `ratio` compares the CIDEr of a model that starts from the round's model with that of a model
    that starts from random weights.
    """
    started = time.time()
    with work_folder(config.work) as work:
        target = work / "bootstrapping"
        settings = (*config.settings, *SPARSE)
        tuned = score_sparse_texts(target, (*settings, "refine.sparse.start="))
        random_start = f"refine.sparse.start={random_model(work)}"
        scratch = score_sparse_texts(target, (*settings, random_start))
    return {
        "name": "bootstrapping",
        "ratio": tuned["CIDEr"] / max(scratch["CIDEr"], 1e-9),
        "from_the_rounds_model": tuned,
        "from_scratch": scratch,
        "seconds": time.time() - started,
        "settings": asdict(config),
    }


def run_controls(work: Path, settings: Sequence[str], count: int) -> Json:
    """Repeat the first run with one change each; report F1 by round and what the gate said.

    Every control shares round 0, the filtered specialists. An untrained model answers the same in
    every round, so such a run ends with the first round that the gate rejects.
    """
    first_run = work / "seed-0"
    scratch = random_model(work)
    shuffled = shuffled_model(first_run, 0, settings)
    untrained = (UNTRAINED, "refine.stop=no_gain")
    changes = {
        "start_not_trained": untrained,
        "random_model": (f"refine.start={scratch}", *untrained),
        "trained_on_shuffled_labels": (f"refine.start={shuffled}", *untrained),
        "from_scratch": (f"refine.start={scratch}",),
        "two_folds": ("refine.folds=2",),
    }
    rounds = measure_rounds(first_run, 0, settings)
    results: Json = {"model_without_merge": [row["model"] for row in rounds if row["model"]]}
    for name, overrides in changes.items():
        changed = (*settings, f"refine.rounds={count}", *overrides)
        rounds = measure_rounds(first_run, 0, changed)
        results[name] = {
            "f1_by_round": head_by_round(rounds, "f1"),
            "attempts": [_attempt(row) for row in rounds],
        }
    return results


class ControlAttempt(TypedDict):
    """What a control reports of a round."""

    status: str
    reason: str
    f1: float
    f1_75: float
    model_f1: float | None


def _attempt(row: RoundFigures) -> ControlAttempt:
    """Shorten the measures of a round to what a control reports."""
    return {
        "status": row["status"],
        "reason": row["reason"],
        "f1": row["f1"],
        "f1_75": row["f1_75"],
        "model_f1": row["model"]["f1"] if row["model"] else None,
    }


@contextlib.contextmanager
def work_folder(work: str) -> Iterator[Path]:
    with tempfile.TemporaryDirectory(prefix="fld-bench-") as temporary:
        yield Path(work or temporary)


def head_by_round(rounds: Sequence[RoundFigures], name: Figure) -> list[float]:
    """Return a figure of the head after each round that was tried.

    A rejected round does not become head, so the figure stays as it was.
    """
    values: list[float] = []
    for row in rounds:
        if row["status"] == ACCEPTED:
            values.append(row[name])
        else:
            values.append(values[-1])
    return values


def spread(runs: Sequence[Sequence[RoundFigures]]) -> Json:
    """Return mean and sample standard deviation over seeds of each figure, by round."""
    result: Json = {"count": len(runs)}
    for name in SPREAD:
        by_seed = [head_by_round(rounds, name) for rounds in runs]
        by_round = []
        for values in zip(*by_seed, strict=True):
            deviation = stdev(values) if len(values) > 1 else 0.0
            by_round.append({"mean": fmean(values), "deviation": deviation})
        result[name] = by_round
    return result
