"""Files of answers that cannot be imported are refused in one line."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any

import pytest

from pipeline.cli import main
from tests.pipeline.review.labelled import label, submitted


def test_a_wrong_file_is_one_line(top: Path, capsys: pytest.CaptureFixture[str]) -> None:
    label(top)
    work, file = str(top / "work"), top / "file.json"
    wrong: list[tuple[object, str]] = [
        ({"boxes": []}, "give the JSON export of Label Studio, COCO's instances.json"),
        ([{"data": {"key": "nobody"}}], "has no sample nobody"),
        ([{"data": {"image": "x.jpg"}}], "is it of `fld review`?"),
        ({"round": "x/rounds/00-00000000", "items": []}, "no finished round there"),
        (tasks_with(top, {"rotation": 12}), "is turned; draw it upright"),
        (tasks_with(top, {}) * 2, "two answers for one sample"),
        (crowd(top), "is a crowd; a review takes single boxes only"),
        (tasks_with(top, {"x": None}), "has no left, top, width and height: [None,"),
        (tasks_with(top, {"x": 200}), "has no area inside of the image"),
        (tasks_with(top, {"rectanglelabels": []}), "needs one class"),
    ]
    for content, problem in wrong:
        file.write_text(json.dumps(content))
        capsys.readouterr()
        assert main(["review", "import", work, str(file)]) == 2
        error = capsys.readouterr().err
        assert problem in error and len(error.splitlines()) == 1
    assert not (top / "work" / "reviews").exists()


def tasks_with(top: Path, value: dict[str, Any]) -> list[Any]:
    """Tasks of which the last one has a wrong box."""
    out = top / "out"
    if not out.exists():
        assert main(["review", "export", str(top / "work"), str(out), "--n", "2"]) == 0
    tasks = submitted(json.loads((out / "tasks.json").read_text()))
    tasks[-1]["annotations"][0]["result"][0]["value"].update(value)
    return tasks


def crowd(top: Path) -> Any:
    """COCO's file with a crowd."""
    content = json.loads((top / "out" / "instances.json").read_text())
    content["annotations"][0]["iscrowd"] = 1
    return content


def test_a_file_that_nobody_has_submitted_is_no_review(
    top: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    label(top)
    work, out = str(top / "work"), top / "out"
    assert main(["review", "export", work, str(out), "--n", "3"]) == 0
    assert main(["review", "import", work, str(out / "tasks.json")]) == 2
    assert "none of its 3 samples is submitted" in capsys.readouterr().err
