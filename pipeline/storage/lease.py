"""One driver per work folder: a lease with a heartbeat keeps a second one out.

A dead driver's lease is taken over at once on the same host, and after a minute without a beat from another.
"""

from __future__ import annotations

import fcntl
import json
import os
import socket
import threading
import time
from collections.abc import Iterator
from contextlib import contextmanager, suppress
from typing import IO, Any

from pipeline.storage import layout
from pipeline.storage.store import Store

BEAT_SECONDS = 10.0
DEAD_AFTER_SECONDS = 60.0


def this_process() -> dict[str, Any]:
    """Who we are: a process id means something only with its start time, on one boot of one host."""
    return {
        "host": socket.gethostname(),
        "boot": _boot_id(),
        "pid": os.getpid(),
        "started": _started(os.getpid()),
    }


def alive(who: dict[str, Any]) -> bool | None:
    """Whether that process still runs; None when it is on another host or boot and cannot be seen from here."""
    if who["host"] != socket.gethostname():
        return None
    if who["boot"] != _boot_id():
        return False
    return _started(who["pid"]) == who["started"]


def holder(store: Store) -> dict[str, Any] | None:
    """The lease as it stands, with `state` running, stale or finished; None when nobody ever held it."""
    if not store.exists(layout.LEASE):
        return None
    lease: dict[str, Any] = json.loads(store.read(layout.LEASE))
    if lease.get("released"):
        return {**lease, "state": "finished"}
    seen = alive(lease)
    fresh = time.time() - lease["beat"] < DEAD_AFTER_SECONDS
    return {**lease, "state": "running" if (fresh if seen is None else seen) else "stale"}


@contextmanager
def held(store: Store) -> Iterator[None]:
    """Hold the lease of a work folder while the block runs.

    Raises:
        ValueError: another driver runs on it.
    """
    other = holder(store)
    if other and other["state"] == "running":
        raise ValueError(
            f"work={store.url}: in use by process {other['pid']} on {other['host']}; wait for it or stop it"
        )
    me = this_process()
    stop = threading.Event()
    lock = _lock(store)

    def beat() -> None:
        while not stop.wait(BEAT_SECONDS):
            with suppress(OSError):  # a hiccup of the storage costs a beat, not the run
                store.publish_json(layout.LEASE, {**me, "beat": time.time()})

    store.publish_json(layout.LEASE, {**me, "beat": time.time()})
    store.clear_temporary()
    thread = threading.Thread(target=beat, name="lease", daemon=True)
    thread.start()
    try:
        yield
    finally:
        stop.set()
        thread.join()
        store.publish_json(layout.LEASE, {**me, "beat": time.time(), "released": True})
        if lock:
            lock.close()


def _lock(store: Store) -> IO[str] | None:
    """On local disk the kernel decides between two drivers that start at the same moment."""
    if not store.local:
        return None
    path = store.path(layout.LOCK)
    os.makedirs(os.path.dirname(path), exist_ok=True)
    file = open(path, "w")  # noqa: SIM115 (the lock lasts as long as the file is open: `held` closes it)
    try:
        fcntl.flock(file, fcntl.LOCK_EX | fcntl.LOCK_NB)
    except OSError:
        file.close()
        raise ValueError(
            f"work={store.url}: another process has just begun on it; wait for it or stop it"
        ) from None
    return file


def _boot_id() -> str:
    try:
        with open("/proc/sys/kernel/random/boot_id") as file:
            return file.read().strip()
    except OSError:
        return "unknown"


def _started(pid: int) -> str | None:
    """The kernel's start time of a process, None when it does not run (or is a zombie)."""
    try:
        with open(f"/proc/{pid}/stat") as file:
            fields = file.read().rpartition(")")[2].split()
    except OSError:
        return None if os.path.isdir("/proc/self") else _responds(pid)
    return None if fields[0] == "Z" else fields[19]


def _responds(pid: int) -> str | None:
    """Where there is no /proc (macOS): whether the process takes signals."""
    try:
        os.kill(pid, 0)
    except ProcessLookupError:
        return None
    except PermissionError:
        pass
    return "running"
