"""`fld run` in a process of its own, watched through the files that it publishes."""

from __future__ import annotations

import subprocess
import sys
import time
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from dataclasses import dataclass, field
from pathlib import Path

from pipeline.drills.cluster import Cluster
from pipeline.drills.object_store import ObjectStore
from pipeline.errors import WorkerFailed
from pipeline.rows import Row
from pipeline.storage import layout
from pipeline.storage.parquet import read_table
from pipeline.storage.store import Store

COUNT, SHARD_SIZE = 40, 8
SETTINGS = (
    f"source.count={COUNT}",
    f"source.shard_size={SHARD_SIZE}",
    "refine.rounds=0",
    "specialists=detector",
    "specialists.detect.use=contours",
    "specialists.fragile.use=fragile",
    "specialists.fragile.group=fragile",
    "specialists.fragile.batch_size=4",
    "filters.text=null",
    "filters.triplet=null",
    # All groups fit the cluster at once.
    "cluster.groups={specialists: {cpus: 0.5}, fragile: {cpus: 0.5}, filters: {cpus: 0.5}}",
)
RUN_SECONDS = 600.0
"""A run that takes longer hangs. It takes less than a minute on a machine without other work."""
POLL_SECONDS = 0.02
STAGE = "fragile"


@dataclass(frozen=True, slots=True)
class Said:
    """How a command ended."""

    code: int
    """Its exit code; negative if a signal has ended it."""
    text: str
    """`finished`, or the line with which it ended."""


@dataclass(slots=True)
class Field:
    """A work folder, and the cluster on which `fld run` fills it."""

    cluster: Cluster
    work: str
    said: list[Said] = field(default_factory=list)
    """How the commands ended, in their order."""
    server: ObjectStore | None = None
    """What serves the work folder, if it is in a bucket."""

    @property
    def store(self) -> Store:
        return Store(self.work)

    def run(self) -> None:
        """The command that every drill gives again and again, to its end."""
        with self.running():
            pass

    @contextmanager
    def running(self) -> Iterator[subprocess.Popen[str]]:
        """The same, while it runs; the block may disturb it. Its end is awaited."""
        process = self._start("run", f"work={self.work}", *self._settings())
        try:
            yield process
            self.end(process)
        finally:
            # Where the block has failed.
            process.kill()
            process.wait()

    def command(self, *arguments: str) -> None:
        """Any other command, to its end."""
        self.end(self._start(*arguments))

    def end(self, process: subprocess.Popen[str]) -> None:
        """Wait for a command and keep what it said.

        Raises:
            WorkerFailed: it does not end.
        """
        try:
            out, err = process.communicate(timeout=RUN_SECONDS)
        except subprocess.TimeoutExpired:
            process.kill()
            _, err = process.communicate()
            raise WorkerFailed(f"no end in {RUN_SECONDS:.0f} s: {err[-2000:]}") from None
        text = "finished"
        if process.returncode:
            lines = [*out.splitlines(), *err.splitlines()]
            text = lines[-1] if process.returncode > 0 else "(nothing)"
        self.said.append(Said(process.returncode, text.replace(str(self.cluster.folder), "")))

    def until(self, process: subprocess.Popen[str], shards: int) -> None:
        """Wait until the slow stage has published so many shards.

        Raises:
            WorkerFailed: the run ended before.
        """
        self.wait(process, lambda: self.published() >= shards, f"{shards} shards were done")

    def wait(self, process: subprocess.Popen[str], ready: Callable[[], bool], what: str) -> None:
        """Wait until something is so while a command runs."""
        deadline = time.monotonic() + RUN_SECONDS
        while not ready():
            if process.poll() is not None or time.monotonic() > deadline:
                _, err = process.communicate()
                raise WorkerFailed(f"the run ended before {what}: {err[-2000:]}")
            time.sleep(POLL_SECONDS)

    def published(self) -> int:
        """How many shards of the slow stage are done."""
        folder = self.stage_folder()
        return len(self.store.done(folder)) if folder else 0

    def in_rounds(self) -> set[str]:
        """The shards that the round holds already."""
        found: set[str] = set()
        for name in self.store.list(layout.ROUNDS):
            found.update(self.store.done(layout.named_round(name)))
        return found

    def stage_folder(self) -> str | None:
        """The folder of the slow stage, None before it has one."""
        for name in self.store.list(layout.SIGNALS):
            if name.startswith(f"{STAGE}-"):
                return layout.named_signals(name)
        return None

    def failed(self) -> dict[str, str]:
        """The reason of each sample on which the slow stage failed, by key."""
        folder = self.stage_folder()
        found: dict[str, str] = {}
        if folder is None:
            return found
        for shard in self.store.done(folder):
            rows: list[Row] = read_table(self.store, layout.signals_table(folder, shard), Row)
            found.update({row.key: row.failed for row in rows if row.failed})
        return found

    def path(self, name: str) -> Path:
        """A file of a work folder on this machine."""
        return Path(self.store.path(name))

    def _settings(self) -> list[str]:
        return [*SETTINGS, f"cluster.address={self.cluster.address}"]

    def _start(self, *arguments: str) -> subprocess.Popen[str]:
        return subprocess.Popen(
            [sys.executable, "-m", "pipeline.cli", *arguments],
            env=self.cluster.environment,
            stdin=subprocess.DEVNULL,
            stdout=subprocess.PIPE,
            stderr=subprocess.PIPE,
            text=True,
        )
