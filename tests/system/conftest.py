"""A small whole run, made once: 12 scenes in 3 shards, one refinement round of 6 steps."""

import hashlib
import os
import signal
import subprocess
import sys
import time
from collections.abc import Callable
from pathlib import Path

import pytest

SMALL = [
    "source.count=12",
    "source.shard_size=4",
    "train.stages=[[64,6]]",
    "train.batch_size=8",
    "train.checkpoint_every=2",
    "refine.rounds=1",
    "refine.annotate.max_tokens=24",
    "cluster.groups.train={cpus: 1, actors: [1, 1]}",
]
TIMEOUT = 600


def command(*arguments: str) -> list[str]:
    return [sys.executable, "-m", "pipeline.cli", *arguments]


def fld(*arguments: str, env: dict[str, str] | None = None) -> subprocess.CompletedProcess[str]:
    """Run the command line in a process of its own."""
    return subprocess.run(
        command(*arguments),
        capture_output=True,
        text=True,
        timeout=TIMEOUT,
        env={**os.environ, **(env or {})},
    )


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
def small_run(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """The work folder of a finished small run, for reading only."""
    work = tmp_path_factory.mktemp("small") / "work"
    done = fld("run", f"work={work}", *SMALL)
    assert done.returncode == 0, done.stderr[-3000:]
    return work
