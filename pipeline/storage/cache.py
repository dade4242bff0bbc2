"""Copies of remote files and folders on the disk of this machine, within a limit.

The variables FLD_CACHE (a folder) and FLD_CACHE_GB say where they lie and how much they may take.
They belong to a machine and its disk, not to a run, so they are no settings.
"""

from __future__ import annotations

import os
import shutil
import tempfile
import time
import uuid
from collections.abc import Callable
from contextlib import suppress
from dataclasses import dataclass
from pathlib import Path

FOLDER, LIMIT = "FLD_CACHE", "FLD_CACHE_GB"
DEFAULT_GB = 20.0
IN_USE_SECONDS = 600.0
"""A copy that somebody asked for in this time is kept, because a model may still be loading."""
LEFT_BEHIND_SECONDS = 86_400.0
"""A copy that has not become whole in this time was left by a process that is gone."""


@dataclass(frozen=True, slots=True)
class Copy:
    """A copy in the cache."""

    path: Path
    used: float
    """When it was asked for last, in seconds since 1970."""
    size: int
    """In bytes."""


class Cache:
    """The copies on this machine; all processes of a user share them."""

    def __init__(self, folder: Path, limit: int) -> None:
        self.folder = folder
        self.limit = limit
        """In bytes."""

    @classmethod
    def of_machine(cls) -> Cache:
        """The cache that the environment names.

        Raises:
            ValueError: FLD_CACHE_GB is no number.
        """
        folder = os.environ.get(FOLDER) or os.path.join(tempfile.gettempdir(), "fld")
        text = os.environ.get(LIMIT) or str(DEFAULT_GB)
        try:
            limit = float(text)
        except ValueError:
            raise ValueError(f"{LIMIT}={text}: give a number of gigabytes") from None
        return cls(Path(folder), int(limit * 1e9))

    def get(self, mark: str, fetch: Callable[[str], object]) -> Path:
        """The copy that is called `mark`; `fetch` writes it to a path if there is none yet.

        `mark` must name the content, because a copy is never compared with the store again.
        """
        path = self.folder / mark
        if path.exists():
            with suppress(FileNotFoundError):
                os.utime(path)
                return path
        self.folder.mkdir(parents=True, exist_ok=True)
        aside = self.folder / f"{mark}.{uuid.uuid4().hex}"
        try:
            fetch(str(aside))
            # Another process may have fetched it meanwhile.
            with suppress(OSError):
                os.rename(aside, path)
        finally:
            _remove(aside)
        self._make_room(path)
        return path

    def _make_room(self, kept: Path) -> None:
        """Remove the copies that were not asked for the longest, until the rest is in the limit."""
        copies = sorted(self._copies(), key=_last_used)
        total = sum(copy.size for copy in copies)
        now = time.time()
        for copy in copies:
            age = now - copy.used
            is_aside = "." in copy.path.name
            if is_aside and age < LEFT_BEHIND_SECONDS:
                continue
            if is_aside or (total > self.limit and age > IN_USE_SECONDS and copy.path != kept):
                _remove(copy.path)
                total -= copy.size

    def _copies(self) -> list[Copy]:
        found = []
        for path in self.folder.iterdir():
            # Another process may remove it at any moment.
            with suppress(FileNotFoundError):
                found.append(Copy(path, path.stat().st_mtime, _size(path)))
        return found


def _last_used(copy: Copy) -> float:
    return copy.used


def _size(path: Path) -> int:
    """The bytes of a file, or of all files in a folder."""
    if path.is_file():
        return path.stat().st_size
    return sum(file.stat().st_size for file in path.rglob("*") if file.is_file())


def _remove(path: Path) -> None:
    if path.is_dir():
        shutil.rmtree(path, ignore_errors=True)
    else:
        path.unlink(missing_ok=True)
