"""Which weights `fld label` finds, and what it says where there are none."""

from __future__ import annotations

import shutil
from pathlib import Path

import numpy as np
import pytest

from pipeline import cli
from pipeline.commands import label_folder
from pipeline.config.compose import compose
from pipeline.config.parse import parse
from pipeline.models import found
from pipeline.models.found import find_weights
from stages.florence.model import CHECKPOINT
from stages.hub import CACHE_VARIABLE, HubModel
from tests.stages.specialists.test_yolox import ROWS, constant_onnx, field

COMMIT = "0123456789" * 4


@pytest.fixture(autouse=True)
def here(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    monkeypatch.setenv(CACHE_VARIABLE, str(tmp_path / "cache"))
    monkeypatch.setattr(found, "GPU_FOLDER", str(tmp_path / "none"))
    # The packaged checkpoint stands for a Florence-2 for photos.
    monkeypatch.setattr(found, "RESOLUTION", 64)
    monkeypatch.chdir(tmp_path)
    return tmp_path


def detector(path: Path, classes: int = 80) -> Path:
    path.parent.mkdir(parents=True, exist_ok=True)
    return Path(constant_onnx(path, np.zeros((1, ROWS, 5 + classes))))


def test_without_weights_one_line_says_what_to_do(
    here: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    (here / "photos").mkdir()
    (here / "photos/a.jpg").write_bytes(b"x")
    assert cli.main(["label", "photos"]) == 2
    said = capsys.readouterr()
    assert said.out == "" and said.err == (
        "fld: error: no weights here; `fld models fetch experiment=photos` gets a detector "
        "(yolox_s.onnx, 36 MB), or give the folder of yours by --models FOLDER. Looked for a YOLOX "
        f"(.onnx) and a Florence-2 in {here}, {here}/models, {here}/weights, {here}/cache\n"
    )
    assert not (here / "work").exists()


@pytest.mark.parametrize(
    ("words", "message"),
    [
        (["nowhere"], "nowhere: no such folder"),
        (["notes.txt"], "notes.txt: it is a file; give the folder that it is in"),
        (["empty"], "empty: no photos in it; looked for .jpg, .jpeg, "),
        (["photos", "--models", "nowhere"], "--models nowhere: no such folder"),
    ],
)
def test_a_folder_that_cannot_be_used_is_told_before_weights_are_looked_for(
    here: Path, capsys: pytest.CaptureFixture[str], words: list[str], message: str
) -> None:
    (here / "photos/2026").mkdir(parents=True)
    (here / "photos/2026/a.JPG").write_bytes(b"x")
    (here / "empty").mkdir()
    (here / "notes.txt").write_text("x")
    assert cli.main(["label", *words]) == 2
    (error,) = capsys.readouterr().err.splitlines()
    assert error.startswith(f"fld: error: {message}")


@pytest.mark.parametrize(
    ("words", "message"),
    [
        (["filters.region.min_scor=0.5"], "filters.region.min_scor: no such setting; did you"),
        (["filters.region.min_score=50"], "filters.region.min_score=50: it must be less than"),
        (["specialists.detect.weights=a.onnx"], "specialists.detect.weights=a.onnx: no such file"),
    ],
)
def test_a_wrong_setting_is_told_although_there_are_no_weights(
    here: Path, capsys: pytest.CaptureFixture[str], words: list[str], message: str
) -> None:
    (here / "photos").mkdir()
    (here / "photos/a.jpg").write_bytes(b"x")
    assert cli.main(["label", "photos", *words]) == 2
    (error,) = capsys.readouterr().err.splitlines()
    assert error.startswith(f"fld: error: {message}")


def test_what_labels_is_told_as_the_user_has_set_it(here: Path) -> None:
    weights = detector(here / "models/a.onnx")
    other = detector(here / "b.onnx")
    words = [*find_weights(["models"]).recipe(), "source.path=x", "work=w", "refine.rounds=0"]
    run = parse(compose(words))
    assert label_folder._used(run).startswith(f"labels by the detector {weights.relative_to(here)}")
    run = parse(compose([*words, f"specialists.detect.weights={other}"]))
    assert label_folder._used(run).startswith(f"labels by the detector {other}, RapidOCR")


def test_of_several_detectors_the_largest_whole_one_is_taken(here: Path) -> None:
    detector(here / "models/small.onnx")
    large = detector(here / "models/yolox/large.onnx")
    # The sixth field of an ONNX file is a text about the model.
    large.write_bytes(large.read_bytes() + field(6, b"x" * 1000))
    (here / "models/broken.onnx").write_bytes(bytes(5_000_000))
    detector(here / "models/other_classes.onnx", classes=7)
    weights = find_weights(["models"])
    assert weights.detector == Path("models/yolox/large.onnx")
    assert weights.florence == "" and weights.is_enough and not weights.uses_florence


def test_a_florence_labels_where_there_is_a_gpu_or_no_detector(
    here: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    shutil.copytree(CHECKPOINT, here / "models/florence")
    weights = find_weights(["models"])
    assert weights.florence == "models/florence" and weights.uses_florence
    detector(here / "models/a.onnx")
    assert not find_weights(["models"]).uses_florence
    (here / "gpus/0").mkdir(parents=True)
    monkeypatch.setattr(found, "GPU_FOLDER", str(here / "gpus"))
    weights = find_weights(["models"])
    assert weights.uses_florence
    run = parse(compose([*weights.recipe(), "source.path=x", "work=w", "refine.rounds=0"]))
    assert run.cluster.group("florence").gpus == 1
    assert list(run.specialists) == ["annotate", "parse", "ground"]


def test_a_half_florence_and_one_for_small_images_are_not_taken(
    here: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    folder = here / "models/florence"
    shutil.copytree(CHECKPOINT, folder)
    weights = folder / "model.safetensors"
    data = weights.read_bytes()
    weights.write_bytes(data[:-1])
    assert find_weights(["models"]).florence == ""
    weights.write_bytes(data)
    monkeypatch.setattr(found, "RESOLUTION", 768)
    assert find_weights(["models"]).florence == ""


def test_a_florence_of_the_cache_is_found_by_its_name_and_commit(here: Path) -> None:
    model = HubModel("florence-community/Florence-2-base", COMMIT)
    shutil.copytree(CHECKPOINT, model.folder)
    assert find_weights(["."]).florence == f"florence-community/Florence-2-base@{COMMIT}"


def test_better_weights_are_told_with_the_commands_that_get_them(here: Path) -> None:
    detector(here / "models/a.onnx")
    boxes, captions = label_folder._better(find_weights(["models"]), "my photos")
    assert boxes == (
        "more boxes: `fld models fetch experiment=photos` (yolox_s.onnx, 36 MB, COCO AP 40.5), then"
        " this command again"
    )
    assert captions == (
        "captions by a model, on a GPU: `fld models fetch experiment=one_gpu` (about 22 GB), then "
        "`fld run experiment=one_gpu source.path='my photos'`"
    )
