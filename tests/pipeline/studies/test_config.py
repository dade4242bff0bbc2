"""The studies and trainings that ship, and mistakes in them."""

from __future__ import annotations

from importlib import resources
from typing import Any

import pytest

from pipeline.config.compose import compose
from pipeline.studies.config import detector_config, parse, phase_config
from pipeline.studies.scores import TASKS
from pipeline.training import standalone
from stages.florence.model import RESOLUTIONS

NAMES = sorted(
    file.name.removesuffix(".yaml") for file in (resources.files("configs") / "study").iterdir()
)


def study(*overrides: str) -> Any:
    return parse(compose(overrides, "studies"))


@pytest.mark.parametrize("name", NAMES)
def test_every_study_that_ships_is_whole(name: str) -> None:
    made = study(f"study={name}")
    assert made.study == name and made.work == f"work/studies/{name}" and made.rows
    assert set(made.tasks) <= TASKS.keys()
    assert (made.data.seed, made.test.seed) == (101, 909)  # never the same scenes
    config_of = detector_config if made.learner == "detector" else phase_config
    for row in made.rows:
        for phase in made.rows[row].phases:
            assert config_of(made, row, phase).steps > 0


def test_steps_are_at_the_resolution_of_the_study_unless_stages_are_named() -> None:
    phases = (
        "rows.tuned.phases.train.steps=9",
        "rows.tuned.phases.more={stages: [[32, 5], [64, 6]]}",
    )
    made = study("study=clean", "resolution=96", *phases, "seed=7")
    assert phase_config(made, "tuned", "train").stages == ((96, 9),)
    assert phase_config(made, "tuned", "more").stages == ((32, 5), (64, 6))
    assert phase_config(made, "tuned", "more").seed == 7
    backbone = study("study=backbone", "resolution=96")
    assert detector_config(backbone, "pre-trained", "train").resolution == 96
    assert study("study=clean").resolution == RESOLUTIONS["nano"]


def test_a_family_pre_trains_on_its_tasks_alone_and_all_are_tuned_alike() -> None:
    made = study("study=families")
    tasks = {row: set(phase_config(made, row, "pre-train").tasks) for row in made.rows}
    assert tasks["image"] < tasks["image-region"] < tasks["image-region-pixel"]
    assert tasks["image-region-pixel"] - tasks["image-region"] == {
        "<REFERRING_EXPRESSION_SEGMENTATION>",
        "<REGION_TO_SEGMENTATION>",
    }
    assert len({phase_config(made, row, "fine-tune").tasks for row in made.rows}) == 1


@pytest.mark.parametrize(
    ("override", "message"),
    [
        ("resolutoin=64", "did you mean resolution?"),
        ("rows.tuned.sample=3", "did you mean samples?"),
        ("rows.tuned.start=/nowhere", "rows.tuned.start=/nowhere: no such file or folder"),
        ("rows.tuned.phases.train.learning_rat=1", "did you mean learning_rate?"),
        ("data={scenes: 0}", "set one of them"),
    ],
)
def test_a_mistake_is_told_before_anything_runs(override: str, message: str) -> None:
    with pytest.raises(ValueError, match=message.replace("?", r"\?")):
        study("study=clean", override)


def test_the_papers_schedules_see_as_many_examples_as_it_says() -> None:
    for size, batch, high in (("base", 2048, 0.5e9), ("large", 3072, 0.1e9)):
        config = standalone.parse(compose([f"train={size}"], "training")).train
        assert config.batch_size * config.targets_per_image == batch
        (low_resolution, low_steps), (high_resolution, high_steps) = config.stages
        assert (low_resolution, high_resolution) == (384, 768)
        assert low_steps * batch == pytest.approx(
            3e9, rel=1e-5
        ) and high_steps * batch == pytest.approx(high, rel=1e-4)
        assert len(config.tasks) == 15
