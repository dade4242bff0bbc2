"""The settings of a study: `configs/studies.yaml` and one file of `configs/study`."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, field
from typing import Any, Literal

from pipeline.config.parse import check_there
from pipeline.config.run import ClusterConfig, Positive
from pipeline.config.validation import build
from pipeline.schema import Granularity
from pipeline.studies.data import DataConfig
from stages import registry
from stages.florence.config import TrainConfig
from stages.florence.sizes import RESOLUTIONS


@dataclass(frozen=True, slots=True, kw_only=True)
class RowConfig:
    """One row of the table, or one for each of its phases.

    Phases are trainings one after the other, each with its settings over those of the study; without any, `start` is
    tested as it is. `samples` is how many of the training samples are seen (0: all).
    """

    start: str = ""
    samples: int = 0
    phases: dict[str, Any] = field(default_factory=dict)


@dataclass(frozen=True, slots=True, kw_only=True)
class StudyConfig:
    """What is trained, on what, and what it is tested by: answers with `beams` beams (the authors' examples have 3).

    `learner` is the whole model, or a small detector on its vision tower. `tasks` are asked about the test samples at
    `resolution`, at which a phase trains for its `steps` unless it names `stages`; `texts` are the texts asked for
    and about.
    """

    study: str
    title: str
    work: str
    seed: int
    learner: Literal["florence", "detector"] = "florence"
    start: str = "nano"
    data: DataConfig
    test: DataConfig
    tasks: tuple[str, ...] = ("<OD>",)
    texts: tuple[Granularity, ...] = ("brief",)
    resolution: int = RESOLUTIONS["nano"]
    max_tokens: int = 128
    beams: Positive = 1
    train: dict[str, Any]
    detector: dict[str, Any] = field(default_factory=dict)
    rows: dict[str, RowConfig]
    cluster: ClusterConfig


def parse(values: Mapping[str, Any]) -> StudyConfig:
    """Raises:
    ValueError: one line with the key, the value and what to change.
    """
    rows = {
        name: build(RowConfig, value or {}, f"rows.{name}.")
        for name, value in (values.get("rows") or {}).items()
    }
    study: StudyConfig = build(
        StudyConfig,
        {
            **values,
            "data": build(DataConfig, values["data"], "data."),
            "test": build(DataConfig, values["test"], "test."),
            "rows": rows,
            "cluster": build(ClusterConfig, values["cluster"], "cluster."),
        },
        "",
    )
    for name, row in rows.items():
        check_there(f"rows.{name}.start", row.start or study.start)
        for phase in row.phases:
            phase_config(study, name, phase)
    return study


def phase_config(study: StudyConfig, row: str, phase: str) -> Any:
    """The settings of one training: of the model, or of the detector."""
    where, own = f"rows.{row}.phases.{phase}.", dict(study.rows[row].phases[phase] or {})
    if study.learner == "detector":
        values = {"resolution": study.resolution, **study.detector, **own, "seed": study.seed}
        return build(registry.config_of(registry.resolve(registry.DETECTOR)), values, where)
    if "steps" in own:
        own["stages"] = [[study.resolution, own.pop("steps")]]
    return build(TrainConfig, {**study.train, **own, "seed": study.seed}, where)
