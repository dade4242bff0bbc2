"""`fld bench harm`: does a round make labels worse, and does the gate know it without truth?

Rounds are made after trainings of several lengths, on mistakes of several kinds. The labels after
the merge are compared with the exact truth whether or not the gate accepts them.
"""

from __future__ import annotations

import time
from collections.abc import Iterator
from dataclasses import asdict, dataclass
from typing import Annotated

from pydantic import Field

from pipeline.benches.judged_rounds import (
    Case,
    Noise,
    make_round,
    same_decision,
    worst_change,
)
from pipeline.benches.refinement import BootstrappingBenchConfig, work_folder
from pipeline.storage.json_types import Json


@dataclass(frozen=True, slots=True, kw_only=True)
class HarmBenchConfig(BootstrappingBenchConfig):
    """Settings of `fld bench harm`."""

    steps: Annotated[tuple[int, ...], Field(min_length=1)] = (50, 200, 400, 1000)
    """Training steps of the models, one round each."""
    noise: Annotated[tuple[Noise, ...], Field(min_length=1)] = ("low", "high")
    """Names of the mistakes: low, high, systematic."""
    scenes: int = 1000
    """Scenes that are labelled; a fifth of them is held out."""
    seed: int = 0
    """Seed of the scenes and of the mistakes."""


def harm(config: HarmBenchConfig) -> Json:
    """Make the rounds; `worst_change` is the least change of F1 of any metric in any round.

    `same_decision` is the share of rounds that the gate decides alike with and without truth.
    """
    started = time.time()
    with work_folder(config.work) as work:
        rows = [make_round(work, case) for case in _cases(config)]
    return {
        "name": "harm",
        "worst_change": worst_change(rows),
        "same_decision": same_decision(rows),
        "rows": rows,
        "seconds": time.time() - started,
        "settings": asdict(config),
    }


def _cases(config: HarmBenchConfig) -> Iterator[Case]:
    for noise in config.noise:
        for steps in config.steps:
            yield Case(
                noise=noise,
                model=f"{steps} steps",
                steps=steps,
                scenes=config.scenes,
                seed=config.seed,
                settings=config.settings,
            )
