"""What the drills do to a run."""

from __future__ import annotations

import json
import os
import signal
import subprocess
import time
from collections.abc import Callable, Iterator
from contextlib import AbstractContextManager, contextmanager, nullcontext
from dataclasses import dataclass
from pathlib import Path

from pipeline.drills import object_store
from pipeline.drills.compare import Difference
from pipeline.drills.runs import STAGE, Field
from pipeline.errors import WorkerFailed
from pipeline.storage import layout, layout_journal

POISONED = "scene_000011"
HALF = 2
"""Shards of the slow stage after which a run is disturbed."""
MISTAKE = 2
"""The exit code of a command that is refused."""
FULL_MB, PAUSE_MB = 24, 64
PAUSE_SECONDS = 15.0
"""Longer than the time between two heartbeats of the driver."""


class Skipped(Exception):
    """A drill cannot be tried on this machine."""


@dataclass(frozen=True, slots=True)
class Drill:
    """One drill."""

    done: str
    """What is done to the run."""
    disturb: Callable[[Field], None]
    """Runs `fld run` and disturbs it until the command has finished all of the work."""
    prepared: Callable[[Field], AbstractContextManager[object]] = nullcontext
    """What the work folder needs while the drill is tried."""
    spoils: frozenset[str] = frozenset()
    """Keys of samples of one shard; these, and nothing else, must differ in the end."""

    def ends_well(self, found: Difference) -> bool:
        """Whether a work folder differs from that of an undisturbed run as it should."""
        if not self.spoils:
            return not found.files
        return found.samples == self.spoils and len(found.shards) == 1


def kill_worker(field: Field) -> None:
    with field.running() as process:
        field.until(process, HALF)
        os.kill(_worker_at_work(field, process), signal.SIGKILL)


def kill_node(field: Field) -> None:
    with field.running() as process:
        field.until(process, HALF)
        field.cluster.kill_node()
    field.cluster.add_node()


def kill_driver(field: Field) -> None:
    with field.running() as process:
        field.until(process, HALF)
        process.kill()
    field.run()


def fill_disk(field: Field) -> None:
    filler = field.path("filler")
    with field.running() as process:
        field.until(process, HALF)
        _fill(filler)
    filler.unlink()
    field.run()


def corrupt_shard(field: Field) -> None:
    """A table is broken that the round has yet to read, and a tar that nobody may read again."""
    with field.running() as process:
        field.until(process, HALF)
        process.kill()
    folder = field.stage_folder()
    assert folder is not None
    done = sorted(field.store.done(folder))
    unread = [shard for shard in done if shard not in field.in_rounds()]
    _flip(field.path(layout.signals_table(folder, (unread or done)[-1])))
    _cut(field.path(layout.images_tar(done[0])))
    # Who reads a broken file makes the run end; the next one makes the file again.
    field.run()
    if field.said[-1].code:
        field.run()
    field.command("verify", field.work, "--deep")
    field.run()


def corrupt_manifest(field: Field) -> None:
    with field.running() as process:
        field.until(process, HALF)
        process.kill()
    folder = layout.manifests(str(field.stage_folder()))
    broken = field.store.list(folder)[0]
    _cut(field.path(layout.within(folder, broken)))
    field.command("verify", field.work)
    field.run()


def poison(field: Field) -> None:
    field.cluster.poison.write_text(POISONED)
    try:
        field.run()
    finally:
        field.cluster.poison.unlink()
    failed = field.failed()
    if failed != {POISONED: "crashed"}:
        raise WorkerFailed(f"these samples failed, by reason: {failed}")


def pause_storage(field: Field) -> None:
    with field.running() as process:
        field.until(process, HALF)
        folder = _mount_point(field)
        subprocess.run(["fsfreeze", "--freeze", folder], check=True)
        try:
            time.sleep(PAUSE_SECONDS)
        finally:
            subprocess.run(["fsfreeze", "--unfreeze", folder], check=True)


def restart_server(field: Field) -> None:
    with field.running() as process:
        field.until(process, HALF)
        assert field.server is not None
        field.server.kill()
        time.sleep(PAUSE_SECONDS)
        field.server.start()


def second_driver(field: Field) -> None:
    with field.running() as process:
        # As early as it can be: a second driver that starts slowly shall still find the first.
        field.wait(
            process, lambda: field.store.exists(layout_journal.LEASE), "it had its work folder"
        )
        field.run()
    second = field.said[0]
    if second.code != MISTAKE:
        raise WorkerFailed(f"the second driver was not refused: {second.text}")


@contextmanager
def on_object_store(field: Field) -> Iterator[None]:
    """A work folder in a bucket."""
    package = object_store.missing()
    if package:
        raise Skipped(f"the package {package} is not installed")
    environment = field.cluster.environment
    for name in object_store.environment(field.cluster.folder):
        os.environ[name] = environment[name]
    with object_store.running(field.cluster.folder / "objects", environment) as server:
        field.server = server
        field.work = f"s3://{object_store.BUCKET}/work"
        yield


@contextmanager
def small_disk(field: Field) -> Iterator[None]:
    """A work folder on a disk of its own that is soon full."""
    with _mounted(field, ["-t", "tmpfs", "-o", f"size={FULL_MB}m", "tmpfs"]):
        yield


@contextmanager
def frozen_disk(field: Field) -> Iterator[None]:
    """A work folder on a disk of its own that can be frozen."""
    image = Path(f"{_mount_point(field)}.img")
    try:
        with open(image, "wb") as file:
            file.truncate(PAUSE_MB << 20)
        _root("mkfs.ext4", "-q", str(image))
        with _mounted(field, ["-o", "loop", str(image)]):
            yield
    finally:
        image.unlink(missing_ok=True)


DRILLS = {
    "worker": Drill("a worker is killed (SIGKILL) in a shard", kill_worker),
    "node": Drill("a node is killed with its workers", kill_node),
    "driver": Drill("`fld run` is killed (SIGKILL)", kill_driver),
    "disk": Drill("the disk is full in the middle", fill_disk, small_disk),
    "shard": Drill(
        "a byte of a table is flipped, a tar is cut; `fld verify --deep` finds what nobody reads",
        corrupt_shard,
    ),
    "manifest": Drill("a manifest is cut; `fld verify` finds it", corrupt_manifest),
    "poison": Drill("a stage segfaults on one sample", poison, spoils=frozenset({POISONED})),
    "storage": Drill(
        f"the storage stands still for {PAUSE_SECONDS:.0f} s", pause_storage, frozen_disk
    ),
    "server": Drill(
        f"work=s3://...; the object store is killed and comes back after {PAUSE_SECONDS:.0f} s",
        restart_server,
        on_object_store,
    ),
    "second": Drill("the same command is given while it runs", second_driver),
}


def _worker_at_work(field: Field, process: subprocess.Popen[str]) -> int:
    """The process id of a worker that has begun with a shard of the slow stage."""
    found: list[int] = []

    def look() -> bool:
        store = field.store
        for work in store.list(layout_journal.ATTEMPTS):
            if not work.startswith(f"{STAGE}-"):
                continue
            for shard in store.list(layout_journal.attempts(work)):
                for name in store.list(layout_journal.attempts(work, shard)):
                    try:
                        attempt = json.loads(store.read(layout_journal.attempt(work, shard, name)))
                    except FileNotFoundError:
                        continue
                    found.append(attempt["pid"])
        return bool(found)

    field.wait(process, look, "a worker was seen")
    return found[-1]


def _fill(file: Path) -> None:
    """Fill a disk up."""
    block = bytes(1 << 16)
    with open(file, "wb", buffering=0) as filler:
        try:
            while True:
                filler.write(block)
        except OSError:
            return


def _flip(file: Path) -> None:
    """Change one byte in the middle of a file."""
    data = bytearray(file.read_bytes())
    data[len(data) // 3] ^= 0xFF
    file.write_bytes(data)


def _cut(file: Path) -> None:
    """Leave only the first half of a file."""
    os.truncate(file, file.stat().st_size // 2)


@contextmanager
def _mounted(field: Field, arguments: list[str]) -> Iterator[None]:
    """A disk at the work folder's place."""
    folder = _mount_point(field)
    os.makedirs(folder)
    _root("mount", *arguments, folder)
    try:
        yield
    finally:
        subprocess.run(["umount", "--lazy", folder], check=False)


def _mount_point(field: Field) -> str:
    return field.work


def _root(*command: str) -> None:
    """Run a program that needs the rights of root.

    Raises:
        Skipped: they are missing, or the program is.
    """
    try:
        ended = subprocess.run(command, capture_output=True, text=True, check=False)
    except FileNotFoundError:
        raise Skipped(f"{command[0]} is not installed") from None
    if ended.returncode:
        lines = ended.stderr.strip().splitlines()
        raise Skipped(f"{command[0]} is not allowed here: {lines[-1] if lines else 'no reason'}")
