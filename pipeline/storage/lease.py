"""One driver per work folder: a lease with a heartbeat keeps a second driver out.

On the same host, the lease of a dead driver is taken over at once. From another host, it is taken
over after a minute without a heartbeat. A driver that starts within this minute waits for its end.
A driver that was only suspended for that long finds another one's lease, and ends.

Between two drivers that start at the same moment a lock of the kernel decides, on local disk. On an
object store it is a *claim*: a file that only one of them can create (a conditional write), named
by the lease that both have seen.
"""

from __future__ import annotations

import _thread
import fcntl
import json
import logging
import os
import signal
import threading
import time
from collections.abc import Iterator
from contextlib import contextmanager, suppress
from typing import IO, NotRequired, TypeGuard

from pipeline.errors import LeaseLost, RunFailed, end_reason
from pipeline.storage import layout_journal
from pipeline.storage.manifest import digest, json_bytes
from pipeline.storage.process import Process, alive, this_process
from pipeline.storage.store import Store

BEAT_SECONDS = 10.0
DEAD_AFTER_SECONDS = 60.0
POLL_SECONDS = 0.5
SETTLE_SECONDS = 1.0
"""After this time a claim is read again: a store without conditional writes lets both drivers write
theirs, and then the later one counts."""

log = logging.getLogger("fld")


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
    content = _content(store)
    return with_state(content) if content else None


def _content(store: Store) -> bytes:
    """The file of the lease, empty if nobody ever held it."""
    try:
        return store.read(layout_journal.LEASE)
    except FileNotFoundError:
        return b""


def with_state(content: bytes) -> Lease:
    """The lease in a file, with its `state`."""
    lease: Lease = json.loads(content)
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
        LeaseLost: another driver has taken it over, because this one gave no sign for too long.
    """
    _check_free(store)
    me = this_process()
    lock = _lock(store)
    if lock is None:
        _claim(store, {**me, "beat": time.time()})
    store.publish_json(layout_journal.LEASE, {**me, "beat": time.time()})
    store.clear_temporary()
    heart = _Heart(store, me)
    heart.start()
    why = ""
    try:
        yield
    except BaseException as error:
        if heart.taken_by:
            raise LeaseLost(_taken(store, heart.taken_by)) from error
        why = end_reason(error)
        raise
    finally:
        heart.stop()
        if not heart.taken_by:
            _release(store, {**me, "beat": time.time(), "released": True, "why": why})
        if lock:
            lock.close()


class _Heart:
    """Writes heartbeats from a thread of its own, as long as the lease is ours."""

    def __init__(self, store: Store, me: Process) -> None:
        self.taken_by: Lease | None = None
        """The driver that has taken the work folder over."""
        self._store = store
        self._me = me
        self._stop = threading.Event()
        self._thread = threading.Thread(target=self._beat, name="lease", daemon=True)

    def start(self) -> None:
        self._thread.start()

    def stop(self) -> None:
        self._stop.set()
        self._thread.join()
        with suppress(OSError, RunFailed):
            self._look()

    def _beat(self) -> None:
        while not self._stop.wait(BEAT_SECONDS):
            # A short failure of the storage costs one heartbeat, not the run.
            with suppress(OSError, RunFailed):
                self._look()
                if self.taken_by:
                    # As `kill` does; `held` says why. Ctrl-C would not do: a shell that starts a
                    # run in the background lets it ignore Ctrl-C.
                    _thread.interrupt_main(signal.SIGTERM)
                    return
                self._store.publish_json(layout_journal.LEASE, {**self._me, "beat": time.time()})

    def _look(self) -> None:
        """See whether the lease is still ours."""
        lease = holder(self._store)
        if lease and process_of(lease) != self._me:
            self.taken_by = lease


def _claim(store: Store, lease: Lease) -> None:
    """Decide between drivers that take over the same lease of an object store at the same moment.

    Raises:
        ValueError: another driver was first.
    """
    before = _content(store)
    mine = json_bytes(lease)
    name = layout_journal.claim(digest(before.hex()))
    while not store.create(name, mine):
        other = store.read(name)
        if with_state(other)["state"] == "running":
            raise ValueError(_in_use(store, with_state(other)))
        # Who made that claim was killed before it wrote its lease.
        name = layout_journal.claim(digest(other.hex()))
    time.sleep(SETTLE_SECONDS)
    # Somebody may have finished all of this since `before` was read, and removed the claims.
    for file, expected in ((name, mine), (layout_journal.LEASE, before)):
        now = store.read(file) if store.exists(file) else b""
        if now != expected:
            raise ValueError(_just_begun(store))
    store.publish(layout_journal.LEASE, mine)
    store.remove(layout_journal.CLAIMS)


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


def _just_begun(store: Store) -> str:
    return f"work={store.url}: another process has just begun on it; wait for it or stop it"


def _taken(store: Store, by: Lease) -> str:
    process = f"process {by['pid']} on {by['host']}"
    return f"work={store.url}: {process} has taken it over, because this one gave no sign"


def _release(store: Store, lease: Lease) -> None:
    """Write that a driver has ended, and why.

    A full disk takes no new file, and what it has to say is why the run ended. So the old file is
    then written over, which needs no room.
    """
    try:
        store.publish_json(layout_journal.LEASE, lease)
    except OSError:
        if not lease["why"]:
            raise
        if store.local:
            with suppress(OSError), open(store.path(layout_journal.LEASE), "r+b") as file:
                file.write(json_bytes(lease))
                file.truncate()


def _lock(store: Store) -> IO[str] | None:
    """A lock of the kernel, which decides between two drivers that start at the same moment.

    It exists on local disk only, and lasts as long as the file is open: `held` closes it.
    """
    if not store.local:
        return None
    path = store.path(layout_journal.LOCK)
    os.makedirs(os.path.dirname(path), exist_ok=True)
    file = open(path, "w")  # noqa: SIM115
    try:
        fcntl.flock(file, fcntl.LOCK_EX | fcntl.LOCK_NB)
    except OSError:
        file.close()
        raise ValueError(_just_begun(store)) from None
    return file
