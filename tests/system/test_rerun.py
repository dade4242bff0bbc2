"""A rerun does only what changed; a killed run gives the same bytes."""

import json
import os
import shutil
import subprocess
from functools import partial
from pathlib import Path

import pytest

from tests.system.conftest import BOXES, SMALL, command, fld_here, kill_when, published

pytestmark = pytest.mark.ray

LABELS = [*SMALL, "refine.rounds=0"]


def plan(work: Path, *overrides: str) -> dict[str, int]:
    done = fld_here("plan", f"work={work}", "--json", *overrides)
    assert done.returncode == 0, done.stderr
    return {line["stage"]: line["todo"] for line in json.loads(done.stdout)["stages"]}


# Files that a run makes while it works on a part: the run is killed when the first one is there.
SPECIALISTS = "signals/detect-*/manifests/*"
TRAINING = "journal/train/models/*/*.done"
ANNOTATION = "signals/refine-*/manifests/*"


@pytest.fixture
def round_zero(small_run: Path, tmp_path: Path) -> Path:
    """A copy of the small run without its round 1, which `fld gc` has removed."""
    work = tmp_path / "work"
    shutil.copytree(small_run, work)
    assert fld_here("run", f"work={work}", *LABELS).returncode == 0
    assert fld_here("gc", str(work)).returncode == 0
    for later in ("models/*", "rounds/01-*", TRAINING, ANNOTATION):
        assert not has_files(work, later)
    return work


@pytest.mark.usefixtures("local_ray")
def test_a_run_that_is_killed_in_its_training_gives_the_same_bytes_with_more_workers(
    small_run: Path, round_zero: Path
) -> None:
    run_and_kill(round_zero, [TRAINING])
    assert published(round_zero) == published(small_run)


@pytest.mark.slow
@pytest.mark.usefixtures("local_ray")
def test_a_run_that_is_killed_three_times_gives_the_same_bytes_with_more_workers(
    small_run: Path, tmp_path: Path
) -> None:
    work = tmp_path / "work"
    run_and_kill(work, [SPECIALISTS, TRAINING, ANNOTATION])
    assert published(work) == published(small_run)


def run_and_kill(work: Path, moments: list[str]) -> None:
    """The small run with two workers, killed when each of these files is there, and then whole."""
    arguments = ["run", f"work={work}", *SMALL, "cluster.workers=2"]
    for files in moments:
        process = subprocess.Popen(
            command(*arguments),
            stdout=subprocess.DEVNULL,
            stderr=subprocess.DEVNULL,
            start_new_session=True,
            text=True,
        )
        assert kill_when(process, partial(has_files, work, files))
    done = fld_here(*arguments)
    assert done.returncode == 0, done.stderr[-3000:]


def has_files(work: Path, pattern: str) -> bool:
    return any(work.glob(pattern))


@pytest.mark.usefixtures("local_ray")
def test_another_threshold_runs_no_stage_that_looks_at_images(
    small_run: Path, tmp_path: Path
) -> None:
    work = tmp_path / "work"
    shutil.copytree(small_run, work)
    before = published(work)
    changed = [*LABELS, "filters.region.min_score=0.6"]
    todo = plan(work, *changed)
    composed = {"caption", "describe", "parse", "ground", "text", "triplet"}
    made_anew = {f"0.{name}" for name in ("region", *composed, "round")}
    assert {stage for stage, count in todo.items() if count} == made_anew
    done = fld_here("run", f"work={work}", *changed)
    assert done.returncode == 0, done.stderr[-3000:]
    assert "specialists" not in done.stderr
    after = published(work)
    made = {
        name.split("/")[1].split("-")[0]
        for name in set(after) - set(before)
        if name.startswith("signals/")
    }
    assert made == {"region", *composed}
    assert {
        n: s for n, s in after.items() if n in before and n not in ("head.json", "report.html")
    } == {n: s for n, s in before.items() if n not in ("head.json", "report.html")}


@pytest.mark.usefixtures("local_ray")
def test_a_pilot_is_reused_and_images_that_come_later_get_shards_of_their_own(
    tmp_path: Path,
) -> None:
    from stages.embedded.source import ScenesConfig, ScenesSource

    photos, work = tmp_path / "photos", tmp_path / "work"
    source = ScenesSource(ScenesConfig(count=10))
    photos.mkdir()
    for item in source.read(source.list()):
        (photos / item.name).write_bytes(item.data)
    folder = ["source=folder", f"source.path={photos}", "source.shard_size=4", *BOXES]
    assert fld_here("run", f"work={work}", *folder, "source.limit=4").returncode == 0
    pilot = {n: s for n, s in published(work).items() if n.startswith(("images", "signals"))}
    assert {n for n in pilot if n.endswith(".tar")} == {"images/shard-000000.tar"}
    assert plan(work, *folder)["0.detect"] == 2

    assert fld_here("run", f"work={work}", *folder).returncode == 0
    full = {n: s for n, s in published(work).items() if "shard-" in n}
    assert {n: full[n] for n in pilot if "shard-" in n} == {
        n: s for n, s in pilot.items() if "shard-" in n
    }

    for item in ScenesSource(ScenesConfig(seed=9, count=3)).read(
        ["scene_000000.jpg", "scene_000001.jpg"]
    ):
        (photos / f"added_{item.name}").write_bytes(item.data)
    assert plan(work, *folder) == {stage: 1 for stage in plan(work, *folder)}
    assert fld_here("run", f"work={work}", *folder).returncode == 0
    after = published(work)
    assert {n: after[n] for n in full} == full
    assert sum(name.startswith("images/shard-") and name.endswith(".tar") for name in after) == 4


def test_two_runs_on_one_work_folder_are_kept_apart(tmp_path: Path) -> None:
    from pipeline.storage import lease
    from pipeline.storage.store import Store

    work = tmp_path / "work"
    with lease.held(Store(str(work))):
        done = fld_here("run", f"work={work}", *SMALL)
    assert done.returncode == 2
    assert (
        done.stderr.strip()
        .splitlines()[-1]
        .startswith(f"fld: error: work={work}: in use by process {os.getpid()}")
    )
