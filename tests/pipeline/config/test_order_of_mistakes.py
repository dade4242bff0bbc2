"""What is told first of several mistakes, and which values are out of range."""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import fields, is_dataclass
from pathlib import Path
from typing import Any, get_args, get_origin, get_type_hints

import pytest

from pipeline.config.compose import compose
from pipeline.config.parse import parse
from pipeline.config.run import RunConfig
from pipeline.config.validation import MissingSettings, build
from stages import registry

WEIGHTS = "specialists.detect.weights"


def parsed(*overrides: str) -> RunConfig:
    return parse(compose([*overrides, "work=w"]))


@pytest.mark.parametrize(
    ("word", "told"),
    [
        ("sede=1", "sede: no such setting"),
        ("filters.region.min_scor=0.5", "filters.region.min_scor: no such setting"),
        ("filters.region.min_score=50", "filters.region.min_score=50: it must be less than"),
        ("filters.triplet.lists=[none]", "filters.triplet.lists: no phrase list 'none'"),
        ("filters.region.min_scores={dect: 1}", "filters.region.min_scores.dect: no stage has"),
        ("specialists.detect.nms=0.5", "specialists.detect.nms: no such setting"),
        ("specialists.score.after=[]", "specialists.score: it reads candidate_texts"),
        ("refine.stop=maybe", "refine.stop=maybe: it must be"),
        ("train.steps=1", "train.steps: no such setting"),
        ("cluster.worker=1", "cluster.worker: no such setting"),
    ],
)
@pytest.mark.parametrize("weights", ["", "none.onnx"])
def test_every_mistake_is_told_before_weights_that_are_not_set_or_not_there(
    word: str, told: str, weights: str
) -> None:
    words = ["experiment=photos", word]
    if weights:
        words += ["source.path=x", f"{WEIGHTS}={weights}"]
    with pytest.raises(ValueError) as error:
        parsed(*words)
    assert str(error.value).startswith(told)


def test_all_settings_without_a_value_are_told_at_once() -> None:
    with pytest.raises(MissingSettings) as error:
        parsed("experiment=photos", "filters.fit={use: text_score_filter, group: filters}")
    assert str(error.value) == (
        f"source.path, {WEIGHTS} and filters.fit.min_score: not set; give them values "
        f"(source.path=... {WEIGHTS}=... filters.fit.min_score=...)"
    )
    with pytest.raises(MissingSettings) as error:
        parsed("sources.a.use=coco", "sources.b.use=folder")
    assert list(error.value.examples) == ["sources.a.path", "sources.b.path"]
    with pytest.raises(MissingSettings) as error:
        parsed("experiment=photos", "source.path=x")
    assert str(error.value) == f"{WEIGHTS}: not set; give it a value ({WEIGHTS}=...)"


def test_a_job_on_kubernetes_needs_an_image_and_that_is_told_with_the_rest() -> None:
    values = compose(["experiment=photos", "cluster=kuberay", "work=s3://bucket/w"])
    with pytest.raises(MissingSettings) as error:
        parse(values, is_sent=True)
    assert list(error.value.examples) == ["source.path", WEIGHTS, "cluster.kuberay.image"]


def test_a_missing_file_of_classes_is_told_by_its_name(tmp_path: Path) -> None:
    (tmp_path / "a.onnx").touch()
    with pytest.raises(ValueError, match=r"detect\.classes=none\.txt: no such file"):
        parsed(
            "experiment=photos",
            "source.path=x",
            f"{WEIGHTS}={tmp_path}/a.onnx",
            "specialists.detect.classes=none.txt",
            "filters.region.min_scores={/dog: 0.5}",
        )


def _numbers(config: type, where: str) -> Iterator[str]:
    """The names of all numbers in the settings of a filter."""
    hints = get_type_hints(config)
    for field in fields(config):
        hint = hints[field.name]
        if is_dataclass(hint):
            assert isinstance(hint, type)
            yield from _numbers(hint, f"{where}{field.name}.")
        elif hint in (int, float):
            yield f"{where}{field.name}"
        elif get_origin(hint) is not tuple and float in get_args(hint):
            yield f"{where}{field.name}.detect"


NUMBERS = [
    (use, name)
    for use in ("region_filter", "text_filter", "text_score_filter", "triplet_filter")
    for name in _numbers(registry.load(use)[1], "")
]
# What these are compared with has no upper end: pixels, objects, edges, a width.
ENDLESS = ("min_side", "max_objects", "min_object_complexity", "min_action_complexity", "sigma")


@pytest.mark.parametrize(("use", "name"), NUMBERS, ids=str)
def test_a_threshold_of_a_filter_outside_the_range_of_what_it_is_compared_with_is_refused(
    use: str, name: str
) -> None:
    config = registry.load(use)[1]
    for value in (-2, float("nan"), *(() if name.endswith(ENDLESS) else (50,))):
        settings: Any = value
        for part in reversed(name.split(".")):
            settings = {part: settings}
        with pytest.raises(ValueError) as error:
            build(config, {"min_score": 0.1, **settings} if "text_score" in use else settings, "f.")
        assert str(error.value).startswith(f"f.{name}={value}: it must be")


def test_a_threshold_above_every_score_drops_a_class_or_a_source() -> None:
    # README, "Recipes", and `fld calibrate` write such thresholds.
    options: Any = parsed("filters.region.min_scores={/star: 1.1, detect: 1.01}")
    assert options.filters["region"].options.min_scores["/star"] == 1.1
