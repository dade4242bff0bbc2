"""`fld release diff` tells what a version changed, and why."""

from __future__ import annotations

import json
import shutil
from pathlib import Path

import pytest

from pipeline.cli import main
from pipeline.release.diff import diff
from tests.pipeline.release import rounds
from tests.pipeline.release.rounds import make_round, released


@pytest.fixture
def work(labelled: Path, tmp_path: Path) -> Path:
    return Path(shutil.copytree(labelled, tmp_path / "work"))


def test_equal_versions_have_no_changes(work: Path, capsys: pytest.CaptureFixture[str]) -> None:
    old, new = released(work), released(work, "version=1.0.1")
    assert main(["release", "diff", str(old), str(new)]) == 0
    assert capsys.readouterr().out == "scenes 1.0.0 -> scenes 1.0.1\nno changes\n"


def test_a_takedown_is_told_with_its_reason(
    work: Path, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    takedown, out = tmp_path / "list.txt", tmp_path / "changes.jsonl"
    takedown.write_text("scene_000004\n")
    old, new = released(work), released(work, "version=1.0.1", f"takedown=[{takedown}]")
    assert main(["release", "diff", str(old), str(new), "--out", str(out)]) == 0
    assert capsys.readouterr().out.splitlines() == [
        "scenes 1.0.0 -> scenes 1.0.1",
        "removed: 2 region (sample_removed 2)",
        "removed: 1 sample (takedown 1)",
        "removed: 1 text (sample_removed 1)",
        "removed: 1 text_region (sample_removed 1)",
        "removed: 1 triplet (sample_removed 1)",
    ]
    first = json.loads(out.read_text().splitlines()[0])
    assert first == {
        "what": "removed",
        "type": "sample",
        "key": "scene_000004",
        "id": None,
        "reason": "takedown",
    }
    back = diff(str(new), str(old))
    assert back["added"]["sample"] == {"no_longer_takedown": 1}
    assert back["added"]["region"] == {"sample_added": 2}


def test_labels_that_a_round_changed_are_told_by_type_and_reason(
    work: Path, labelled: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """In the other work folder the filter drops the first region and spares the third one, and the
    captioner is surer."""
    from dataclasses import replace

    from pipeline.schema import Annotations
    from stages.base import Sample

    def region(sample: Sample) -> Annotations:
        first = replace(sample.annotations.regions[0], dropped="too_large")
        return Annotations(regions=[first])

    def caption(sample: Sample) -> Annotations:
        texts = rounds.caption(sample).texts
        return Annotations(texts=[replace(texts[0], score=0.75)])

    monkeypatch.setitem(rounds.STAGES, "region", region)
    monkeypatch.setitem(rounds.STAGES, "caption", caption)
    make_round(tmp_path / "other", labelled.parent / "images")
    found = diff(str(released(work)), str(released(tmp_path / "other")))
    assert found["added"] == {"region": {"by detect": 18}}
    assert found["removed"] == {"region": {"too_large": 18}}
    assert found["changed"] == {"text": {"score": 18}}


def test_a_sample_in_another_split_has_changed(work: Path) -> None:
    old, new = released(work), released(work, "version=2", "splits.test=1.0")
    found = diff(str(old), str(new))
    assert found["changed"] == {"sample": {"split": 18}}
    assert found["added"] == found["removed"] == {}


def test_a_folder_without_a_release_is_a_mistake(
    tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    assert main(["release", "diff", str(tmp_path), str(tmp_path)]) == 2
    assert "no finished release there; give the folder of one" in capsys.readouterr().err
