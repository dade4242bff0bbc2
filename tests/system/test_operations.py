"""Commands on a finished run: retry failures, find and mend a flipped byte, remove unused files."""

import json
import shutil
from collections.abc import Iterator
from contextlib import chdir
from os.path import relpath
from pathlib import Path
from typing import Any

import pyarrow.parquet as pq
import pytest

from pipeline.config import saved
from pipeline.maintenance.retry import withdraw
from pipeline.storage import lease
from pipeline.storage.store import Store
from stages.embedded.source import ScenesConfig, ScenesSource
from tests.system.conftest import BOXES, fld_here, published

pytestmark = [pytest.mark.ray, pytest.mark.usefixtures("local_ray")]

HICCUP = [
    "scene_000001.jpg",
    "scene_000004.jpg",
    "scene_000005.jpg",
    "scene_000008.jpg",
    "scene_000010.jpg",
]


@pytest.fixture(scope="module")
def folder(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A folder with 12 scenes and a file that is no image, and two work folders.

    5 scenes cannot be read when `before` is made. `work` is a copy of it, in which they were
    retried once they could be read, by a command in another directory.
    """
    top = tmp_path_factory.mktemp("operations")
    photos = top / "photos"
    photos.mkdir()
    source = ScenesSource(ScenesConfig(count=12))
    contents = {item.name: item.data for item in source.read(source.list())}
    for name, data in contents.items():
        (photos / name).write_bytes(data) if name not in HICCUP else (photos / name).symlink_to(
            top / "nowhere"
        )
    (photos / "text.jpg").write_bytes(b"no image")
    arguments = [
        "source=folder",
        f"source.path={relpath(photos)}",
        "source.shard_size=6",
        *BOXES,
    ]
    done = fld_here("run", f"work={top / 'before'}", *arguments)
    assert done.returncode == 0, done.stderr[-3000:]
    for name in HICCUP:
        (photos / name).unlink()
        (photos / name).write_bytes(contents[name])
    shutil.copytree(top / "before", top / "work")
    with chdir(top):
        done = fld_here("retry", str(top / "work"), "--json")
    assert done.returncode == 0, done.stderr[-3000:]
    assert json.loads(done.stdout) == {"retried": {"ingest": {"unreadable": 5}}}
    return top


@pytest.fixture
def work(folder: Path, tmp_path: Path) -> Iterator[Path]:
    yield Path(shutil.copytree(folder / "work", tmp_path / "work"))


def status(work: Path) -> dict[str, Any]:
    state: dict[str, Any] = json.loads(fld_here("status", str(work), "--json").stdout)
    return state


def resumed(work: Path, *overrides: str) -> None:
    done = fld_here("run", "--config", str(work / "config.yaml"), f"work={work}", *overrides)
    assert done.returncode == 0, done.stderr[-3000:]


def test_each_failure_is_listed_with_its_reason(folder: Path) -> None:
    state = status(folder / "before")
    listed = {failure["name"]: failure["reason"] for failure in state["failures"]}
    assert listed == {**dict.fromkeys(HICCUP, "unreadable"), "text.jpg": "not_an_image"}
    assert state["failures_total"] == 6
    assert all(
        s["samples"]["in"] == s["samples"]["kept"] + sum(s["samples"]["failed"].values())
        for s in state["stages"]
    )


def test_after_a_hiccup_exactly_the_samples_that_failed_are_done(folder: Path) -> None:
    before, after = published(folder / "before"), published(folder / "work")
    shards = {name for name in before if "shard-" in name}
    assert {name: after[name] for name in shards} == {name: before[name] for name in shards}
    new = {Path(name).name.split(".")[0] for name in set(after) - shards if "shard-" in name}
    assert new == {"shard-000003"}
    assert pq.read_table(folder / "work/images/shard-000003.parquet")["name"].to_pylist() == HICCUP
    state = status(folder / "work")
    assert [failure["name"] for failure in state["failures"]] == ["text.jpg"]
    stages = {stage["stage"]: stage["samples"] for stage in state["stages"]}
    assert stages["ingest"] == {"in": 13, "kept": 12, "failed": {"not_an_image": 1}}
    assert stages["0.detect"] == {"in": 12, "kept": 12, "failed": {}}


def test_a_retry_that_was_killed_is_gone_on_with_by_the_next_one(
    folder: Path, tmp_path: Path
) -> None:
    work = Path(shutil.copytree(folder / "before", tmp_path / "work"))
    store = Store(str(work))
    assert withdraw(store, saved.load(store), None, None) == {
        "ingest": {"unreadable": 5}
    }  # and then kill -9
    assert json.loads(fld_here("retry", str(work), "--json").stdout) == {"retried": {}}
    assert published(work) == published(folder / "work")


def test_a_retry_of_what_still_fails_changes_nothing(work: Path) -> None:
    before = published(work)
    done = fld_here("retry", str(work))
    assert done.returncode == 0 and done.stdout.endswith("nothing failed that works now\n")
    assert published(work) == before


def test_explain_tells_of_the_first_try_and_of_images_that_never_came_in(folder: Path) -> None:
    story = json.loads(fld_here("explain", str(folder / "work"), "scene_000004", "--json").stdout)
    assert (story["shard"], story["name"]) == ("shard-000003", "scene_000004.jpg")
    assert [(each["shard"], each["failed"]) for each in story["tries"]] == [
        ("shard-000000", "unreadable")
    ]
    assert [stage["stage"] for stage in story["stages"]] == ["0.detect", "0.region"]
    (round_,) = story["rounds"]
    assert round_["status"] == "accepted" and round_["annotations"]["regions"]
    missing = fld_here("explain", str(folder / "work"), "text.jpg").stdout
    assert "FAILED not_an_image" in missing and "shard: shard-000002" in missing


FLIPPED = [
    "images/shard-000001.tar",
    "signals/detect-*/shard-000000.parquet",
    "rounds/00-*/shards/shard-000001.tar",
]


def test_a_flipped_byte_is_found_named_and_mended_by_the_next_run(work: Path) -> None:
    clean = published(work)
    broken = [path for pattern in FLIPPED for path in work.glob(pattern)]
    assert len(broken) == len(FLIPPED)
    for path in broken:
        data = bytearray(path.read_bytes())
        data[1000] ^= 4
        path.write_bytes(data)
    names = sorted(str(path.relative_to(work)) for path in broken)
    assert fld_here("verify", str(work)).returncode == 0
    looked = fld_here("verify", str(work), "--deep", "--dry-run")
    found = fld_here("verify", str(work), "--deep", "--json")
    assert looked.returncode == found.returncode == 1
    told = [line.split(": ") for line in looked.stdout.splitlines()[: len(names)]]
    assert sorted(name for name, _ in told) == names
    assert all(problem.startswith("other bytes than were written") for _, problem in told)
    assert sorted(p["file"] for p in json.loads(found.stdout)["problems"]) == names
    # Two shards are made again; the number of workers decides nothing.
    resumed(work, "cluster.workers=2")
    assert published(work) == clean
    assert fld_here("verify", str(work), "--deep").returncode == 0


def test_what_the_present_chain_does_not_use_is_removed_and_nothing_else(
    work: Path, folder: Path
) -> None:
    (unused,) = work.glob("signals/detect-*")
    shutil.copytree(unused, work / "signals/detect-00000000")
    (work / "models/01-00000000").mkdir(parents=True)
    (work / "models/01-00000000/model.safetensors").write_bytes(bytes(1000))
    wanted = published(folder / "work")
    dry = json.loads(fld_here("gc", str(work), "--dry-run", "--json").stdout)
    assert {each["folder"] for each in dry["unused"]} >= {
        "signals/detect-00000000",
        "models/01-00000000",
    }
    assert published(work).keys() > wanted.keys()
    assert fld_here("gc", str(work)).returncode == 0
    assert published(work) == wanted


def test_no_operation_touches_a_folder_on_which_a_run_goes_on(work: Path) -> None:
    before = published(work)
    with lease.held(Store(str(work))):
        for command in ("gc", "retry", "verify", "dedup"):
            done = fld_here(command, str(work))
            assert done.returncode == 2 and "in use by process" in done.stderr
        assert fld_here("verify", str(work), "--dry-run").returncode == 0
    assert published(work) == before


def test_dedup_names_the_image_that_a_copy_repeats(work: Path) -> None:
    done = fld_here("dedup", str(work), "--json")
    assert done.returncode == 0, done.stderr[-2000:]
    summary = json.loads(done.stdout)
    assert summary["images"] == summary["kept"] + sum(summary["dropped"].values()) == 12
    again = fld_here("dedup", str(work), "distance=0", "--json")
    assert "dedup:" not in again.stderr  # no image is hashed anew
