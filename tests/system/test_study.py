"""`fld study` and `fld export-backbone` from the command line, small."""

from __future__ import annotations

import json
from pathlib import Path

import pytest

from pipeline import cli
from pipeline.config.compose import compose
from pipeline.studies.config import parse
from pipeline.studies.run import run
from tests.system.conftest import fld_here

pytestmark = [pytest.mark.ray, pytest.mark.usefixtures("local_ray")]

TINY = [
    "data.scenes=8",
    "test.scenes=4",
    "max_tokens=24",
    "train.batch_size=4",
    "resolution=32",
    "train.warmup_steps=1",
    "cluster.groups.train.actors=[1,1]",
]


@pytest.fixture(scope="module")
def work(tmp_path_factory: pytest.TempPathFactory) -> Path:
    return tmp_path_factory.mktemp("study")


@pytest.mark.slow
def test_a_study_tests_every_phase_and_a_second_run_does_nothing(work: Path) -> None:
    phases = "{a: {steps: 2}, b: {steps: 3, learning_rate: 0.01}}"
    rows = "rows={start: {}, few: {samples: 4, phases: " + phases + "}}"
    settings = ["study=clean", f"work={work}", *TINY, "~rows", f"+{rows}"]
    made = run(parse(compose(settings, "studies")))
    assert [(r["row"], r["phase"], r["steps"]) for r in made["rows"]] == [
        ("start", "as it is", 0),
        ("few", "a", 2),
        ("few", "b", 3),
    ]
    assert made["rows"][1]["samples"] == 4 and made["rows"][1]["seconds"] > 0
    names = ("caption CIDEr", "detection F1@0.5", "grounding R@1", "region category accuracy")
    assert all(0 <= row["scores"][name] <= 10 for row in made["rows"] for name in names)
    assert made["rows"][1]["model"] != made["rows"][2]["model"]
    before = {
        file: file.stat().st_mtime_ns
        for file in work.rglob("*")
        if file.is_file() and "journal" not in str(file)
    }
    again = fld_here("study", "clean", f"work={work}", *TINY, "~rows", f"+{rows}", "--json")
    assert again.returncode == 0, again.stderr
    assert json.loads(again.stdout)["rows"] == made["rows"] and "test:" not in again.stderr
    assert all(file.stat().st_mtime_ns == time for file, time in before.items())


def test_a_row_trains_a_detector_and_one_that_fails_is_one_line(
    work: Path, capfd: pytest.CaptureFixture[str]
) -> None:
    broken = "{phases: {a: {freeze: [1]}, b: {width: -1}, c: {}}}"
    fresh = "{phases: {train: {pretrained: false}}}"
    settings = [
        f"work={work}/backbone",
        *TINY,
        "detector.steps=2",
        "detector.batch_size=4",
        "~rows",
        "+rows={broken: " + broken + ", fresh: " + fresh + "}",
    ]
    assert cli.main(["study", "backbone", *settings, "--json"]) == 1
    output = capfd.readouterr()
    lines = [line for line in output.err.splitlines() if line.startswith("fld: error:")]
    assert len(lines) == 1
    assert lines[0].startswith("fld: error: broken, b: detector: RuntimeError: ")
    result = json.loads(output.out.splitlines()[-1])
    shown = [(row["row"], row["phase"]) for row in result["rows"]]
    assert shown == [("broken", "a"), ("fresh", "train")]
    assert all(
        set(row["scores"]) == {"detection AP", "detection AP50"} and row["seconds"] > 0
        for row in result["rows"]
    )
    assert [failure["row"] for failure in result["failed"]] == ["broken"]


def test_the_tower_is_exported_and_a_wrong_name_is_one_line(tmp_path: Path) -> None:
    done = fld_here("export-backbone", "nano", str(tmp_path / "tower"), "--json")
    assert done.returncode == 0 and json.loads(done.stdout)["transformers"] == str(
        tmp_path / "tower"
    )
    assert (tmp_path / "tower/model.safetensors").exists()
    wrong = fld_here("export-backbone", "/nowhere", str(tmp_path / "none"))
    assert (
        wrong.returncode == 2
        and wrong.stderr.count("\n") == 1
        and "/nowhere: no such file" in wrong.stderr
    )
