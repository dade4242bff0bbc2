"""A user's mistake: one line names the value and what to change.

The exit code is 2, and nothing is written.
"""

from pathlib import Path

import pytest

from tests.system.conftest import fld, fld_here


@pytest.mark.parametrize(
    ("overrides", "message"),
    [
        (
            ["filters.region.min_scoer=0.5"],
            "filters.region.min_scoer: no such setting; did you mean min_score?",
        ),
        (
            ["source=folder", "source.path={tmp}/nowhere"],
            "source.path={tmp}/nowhere: no such folder or file",
        ),
        (
            ["source=folder", "source.path={tmp}/empty"],
            "source.path={tmp}/empty: nothing to read in it",
        ),
        (["source=folder"], "source.path: not set; give it a value (source.path=...)"),
        (
            [
                "experiment=photos",
                "source.path={tmp}/photos",
                "specialists.detect.weights={tmp}/none.onnx",
            ],
            "specialists.detect.weights={tmp}/none.onnx: no such file or folder",
        ),
        (["refine.start={tmp}/no-model"], "refine.start={tmp}/no-model: no such file or folder"),
        (["work={tmp}/file/below"], "work={tmp}/file/below: {tmp}/file is a file; give a folder"),
    ],
)
def test_a_mistake_costs_one_line_and_writes_nothing(
    tmp_path: Path, overrides: list[str], message: str
) -> None:
    (tmp_path / "empty").mkdir()
    (tmp_path / "photos").mkdir()
    (tmp_path / "photos" / "a.jpg").write_bytes(b"")
    (tmp_path / "file").write_text("")
    before = sorted(tmp_path.rglob("*"))
    done = fld_here("run", f"work={tmp_path}/work", *(o.format(tmp=tmp_path) for o in overrides))
    lines = done.stderr.strip().splitlines()
    assert (done.returncode, len(lines)) == (2, 1), done.stderr
    assert lines[0].startswith(f"fld: error: {message.format(tmp=tmp_path)}")
    assert sorted(tmp_path.rglob("*")) == before


@pytest.mark.subprocess
def test_a_mistake_costs_one_line_at_the_shell_too(tmp_path: Path) -> None:
    done = fld("run", "experiment=photos", f"source.path={tmp_path}", f"work={tmp_path}/work")
    assert (done.returncode, done.stdout) == (2, ""), done.stderr
    (line,) = done.stderr.strip().splitlines()
    assert line.startswith("fld: error: ")
    assert not list(tmp_path.iterdir())
