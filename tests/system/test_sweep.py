"""`fld run -m`: one run after another, and a line for each."""

from __future__ import annotations

from pathlib import Path

import pytest

from tests.system.conftest import fld_here, published


def test_a_run_that_fails_stops_no_other_and_the_exit_code_says_so(tmp_path: Path) -> None:
    missing = f"source.path={tmp_path}/a,{tmp_path}/b"
    done = fld_here("run", "-m", "source=folder", missing, f"work={tmp_path}/w")
    assert done.returncode == 1
    first, second = done.stdout.splitlines()
    assert (
        f"{tmp_path}/w/source.path=" in first and f": failed: source.path={tmp_path}/a: " in first
    )
    assert f": failed: source.path={tmp_path}/b: " in second


def test_all_runs_are_checked_before_the_first_one(tmp_path: Path) -> None:
    done = fld_here("run", "-m", "seed=1,2", "refine.rounds=0,-1", f"work={tmp_path}/w")
    assert done.returncode == 2
    assert "refine.rounds=-1: it must be greater than or equal to 0" in done.stderr
    assert not (tmp_path / "w").exists()


def test_a_setting_of_a_submission_has_no_effect_here(tmp_path: Path) -> None:
    words = ["source=folder", f"source.path={tmp_path}/a", f"work={tmp_path}/w", "cluster=slurm"]
    done = fld_here("run", *words, "cluster.slurm.nodes=2")
    message = "fld: warning: cluster.slurm.nodes: no effect: only `fld submit` reads it"
    assert message in done.stderr.splitlines()


@pytest.mark.slow
@pytest.mark.ray
@pytest.mark.usefixtures("local_ray")
def test_each_run_has_a_work_folder_and_the_same_command_does_nothing_again(tmp_path: Path) -> None:
    words = ["-m", "source.count=1,2", "refine.rounds=0", f"work={tmp_path}/w", "cluster.workers=1"]
    done = fld_here("run", *words)
    assert done.returncode == 0, done.stderr[-3000:]
    assert done.stdout.splitlines() == [
        f"{tmp_path}/w/source.count=1: done",
        f"{tmp_path}/w/source.count=2: done",
    ]
    works = sorted((tmp_path / "w").iterdir())
    before = [published(work) for work in works]
    assert fld_here("run", *words).returncode == 0
    assert [published(work) for work in works] == before
