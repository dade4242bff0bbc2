"""`fld bench systematic`: does the loop mend systematic mistakes, and how many human labels does it
take?

It runs `experiment=systematic` (configs/experiment/systematic.yaml) with one specialist and with
two that are fused, each without human labels and with some. The labels of the training images in
every round are compared with the exact truth. Images that people have labelled take no part in
that: their labels are right from the start.
"""

from __future__ import annotations

import time
from collections.abc import Sequence
from dataclasses import asdict, dataclass
from typing import Annotated, TypedDict

from pydantic import Field

from pipeline.benches.refinement import BootstrappingBenchConfig, work_folder
from pipeline.benches.refinement_runs import FinishedRun, run_experiment
from pipeline.config.run import RunConfig
from pipeline.execution.reading import read_rows
from pipeline.plan.graph import Node
from pipeline.quality import truth
from pipeline.refinement.gate import ACCEPTED
from pipeline.rows import Record
from pipeline.schema import Annotations
from pipeline.storage.images import read_truth
from pipeline.storage.json_types import Json
from pipeline.training.selection import has_human_labels, held_out_of
from stages import registry

# The file of `configs/specialists` with two specialists.
PAIR = "noisy_pair"


@dataclass(frozen=True, slots=True, kw_only=True)
class SystematicBenchConfig(BootstrappingBenchConfig):
    """Settings of `fld bench systematic`."""

    specialists: Annotated[tuple[str, ...], Field(min_length=1)] = (
        "noisy_systematic",
        "noisy_pair",
    )
    """Files of `configs/specialists`: one specialist, and two that are fused."""
    human: Annotated[tuple[float, ...], Field(min_length=1)] = (0.0, 0.02, 0.05)
    """Shares of the images that come with human labels; half of these images judge the rounds."""
    seed: int = 0
    """Seed of the scenes, of the mistakes and of the trainings."""


@dataclass(frozen=True, slots=True)
class Compared:
    """A sample whose labels are compared with the truth."""

    record: Record
    truth: Annotations


class Mistakes(TypedDict):
    """The systematic mistakes of one specialist that are left."""

    all: float
    """Wrong names, unseen objects and invented labels, per true object."""
    renamed: float
    """Of the objects that it calls by a wrong name, those whose label has this name."""
    unseen: float
    """Of the objects that are too small for it, those without a label."""
    invented: float
    """Labels at an edge that show nothing, per image."""
    stretch: float
    """By how much the sides of boxes are too long on average."""


class Scores(TypedDict):
    """How good the regions of some labels are; right are the category, the size and the colour."""

    precision: float
    recall: float
    f1: float
    """At an IoU of 0.5."""
    f1_75: float
    """At an IoU of 0.75."""


class SystematicRound(Scores):
    """The labels of one round that was tried."""

    round: int
    status: str
    reason: str
    mistakes: dict[str, Mistakes]
    """By the name of the specialist."""


class Arm(TypedDict):
    """One run of the bench."""

    specialists: str
    """The file of `configs/specialists`."""
    human: float
    """The share of the images with human labels."""
    images: int
    """Images that are compared: trained on, and without human labels."""
    f1_by_round: list[float]
    """Of the labels of every round that was tried, accepted or not."""
    rounds: list[SystematicRound]


def systematic(config: SystematicBenchConfig) -> Json:
    """Measure the labels of every round, without human labels and with some.

    `ratio` is the F1 of the last accepted round over that of round 0, in the run with the most
    specialists and human labels, which is the last one.
    """
    started = time.time()
    arms: list[Arm] = []
    with work_folder(config.work) as work:
        for specialists in config.specialists:
            for share in config.human:
                folder = work / f"{specialists}-human-{share:g}"
                settings = (*_settings(config.seed, specialists, share), *config.settings)
                run = run_experiment(folder, config.seed, settings, "systematic")
                rounds = describe_rounds(run)
                arm: Arm = {
                    "specialists": specialists,
                    "human": share,
                    "images": len(compared_samples(run, run.attempts[0].node)),
                    "f1_by_round": [row["f1"] for row in rounds],
                    "rounds": rounds,
                }
                arms.append(arm)
    accepted = [row["f1"] for row in arms[-1]["rounds"] if row["status"] == ACCEPTED]
    return {
        "name": "systematic",
        "ratio": accepted[-1] / accepted[0],
        "runs": arms,
        "seconds": time.time() - started,
        "settings": asdict(config),
    }


def _settings(seed: int, specialists: str, human: float) -> list[str]:
    """The settings of one run beside those of the experiment."""
    settings = [f"specialists={specialists}", f"source.human={human}"]
    if specialists == PAIR:
        settings += [f"specialists.other.scenes={seed}", f"specialists.other.seed={seed + 1000}"]
    if not human:
        # Nobody can judge, so the rounds are judged as in experiment=refinement.
        settings += ["refine.human_weight=1", "refine.gate.truth=source"]
        settings += ["refine.gate.held_out_human=0"]
    return settings


def describe_rounds(run: FinishedRun) -> list[SystematicRound]:
    """Describe the labels of every round that a run has tried."""
    rounds = []
    for attempt in run.attempts:
        compared = compared_samples(run, attempt.node)
        row: SystematicRound = {
            "round": attempt.node.round,
            "status": attempt.verdict.status,
            "reason": attempt.verdict.reason,
            **_scores(compared),
            "mistakes": _mistakes(run.config, compared),
        }
        rounds.append(row)
    return rounds


def compared_samples(run: FinishedRun, node: Node) -> list[Compared]:
    """The samples of a round that models were trained on and people have not labelled."""
    held_out = held_out_of(run.config.refine.gate)
    compared = []
    for shard in run.store.done(node.folder):
        true_labels = read_truth(run.store, shard)
        records: list[Record] = read_rows(run.store, node, shard)
        for record in records:
            is_human = has_human_labels(record.annotations)
            if not is_human and not held_out.has(record.key, is_human):
                compared.append(Compared(record, true_labels[record.key]))
    return compared


def _scores(compared: Sequence[Compared]) -> Scores:
    """The figures of the labels against truth, rounded to four digits."""
    pairs = [(sample.record.annotations, sample.truth) for sample in compared]
    metrics = truth.score_round(pairs)["metrics"]
    regions = metrics["region_attributes"]
    return {
        "precision": round(regions["precision"], 4),
        "recall": round(regions["recall"], 4),
        "f1": round(regions["f1"], 4),
        "f1_75": round(metrics["region_attributes_75"]["f1"], 4),
    }


def _mistakes(config: RunConfig, compared: Sequence[Compared]) -> dict[str, Mistakes]:
    """The mistakes that are left of each specialist that makes known ones."""
    count = registry.resolve(registry.MISTAKES_LEFT)
    labels = {sample.record.key: sample.record.annotations for sample in compared}
    mistakes = {}
    for name, entry in config.specialists.items():
        if entry.use != "noisy_truth":
            continue
        total = count(entry.options, labels)
        number = total.renamed + total.unseen + total.invented
        left: Mistakes = {
            "all": round(number / max(total.objects, 1), 4),
            "renamed": round(total.renamed / max(total.renamable, 1), 4),
            "unseen": round(total.unseen / max(total.small, 1), 4),
            "invented": round(total.invented / max(len(compared), 1), 4),
            "stretch": round(total.stretch / max(total.placed, 1), 4),
        }
        mistakes[name] = left
    return mistakes
