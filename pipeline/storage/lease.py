"""One driver per work folder: a lease with a heartbeat keeps a second driver out.

On the same host, the lease of a dead driver is taken over at once. From another host, it is taken
over after a minute without a heartbeat. A driver that starts within this minute waits for its end.
"""

from __future__ import annotations

import fcntl
import json
import logging
import os
import socket
import threading
import time
from collections.abc import Iterator
from contextlib import contextmanager, suppress
from typing import IO, NotRequired, TypedDict, TypeGuard

from pipeline.errors import end_reason
from pipeline.storage import layout
from pipeline.storage.manifest import json_bytes
from pipeline.storage.store import Store

BEAT_SECONDS = 10.0
DEAD_AFTER_SECONDS = 60.0
POLL_SECONDS = 0.5

log = logging.getLogger("fld")


class Process(TypedDict):
    """What identifies a process, so that others can tell whether it still runs.

    A process id alone is reused, so its start time and the boot of the host belong to it.
    """

    host: str
    boot: str
    """The boot of the host."""
    pid: int
    started: str | None
    """The kernel's start time."""


class Lease(Process):
    """The driver that holds or held a work folder."""

    beat: float
    """The last heartbeat, in seconds since 1970."""
    released: NotRequired[bool]
    """True once the driver has ended by itself."""
    why: NotRequired[str]
    """Why the driver ended before its work was done."""
    state: NotRequired[str]
    """`running`, `stale`, `stopped` or `finished`. It is not in the file; `holder` adds it."""


def this_process() -> Process:
    """The process that calls this."""
    return {
        "host": socket.gethostname(),
        "boot": _boot_id(),
        "pid": os.getpid(),
        "started": _started(os.getpid()),
    }


def alive(process: Process) -> bool | None:
    """Whether a process still runs, None if it is on another host."""
    if process["host"] != socket.gethostname():
        return None
    if process["boot"] != _boot_id():
        return False
    return _started(process["pid"]) == process["started"]


def process_of(lease: Lease) -> Process:
    """The process that holds a lease."""
    return {
        "host": lease["host"],
        "boot": lease["boot"],
        "pid": lease["pid"],
        "started": lease["started"],
    }


def holder(store: Store) -> Lease | None:
    """The lease and its `state`: running, stale, stopped or finished. None if nobody ever held it.

    Stale: the driver has gone without a word, because it was killed or its machine went down.
    """
    if not store.exists(layout.LEASE):
        return None
    lease: Lease = json.loads(store.read(layout.LEASE))
    if lease.get("released"):
        return {**lease, "state": "stopped" if lease.get("why") else "finished"}
    running = alive(lease)
    if running is None:
        running = time.time() - lease["beat"] < DEAD_AFTER_SECONDS
    return {**lease, "state": "running" if running else "stale"}


@contextmanager
def held(store: Store) -> Iterator[None]:
    """Hold the lease of a work folder while the block runs.

    A driver of another host that may be dead is waited for, at most for `DEAD_AFTER_SECONDS`.

    Raises:
        ValueError: another driver works on the folder.
    """
    _check_free(store)
    me = this_process()
    stop = threading.Event()
    lock = _lock(store)

    def beat() -> None:
        while not stop.wait(BEAT_SECONDS):
            # A short failure of the storage costs one heartbeat, not the run.
            with suppress(OSError):
                store.publish_json(layout.LEASE, {**me, "beat": time.time()})

    store.publish_json(layout.LEASE, {**me, "beat": time.time()})
    store.clear_temporary()
    thread = threading.Thread(target=beat, name="lease", daemon=True)
    thread.start()
    why = ""
    try:
        yield
    except BaseException as error:
        why = end_reason(error)
        raise
    finally:
        stop.set()
        thread.join()
        _release(store, {**me, "beat": time.time(), "released": True, "why": why})
        if lock:
            lock.close()


def _check_free(store: Store) -> None:
    """Return once no driver works on a folder.

    Nobody can look for a process of another host. If that was killed, its heartbeat stays the same
    until it counts as dead. If it runs, its heartbeat changes within `BEAT_SECONDS`.

    Raises:
        ValueError: another driver works on the folder.
    """
    other = holder(store)
    if not _is_running(other):
        return
    if alive(other):
        raise ValueError(_in_use(store, other))
    age = time.time() - other["beat"]
    # The clock of the other host may be ahead of ours.
    seconds = min(DEAD_AFTER_SECONDS - age, DEAD_AFTER_SECONDS)
    log.warning(
        "work=%s: process %d on %s may be dead; taking over in %.0f s if it gives no sign",
        *(store.url, other["pid"], other["host"], seconds),
    )
    end = time.monotonic() + seconds
    while time.monotonic() < end:
        time.sleep(POLL_SECONDS)
        now = holder(store)
        if not _is_running(now):
            return
        if now["beat"] != other["beat"]:
            raise ValueError(_in_use(store, now))


def _is_running(lease: Lease | None) -> TypeGuard[Lease]:
    return lease is not None and lease["state"] == "running"


def _in_use(store: Store, by: Lease) -> str:
    process = f"process {by['pid']} on {by['host']}"
    return f"work={store.url}: in use by {process}; wait for it or stop it"


def _release(store: Store, lease: Lease) -> None:
    """Write that a driver has ended, and why.

    A full disk takes no new file, and what it has to say is why the run ended. So the old file is
    then written over, which needs no room.
    """
    try:
        store.publish_json(layout.LEASE, lease)
    except OSError:
        if not lease["why"]:
            raise
        if store.local:
            with suppress(OSError), open(store.path(layout.LEASE), "r+b") as file:
                file.write(json_bytes(lease))
                file.truncate()


def _lock(store: Store) -> IO[str] | None:
    """A lock of the kernel, which decides between two drivers that start at the same moment.

    It exists on local disk only, and lasts as long as the file is open: `held` closes it.
    """
    if not store.local:
        return None
    path = store.path(layout.LOCK)
    os.makedirs(os.path.dirname(path), exist_ok=True)
    file = open(path, "w")  # noqa: SIM115
    try:
        fcntl.flock(file, fcntl.LOCK_EX | fcntl.LOCK_NB)
    except OSError:
        file.close()
        problem = "another process has just begun on it"
        raise ValueError(f"work={store.url}: {problem}; wait for it or stop it") from None
    return file


def _boot_id() -> str:
    """What identifies the present boot of this host."""
    try:
        with open("/proc/sys/kernel/random/boot_id") as file:
            return file.read().strip()
    except OSError:
        return "unknown"


def _started(pid: int) -> str | None:
    """The kernel's start time of a process, None if it does not run or is a zombie."""
    try:
        with open(f"/proc/{pid}/stat") as file:
            # The name of the program, in brackets, may contain spaces.
            fields = file.read().rpartition(")")[2].split()
    except OSError:
        has_proc = os.path.isdir("/proc/self")
        return None if has_proc else _responds(pid)
    state, start_time = fields[0], fields[19]
    return None if state == "Z" else start_time


def _responds(pid: int) -> str | None:
    """Where there is no /proc (macOS): whether the process takes signals."""
    try:
        os.kill(pid, 0)
    except ProcessLookupError:
        return None
    except PermissionError:
        # It runs, but belongs to another user.
        pass
    return "running"
