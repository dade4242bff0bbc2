"""The command line in this process or in one of its own, and a small whole run that tests share.

The small run has 12 scenes in 3 shards and one refinement round of 6 steps. It is made once per
test session, also when several pytest-xdist workers share the tests.
"""

import hashlib
import io
import os
import signal
import subprocess
import sys
import time
from collections.abc import Callable
from contextlib import redirect_stderr, redirect_stdout
from pathlib import Path
from subprocess import CompletedProcess

import pytest
from filelock import FileLock

from pipeline import cli

SMALL = [
    "source.count=12",
    "source.shard_size=4",
    "train.stages=[[64,6]]",
    "train.batch_size=8",
    "train.checkpoint_every=2",
    "refine.rounds=1",
    "refine.annotate.max_tokens=24",
    # Every actor costs seconds before it does anything.
    "cluster.workers=1",
    "cluster.groups.train={cpus: 1, actors: [1, 1]}",
]

# One shard: for tests that do not look at how work is spread.
ONE_SHARD = [*SMALL, "source.shard_size=12"]

# Boxes and their categories in one actor, which loads no model: for tests that do not look at what
# the specialists find.
BOXES = [
    "specialists=detector",
    "specialists.detect.use=contours",
    "filters.text=null",
    "filters.triplet=null",
    "refine.rounds=0",
    "cluster.workers=1",
]

TIMEOUT = 1200


def command(*arguments: str) -> list[str]:
    return [sys.executable, "-m", "pipeline.cli", *arguments]


def fld(*arguments: str, env: dict[str, str] | None = None) -> CompletedProcess[str]:
    """Run the command line in a process of its own, which starts its own Ray if it needs one."""
    return subprocess.run(
        command(*arguments),
        capture_output=True,
        text=True,
        timeout=TIMEOUT,
        env={**os.environ, **(env or {})},
    )


def fld_here(*arguments: str) -> CompletedProcess[str]:
    """Run the command line in this process.

    This takes seconds less than `fld`, because everything is imported already and the commands of
    a test session share one Ray (fixture `local_ray`).
    """
    out, err = io.StringIO(), io.StringIO()
    with redirect_stdout(out), redirect_stderr(err):
        code = cli.main(list(arguments))
    return CompletedProcess(arguments, code, out.getvalue(), err.getvalue())


def published(work: Path) -> dict[str, str]:
    """sha256 of every published file of a work folder; the journal is not published."""
    return {
        str(path.relative_to(work)): hashlib.sha256(path.read_bytes()).hexdigest()
        for path in sorted(work.rglob("*"))
        if path.is_file()
        and path.relative_to(work).parts[0] != "journal"
        and path.name != "config.yaml"
    }


def kill_when(process: "subprocess.Popen[str]", ready: Callable[[], bool]) -> bool:
    """kill -9 the whole process group once `ready`; False when the process ended before."""
    while process.poll() is None:
        if ready():
            os.killpg(process.pid, signal.SIGKILL)
            process.wait()
            return True
        time.sleep(0.02)
    return False


@pytest.fixture(scope="session")
def small_run(tmp_path_factory: pytest.TempPathFactory, worker_id: str, local_ray: None) -> Path:
    """The work folder of a finished small run, for reading only."""
    shared = tmp_path_factory.getbasetemp()
    if worker_id != "master":
        # Each worker of pytest-xdist has a folder of its own below the session's.
        shared = shared.parent
    work, finished = shared / "small_run", shared / "small_run.finished"
    with FileLock(shared / "small_run.lock"):
        if not finished.exists():
            done = fld_here("run", f"work={work}", *SMALL)
            assert done.returncode == 0, done.stderr[-3000:]
            finished.touch()
    return work
