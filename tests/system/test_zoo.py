"""Hostile files and tars beside good ones: each is a row with its reason, no other file changes."""

import json
import os
import subprocess
import sys
from collections.abc import Callable
from pathlib import Path

import pyarrow.parquet as pq
import pytest

from tests.pipeline.execution.test_given import ONLY
from tests.system.conftest import fld_here
from tests.system.zoo import Rows, write_folder_zoo, write_tar_zoo

# Weight-free stages that read pixels and texts, in one actor each; no training.
QUICK = [*ONLY, "refine.rounds=0", "source.shard_size=32", "cluster.workers=1"]
PEAK_MB = 700

INGEST = """
import resource, sys
from pipeline.config.compose import compose
from pipeline.config.parse import parse
from pipeline.ingest.assignment import assign, list_source
from pipeline.ingest.shard import Ingest
from pipeline.plan.shard_state import ShardState
from pipeline.storage.store import Store
run = parse(compose([f"source={sys.argv[1]}", f"source.path={sys.argv[2]}"]))
listing = assign(Store(sys.argv[3]), run.source, list_source(run.source))
before = resource.getrusage(resource.RUSAGE_SELF).ru_maxrss
ingest = Ingest(sys.argv[3], run.source, listing)
for shard in listing:
    ingest(shard, ShardState())
print((resource.getrusage(resource.RUSAGE_SELF).ru_maxrss - before) // 1024)
"""


def rows(work: Path) -> list[tuple[str, str | None]]:
    tables = [pq.read_table(path).to_pylist() for path in work.glob("images/*.parquet")]
    return [(row["name"], row["failed"]) for table in tables for row in table]


def everything(folder: Path) -> set[Path]:
    return {path for path in folder.rglob("*") if "work" not in path.relative_to(folder).parts}


def by_name(found: Rows) -> Rows:
    return sorted(found, key=lambda row: (row[0], row[1] or ""))


@pytest.mark.parametrize(
    ("source", "write"), [("folder", write_folder_zoo), ("webdataset", write_tar_zoo)]
)
@pytest.mark.ray
@pytest.mark.usefixtures("local_ray")
def test_each_bad_one_is_told_with_its_reason_and_the_good_ones_are_labelled(
    tmp_path: Path, source: str, write: Callable[[Path], Rows]
) -> None:
    zoo, work = tmp_path / "zoo", tmp_path / "work"
    expected = write(zoo)
    before = everything(tmp_path)
    done = fld_here("run", f"source={source}", f"source.path={zoo}", f"work={work}", *QUICK)
    assert done.returncode == 0, done.stderr[-3000:]
    assert by_name(rows(work)) == by_name(expected)

    state = json.loads(fld_here("status", str(work), "--json").stdout)
    told = [(each["name"], each["reason"]) for each in state["failures"]]
    assert by_name(told) == by_name([row for row in expected if row[1]])
    for stage in state["stages"]:
        samples = stage["samples"]
        assert samples["in"] == samples["kept"] + sum(samples["failed"].values()) > 0
        assert stage["stage"] == "ingest" or not samples["failed"]

    assert everything(tmp_path) == before
    assert not [name for name in os.listdir("/") if name.startswith("fld_zoo")]


def test_at_least_forty_are_bad_and_ten_are_good(tmp_path: Path) -> None:
    expected = write_folder_zoo(tmp_path / "folder") + write_tar_zoo(tmp_path / "tars")
    assert sum(reason is not None for _, reason in expected) >= 40
    assert sum(name.startswith("good_") for name, _ in expected) == 10


@pytest.mark.parametrize(
    ("source", "write"), [("folder", write_folder_zoo), ("webdataset", write_tar_zoo)]
)
@pytest.mark.subprocess
def test_memory_stays_bounded(tmp_path: Path, source: str, write: Callable[[Path], Rows]) -> None:
    """Memory holds a file once, or twice while it is unpacked or turned upright.

    Unpacked, the bombs of the zoo would take gigabytes.
    """
    write(tmp_path / "zoo")
    command = [sys.executable, "-c", INGEST, source, str(tmp_path / "zoo"), str(tmp_path / "work")]
    done = subprocess.run(command, capture_output=True, text=True, timeout=120)
    assert done.returncode == 0, done.stderr[-2000:]
    assert int(done.stdout) < PEAK_MB
