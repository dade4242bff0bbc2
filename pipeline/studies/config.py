"""The settings of a study: `configs/studies.yaml` and one file of `configs/study`."""

from __future__ import annotations

from dataclasses import dataclass, field
from typing import Literal, Protocol

from pipeline.config.parse import check_exists
from pipeline.config.run import ClusterConfig, Positive
from pipeline.config.validation import Settings, build
from pipeline.schema import Granularity
from pipeline.storage.json_types import Json
from pipeline.studies.data import DataConfig
from stages import registry
from stages.florence.config import TrainConfig
from stages.florence.sizes import RESOLUTIONS


@dataclass(frozen=True, slots=True, kw_only=True)
class RowConfig:
    """One row of the table, or one for each of its phases."""

    start: str = ""
    """Checkpoint that the first phase starts from; empty: that of the study."""
    samples: int = 0
    """How many of the training samples are seen, the first ones; 0: all."""
    phases: dict[str, Json] = field(default_factory=dict)
    """Trainings by name, one after the other, each with its settings over those of the study.
    Without any, the checkpoint is tested as it is."""


class DetectorSettings(Settings, Protocol):
    """What a study reads of the detector's own config, which is reached by the registry."""

    @property
    def steps(self) -> int:
        """Steps of the detector's training."""

    @property
    def batch_size(self) -> int:
        """Images in one step."""

    @property
    def resolution(self) -> int:
        """Side of an image in pixels."""

    @property
    def seed(self) -> int:
        """Seed of everything random in the training."""


@dataclass(frozen=True, slots=True, kw_only=True)
class StudyConfig:
    """What is trained, on which samples, and how it is tested."""

    study: str
    """Name of the study: a file of `configs/study`."""
    title: str
    """Title of the table."""
    work: str
    """Folder of the study: any fsspec URL that all workers can reach."""
    seed: int
    """Seed of everything random in the trainings."""
    learner: Literal["florence", "detector"] = "florence"
    """What a phase trains: the whole model, or a small detector on its vision tower."""
    start: str = "nano"
    """Checkpoint that rows start from: a size in this package, a folder or a hub name."""
    data: DataConfig
    """The samples to train on."""
    test: DataConfig
    """The samples that every model is tested on."""
    tasks: tuple[str, ...] = ("<OD>",)
    """Tokens of the tasks that a model is tested in."""
    texts: tuple[Granularity, ...] = ("brief",)
    """Granularities of the texts that a model is asked for, and whose phrases it is asked about."""
    resolution: int = RESOLUTIONS["nano"]
    """Side of an image in pixels, in tests and in trainings that do not set `stages`."""
    max_tokens: int = 128
    """Most tokens of one answer in a test."""
    beams: Positive = 1
    """Beams of a test's beam search; 1 answers greedily (the authors' examples use 3)."""
    train: Json
    """Settings of all trainings of the model; a phase may also set `steps`, which are then taken at
    `resolution`."""
    detector: Json = field(default_factory=dict)
    """Settings of all detectors."""
    rows: dict[str, RowConfig]
    """The rows of the table, by name."""
    cluster: ClusterConfig
    """Where trainings and tests run; both use the resources of group `train`."""


def parse(values: Json) -> StudyConfig:
    """Build and check the settings of a study from the plain values that hydra composed.

    Raises:
        ValueError: a setting is wrong; one line with the key, the value and what to change.
    """
    rows: dict[str, RowConfig] = {}
    for name, settings in (values.get("rows") or {}).items():
        rows[name] = build(RowConfig, settings or {}, f"rows.{name}.")
    parts = {
        "data": build(DataConfig, values["data"], "data."),
        "test": build(DataConfig, values["test"], "test."),
        "rows": rows,
        "cluster": build(ClusterConfig, values["cluster"], "cluster."),
    }
    study: StudyConfig = build(StudyConfig, {**values, **parts}, "")
    config_of = detector_config if study.learner == "detector" else phase_config
    for name, row in rows.items():
        check_exists(f"rows.{name}.start", row.start or study.start)
        for phase in row.phases:
            config_of(study, name, phase)
    return study


def phase_config(study: StudyConfig, row: str, phase: str) -> TrainConfig:
    """Return the settings of a phase that trains the model.

    Raises:
        ValueError: a setting of the phase is wrong.
    """
    own = dict(study.rows[row].phases[phase] or {})
    if "steps" in own:
        own["stages"] = [[study.resolution, own.pop("steps")]]
    values = {**study.train, **own, "seed": study.seed}
    config: TrainConfig = build(TrainConfig, values, f"rows.{row}.phases.{phase}.")
    return config


def detector_config(study: StudyConfig, row: str, phase: str) -> DetectorSettings:
    """Return the settings of a phase that trains a detector.

    Raises:
        ValueError: a setting of the phase is wrong.
    """
    own = study.rows[row].phases[phase] or {}
    values = {"resolution": study.resolution, **study.detector, **own, "seed": study.seed}
    config_class = registry.config_of(registry.resolve(registry.DETECTOR))
    config: DetectorSettings = build(config_class, values, f"rows.{row}.phases.{phase}.")
    return config
