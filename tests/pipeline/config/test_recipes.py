"""The recipes of README.md, "Recipes": they are read from there, so they cannot go out of date."""

import re
import shlex
from pathlib import Path

import numpy as np
import pytest

from pipeline.config.compose import compose
from pipeline.config.models import check_models
from pipeline.config.order import order_of
from pipeline.config.parse import parse
from pipeline.config.run import RunConfig
from pipeline.plan.graph import round_zero
from pipeline.schema import Annotations
from stages.base import Sample
from stages.embedded.scenes import DEMO, render
from stages.filters.region import RegionFilterConfig
from stages.florence.model import CHECKPOINT
from stages.registry import load
from tests.stages.specialists.test_chain import chain
from tests.stages.specialists.test_yolox import ROWS, constant_onnx

README = Path(__file__).parents[3] / "README.md"
ROW = re.compile(r"^\| (?P<name>[^|`]+) \| `(?P<words>[^`]+)` \|", re.MULTILINE)


def recipes() -> dict[str, list[str]]:
    """The settings in the table under "Recipes", by what they are for."""
    section = README.read_text().partition("### Recipes")[2].partition("\n## ")[0]
    rows = ROW.finditer(section)
    return {row["name"].strip(): shlex.split(row["words"].strip()) for row in rows}


@pytest.fixture
def weights(tmp_path: Path) -> str:
    return constant_onnx(tmp_path / "yolox.onnx", np.zeros((1, ROWS, 85)))


def run_of(name: str, *more: str) -> RunConfig:
    words = [word.replace("DIR", str(CHECKPOINT)) for word in recipes()[name]]
    return parse(compose(["experiment=photos", "source.path=x", *words, *more]))


def stages_of(run: RunConfig) -> list[str]:
    nodes = round_zero(run)
    return [node.name.removeprefix("0.") for node in nodes if node.kind == "signals"]


def test_a_class_is_dropped_by_a_threshold_that_no_score_reaches(weights: str) -> None:
    run = run_of("drop a class", f"specialists.detect.weights={weights}")
    settings = run.filters["region"].options
    assert isinstance(settings, RegionFilterConfig)
    assert settings.min_scores == {"ocr": 0.8, "/person": 1.1}


def test_without_ocr_no_stage_reads_text(weights: str) -> None:
    run = run_of("no OCR", f"specialists.detect.weights={weights}")
    assert stages_of(run) == [
        *("detect", "segment", "region_text", "score", "region"),
        *("caption", "describe", "parse", "ground", "text", "triplet"),
    ]


def test_a_server_writes_the_texts_that_are_else_composed(weights: str) -> None:
    name = "texts of a server with the API of OpenAI"
    run = run_of(name, f"specialists.detect.weights={weights}")
    assert {entry.name: entry.use for entry in order_of(run).finders}["ask"] == "endpoint_describe"
    assert stages_of(run) == [
        *("detect", "ocr", "segment", "region_text", "score", "ask", "region"),
        *("caption", "parse", "ground", "text", "triplet"),
    ]


def test_alt_texts_of_the_source_are_scored_and_filtered(weights: str) -> None:
    name = "alt texts that fit their image"
    run = run_of(name, f"specialists.detect.weights={weights}")
    stages = stages_of(run)
    assert stages.index("alt_score") < stages.index("alt_text")


def test_captions_alone_are_written_and_parsed() -> None:
    assert stages_of(run_of("only captions")) == ["caption", "parse", "text", "region", "triplet"]


def test_a_detector_alone(weights: str) -> None:
    run = run_of("only a detector", f"specialists.detect.weights={weights}")
    check_models(run)
    assert stages_of(run) == ["detect", "text", "region", "triplet"]


def test_a_florence_of_ones_own_annotates_in_round_0() -> None:
    small = ["resolution=64", "max_tokens=64"]
    run = run_of(
        "only your own Florence-2", *(f"specialists.annotate.{setting}" for setting in small)
    )
    check_models(run)
    assert stages_of(run) == ["annotate", "parse", "ground", "text", "region", "triplet"]
    order = order_of(run)
    stages = {entry.name: load(entry.use)[0](entry.options) for entry in order.finders}
    scene = Sample(key="0", size=(192, 192), image=render(DEMO, 3, 0).image)
    (sample,) = chain([scene], stages)
    assert isinstance(sample.annotations, Annotations)
    texts = sample.annotations.texts
    assert [text.granularity for text in texts][:1] == ["brief"]
    assert all(text.parse is not None and text.source == "annotate" for text in texts)
    assert {t.text_id for t in sample.annotations.triplets} <= {text.id for text in texts}


def test_a_path_without_its_source_is_refused() -> None:
    with pytest.raises(
        ValueError, match=r"^source\.path: source=scenes has no such setting; it is"
    ):
        parse(compose(["source.path=photos"]))
    run = parse(compose(["source=folder", "source.path=photos"]))
    assert run.source.use == "folder"


def test_every_recipe_of_the_readme_is_tested() -> None:
    assert list(recipes()) == [
        "drop a class",
        "no OCR",
        "texts of a server with the API of OpenAI",
        "alt texts that fit their image",
        "only captions",
        "only a detector",
        "only your own Florence-2",
    ]


@pytest.mark.parametrize(
    ("setting", "message"),
    [
        (
            "filters.region.min_scores={caption: 0.5}",
            "filters.region.min_scores.caption: the stage caption gives no regions or text "
            "regions; choose from detect, ocr",
        ),
        (
            "filters.region.min_scores={ocr/STOP: 0.5}",
            "filters.region.min_scores.ocr/STOP: the stage ocr gives no regions with a class; "
            "choose from detect",
        ),
        (
            "filters.triplet.min_box_scores={detect: 0.5}",
            "filters.triplet.min_box_scores.detect: the stage detect gives no triplets; "
            "choose from ground",
        ),
        (
            "specialists.caption.style=photos",
            "specialists.caption.style=photos: no such vocabulary; did you mean photo?",
        ),
    ],
)
def test_a_threshold_that_nothing_can_meet_is_refused(setting: str, message: str) -> None:
    with pytest.raises(ValueError) as raised:
        parse(compose([setting]))
    assert str(raised.value) == message
