"""What identifies a process, and whether it still runs."""

from __future__ import annotations

import os
import socket
from typing import TypedDict


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
