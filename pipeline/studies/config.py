"""The settings of a study: `configs/studies.yaml` and one file of `configs/study`."""

from __future__ import annotations

from collections.abc import Collection, Iterator
from dataclasses import dataclass, field
from typing import Literal, Protocol

from pipeline.config.contents import check_exists
from pipeline.config.effects import UNUSED_WORKERS, own, typed_groups, unused_groups
from pipeline.config.parse import check_no_seed
from pipeline.config.run import ClusterConfig, Positive
from pipeline.config.validation import Settings, build
from pipeline.schema import Granularity
from pipeline.storage.json_types import Json
from pipeline.studies.data import DataConfig
from stages import registry
from stages.base import no_effect
from stages.florence.config import TrainConfig
from stages.florence.sizes import RESOLUTIONS
from stages.florence.tasks import check_tasks


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

    def __post_init__(self) -> None:
        check_tasks("tasks", self.tasks)

    def without_effect(self, typed: Collection[str] = ()) -> Iterator[str]:
        """A line for each setting without effect; `typed` are names that a user typed."""
        yield from own(self.data, "data.")
        yield from own(self.test, "test.")
        yield from unused_groups(self.cluster, ["train"], typed_groups(typed))
        if "cluster.workers" in typed:
            yield UNUSED_WORKERS
        yield from self._without_learner(typed)
        if all(row.start for row in self.rows.values()):
            yield from no_effect(self, ("start",), "every row has a start of its own; leave it out")
        for name, row in self.rows.items():
            yield from self._row_without_effect(name, row)

    def _without_learner(self, typed: Collection[str]) -> Iterator[str]:
        """Settings of trainings that no row does. Shipped files set some, so typed ones count."""
        idle = []
        if self.learner == "detector":
            idle.append("train")
            reason = "a detector is asked for boxes only; leave it out, or set learner=florence"
            yield from no_effect(self, ("tasks", "texts", "max_tokens", "beams"), reason)
        else:
            yield from no_effect(self, ("detector",), "no row trains a detector; leave it out")
        if not any(row.phases for row in self.rows.values()):
            idle += ["train", "data", "seed"]
        for name in typed:
            if name.partition(".")[0] in idle:
                yield f"{name}: no effect: no row does such a training; leave it out"

    def _row_without_effect(self, name: str, row: RowConfig) -> Iterator[str]:
        where = f"rows.{name}."
        if not row.phases:
            for message in no_effect(row, ("samples",), "the row trains nothing; add phases"):
                yield f"{where}{message}"
        elif 0 < self.data.scenes < row.samples:
            yield (
                f"{where}samples={row.samples}: no effect: there are only "
                f"{self.data.scenes} scenes; raise data.scenes"
            )
        if self.learner == "florence":
            for phase in row.phases:
                yield from own(phase_config(self, name, phase), f"{where}phases.{phase}.")


def parse(values: Json) -> StudyConfig:
    """Build and check the settings of a study from the plain values that hydra composed.

    Raises:
        ValueError: a setting is wrong; one line with the key, the value and what to change.
    """
    rows: dict[str, RowConfig] = {}
    for name, settings in (values.get("rows") or {}).items():
        rows[name] = build(RowConfig, settings or {}, f"rows.{name}.")
    check_no_seed(values.get("train") or {}, "train.")
    check_no_seed(values.get("detector") or {}, "detector.")
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
        for phase, settings in row.phases.items():
            check_no_seed(settings or {}, f"rows.{name}.phases.{phase}.")
            config_of(study, name, phase)
    return study


def phase_config(study: StudyConfig, row: str, phase: str) -> TrainConfig:
    """Return the settings of a phase that trains the model.

    Raises:
        ValueError: a setting of the phase is wrong.
    """
    settings = dict(study.rows[row].phases[phase] or {})
    if "steps" in settings and "stages" in settings:
        raise ValueError(f"rows.{row}.phases.{phase}: set steps or stages, not both")
    if "steps" in settings:
        settings["stages"] = [[study.resolution, settings.pop("steps")]]
    values = {**study.train, **settings, "seed": study.seed}
    config: TrainConfig = build(TrainConfig, values, f"rows.{row}.phases.{phase}.")
    return config


def detector_config(study: StudyConfig, row: str, phase: str) -> DetectorSettings:
    """Return the settings of a phase that trains a detector.

    Raises:
        ValueError: a setting of the phase is wrong.
    """
    settings = study.rows[row].phases[phase] or {}
    values = {"resolution": study.resolution, **study.detector, **settings, "seed": study.seed}
    config_class = registry.config_of(registry.resolve(registry.DETECTOR))
    config: DetectorSettings = build(config_class, values, f"rows.{row}.phases.{phase}.")
    return config
