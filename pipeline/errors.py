"""Errors that a person sees in one line, beside `ValueError` for what the user can change."""

from __future__ import annotations

import errno
import os

from stages.errors import RunFailed

FULL_DISK = frozenset({errno.ENOSPC, errno.EDQUOT, errno.EROFS, errno.EFBIG})
"""The error numbers of a disk that takes no more bytes: it is full, or read-only, or a limit of the
user is reached (a quota, or the size of a file)."""


class ShardsFailed(RunFailed):
    """Some shards could not be done, and no sample is at fault: the storage failed, or a bug."""


class SamplesFailAlike(RunFailed):
    """A stage failed unexpectedly on one sample after the other, always in the same way."""


class DiskFull(RunFailed):
    """A disk is full or read-only."""


class LeaseLost(RunFailed):
    """Another driver has taken over the work folder."""


class BrokenFiles(RunFailed):
    """Files are not those that their manifests vouch for. The manifests have been withdrawn."""


class ClusterFailed(RunFailed):
    """Ray does not start, or cannot be reached."""


class WorkerFailed(RunFailed):
    """A training or a test failed in a worker: its code raised an error, or its process died."""


class NothingLabelled(RunFailed):
    """No image came in, or a stage failed on every sample."""


class Terminated(KeyboardInterrupt):
    """The system asked the process to end (SIGTERM), as `kill`, a scheduler or a shutdown does."""


class SamplesLost(RunFailed):
    """A stage's counts do not add up: in = kept + dropped + failed."""


def is_disk_full(error: BaseException) -> bool:
    """Whether the system refused to write because a disk is full or read-only."""
    return isinstance(error, OSError) and error.errno in FULL_DISK


def disk_full(error: OSError, folder: str) -> DiskFull:
    """The error to show for an error of which `is_disk_full` is true.

    It names the file that could not be written. If the system does not say which file that was, it
    names `folder`, where the work is stored.
    """
    reason = os.strerror(error.errno or errno.ENOSPC)
    where = error.filename or folder
    remedy = "make room there"
    if error.errno == errno.EROFS:
        remedy = "make it writable, or give another folder"
    elif error.errno == errno.EFBIG:
        remedy = "raise the limit (ulimit -f)"
    return DiskFull(f"{where}: {reason}; {remedy}, then the same command goes on")


def refused(error: OSError) -> Exception:
    """The error to show where the system or a store refuses: one line that names the file."""
    if not error.errno or not error.filename:
        # Such as the answer of an object store, which has a message of its own.
        return RunFailed(str(error)) if isinstance(error, PermissionError) else error
    message = f"{error.filename}: {os.strerror(error.errno)}"
    if isinstance(error, PermissionError):
        return RunFailed(f"{message}; give the right to use it, or another folder")
    return ValueError(message)


def end_reason(error: BaseException) -> str:
    """Why a run ended before its end, in a few words for `fld status`."""
    if isinstance(error, Terminated):
        return "it was asked to end (SIGTERM)"
    if isinstance(error, KeyboardInterrupt):
        return "Ctrl-C"
    return " ".join(str(error).split()) or type(error).__name__


def last_line(error: BaseException) -> str:
    """Return the last line of an error's message: Ray's messages end with the error itself."""
    lines = [line.strip() for line in str(error).splitlines() if line.strip()]
    return lines[-1] if lines else type(error).__name__
