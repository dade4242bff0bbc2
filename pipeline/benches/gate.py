"""`fld bench gate`: does the gate decide without truth as it does with truth?

Good and bad rounds are made by good and bad models, on mistakes of three kinds, and each is judged
twice.
"""

from __future__ import annotations

import io
import time
from collections.abc import Iterator, Sequence
from dataclasses import asdict, dataclass
from pathlib import Path
from typing import Annotated, Literal

from pydantic import Field

from pipeline.benches.judged_rounds import (
    Case,
    JudgedRound,
    Noise,
    accepted,
    make_round,
    same_decision,
    worst_change,
)
from pipeline.benches.refinement import BootstrappingBenchConfig, work_folder
from pipeline.refinement.gate import ACCEPTED
from pipeline.storage.json_types import Json

Model = Literal["weak", "short", "medium", "trained", "sabotaged", "overfitted"]

STEPS: dict[Model, int] = {
    "weak": 200,
    "short": 400,
    "medium": 1000,
    "trained": 2000,
    "sabotaged": 400,
    "overfitted": 1000,
}
"""Training steps of each model. A sabotaged one learns the labels of other scenes, an overfitted
one sees few scenes so often that it learns their mistakes by heart."""
FEW = 5
"""The scenes of an overfitted model are one in so many."""


@dataclass(frozen=True, slots=True, kw_only=True)
class GateBenchConfig(BootstrappingBenchConfig):
    """Settings of `fld bench gate`."""

    models: Annotated[tuple[Model, ...], Field(min_length=1)] = tuple(STEPS)
    """Models, each of which makes a round: weak (200 training steps), short (400), medium (1,000),
    trained (2,000), sabotaged (has learned the labels of other scenes), overfitted (has seen few
    scenes too often)."""
    noise: Annotated[tuple[Noise, ...], Field(min_length=1)] = ("low", "high", "systematic")
    """Names of the mistakes: low, high, systematic."""
    scenes: int = 1000
    """Scenes that are labelled; a fifth of them is held out."""
    seed: int = 0
    """Seed of the scenes and of the mistakes."""
    plot: str = ""
    """Path of a PNG file with the estimated against the true gain of every round; empty: none."""


def gate(config: GateBenchConfig) -> Json:
    """Judge the rounds; `same_decision` is the share that is decided alike, with truth and without.

    `worst_accepted` is the least change of F1 of any metric in a round that is accepted without
    truth; None if none is.
    """
    started = time.time()
    with work_folder(config.work) as work:
        rows = []
        for case in _cases(config):
            rows.append(make_round(work, case))
    if config.plot:
        Path(config.plot).write_bytes(_plot(rows))
    good = accepted(rows)
    return {
        "name": "gate",
        "same_decision": same_decision(rows),
        "rounds": len(rows),
        "accepted": len(good),
        "worst_accepted": worst_change(good) if good else None,
        "rows": rows,
        "seconds": time.time() - started,
        "settings": asdict(config),
    }


def _cases(config: GateBenchConfig) -> Iterator[Case]:
    for noise in config.noise:
        for model in config.models:
            yield Case(
                noise=noise,
                model=model,
                steps=STEPS[model],
                scenes=config.scenes // (FEW if model == "overfitted" else 1),
                seed=config.seed,
                shuffled=model == "sabotaged",
                settings=config.settings,
            )


def _plot(rows: Sequence[JudgedRound]) -> bytes:
    """Draw the estimated against the true gain of the held-out score, as a PNG file.

    Rounds that change nothing gain nothing; they are counted in the title only.
    """
    from matplotlib.figure import Figure

    figure = Figure(figsize=(5, 4.5), layout="constrained", dpi=110)
    axes = figure.subplots()
    changing = [row for row in rows if row["gain"] is not None]
    for number, noise in enumerate(dict.fromkeys(row["noise"] for row in changing)):
        same = [row for row in changing if row["noise"] == noise]
        true = [row["gain"] or 0.0 for row in same]
        estimated = [row["estimated_gain"] or 0.0 for row in same]
        axes.scatter(true, estimated, label=f"{noise} mistakes")
        # Rounds of two kinds of mistakes may lie side by side: each kind has its side of the point.
        below = (6, 5 - 8 * number)
        for row, place in zip(same, zip(true, estimated, strict=True), strict=True):
            mark = row["model"] + ("" if row["without_truth"] == ACCEPTED else " (rejected)")
            axes.annotate(mark, place, below, fontsize=7, textcoords="offset points")
    axes.axline((0, 0), slope=1, color="grey", linewidth=0.8)
    axes.margins(0.15)
    unchanged = len(rows) - len(changing)
    axes.set(
        xlabel="true gain of the held-out score (mean F1)",
        ylabel="estimated gain, without truth",
        title=f"{len(changing)} of {len(rows)} rounds; {unchanged} change nothing",
    )
    axes.legend(frameon=False, loc="lower right")
    picture = io.BytesIO()
    figure.savefig(picture, format="png")
    return picture.getvalue()
