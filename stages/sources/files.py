"""The files of a source behind any fsspec URL: listing, bounded reading, reading ahead where the store is remote."""

from __future__ import annotations

import os
import re
import stat
from collections import Counter, deque
from collections.abc import Callable, Iterable, Iterator, Sequence
from concurrent.futures import Future, ThreadPoolExecutor
from typing import IO, TypeVar

from stages.base import SampleError
from stages.ingest import FILE_TOO_LARGE, MAX_BYTES, NOT_A_FILE, UNREADABLE

UNSAFE_NAME = "unsafe_name"
READERS = 8  # threads that wait for a remote store

T = TypeVar("T")
Result = TypeVar("Result")


def ahead(
    function: Callable[[T], Result], items: Iterable[T], workers: int = READERS
) -> Iterator[Result]:
    """`map`, in order, with `workers` calls under way at most, so that memory is theirs alone."""
    pending: deque[Future[Result]] = deque()
    with ThreadPoolExecutor(workers) as pool:
        for item in items:
            pending.append(pool.submit(function, item))
            if len(pending) == workers:
                yield pending.popleft().result()
        while pending:
            yield pending.popleft().result()


def printable(name: str) -> str:
    """A name that UTF-8 can hold: the stray bytes of one that it cannot (lone surrogates in Python) are spelled out."""
    return name.encode("utf-8", "backslashreplace").decode()


def unprintable(name: str) -> str:
    """The name that `printable` spelled out."""
    return re.sub(r"\\udc([89a-f][0-9a-f])", lambda match: chr(0xDC00 + int(match[1], 16)), name)


class Files:
    """The files with certain suffixes at any depth of a folder, hidden ones left out, or a single file.

    Names are relative to the folder, with forward slashes.
    """

    def __init__(self, path: str, suffixes: Sequence[str], setting: str = "source.path") -> None:
        import fsspec
        from fsspec.implementations.local import LocalFileSystem

        try:
            self.fs, root = fsspec.core.url_to_fs(path)
        except ImportError as error:
            raise ValueError(f"{setting}={path}: {error}") from None
        self.local = isinstance(self.fs, LocalFileSystem)
        self._root, self._path = root.rstrip("/"), path
        self._single = ""
        if self.fs.isfile(self._root):
            self._root, _, self._single = self._root.rpartition("/")
        self._suffixes, self._setting = tuple(suffixes), setting
        self.left_out: Counter[str] = Counter()  # by kind, since they were listed

    def list(self) -> list[str]:
        """Raises:
        ValueError: the folder does not exist or holds no such files.
        """
        if self._single:
            return [printable(self._single)]
        if not self.fs.isdir(self._root):
            raise ValueError(f"{self._setting}={self._path}: no such folder or file")
        found = [path.removeprefix(self._root + "/") for path in self.fs.find(self._root)]
        visible = [printable(name) for name in found if not is_hidden(name)]
        names = sorted(name for name in visible if name.lower().endswith(self._suffixes))
        self.left_out = Counter(
            self._kind(name) for name in visible if not name.lower().endswith(self._suffixes)
        )
        if not names:
            looked_for = ", ".join(self._suffixes)
            raise ValueError(
                f"{self._setting}={self._path}: nothing to read in it; looked for {looked_for}"
            )
        return names

    def read(self, names: Iterable[str]) -> Iterator[bytes | SampleError]:
        """The content of each file, or why it cannot be had."""
        yield from map(self.fetch, names) if self.local else ahead(self.fetch, names)

    def fetch(self, name: str) -> bytes | SampleError:
        try:
            with self.open(name) as file:
                size = getattr(file, "size", None)
                data = (
                    file.read(MAX_BYTES + 1)
                    if size is None
                    else b""
                    if size > MAX_BYTES
                    else file.read()
                )
        except SampleError as error:
            return error
        except (
            OSError,
            ValueError,
        ) as error:  # gone, a dangling link, no permission, a store out of reach, a NUL
            return SampleError(UNREADABLE, f"{type(error).__name__}: {error}"[:200])
        if max(len(data), size or 0) > MAX_BYTES:
            return SampleError(FILE_TOO_LARGE, f"{size or 'more'} bytes, the most is {MAX_BYTES}")
        return data

    def open(self, name: str) -> IO[bytes]:
        """Raises:
        OSError: it cannot be opened.
        SampleError: it is a pipe, a device or a folder, or leads out of the source.
        """
        if is_unsafe(name):
            raise SampleError(UNSAFE_NAME, name)
        path = self.path(name)
        if self.local and not stat.S_ISREG(os.stat(path).st_mode):
            raise SampleError(NOT_A_FILE, "a pipe, a device or a folder")
        file: IO[bytes] = self.fs.open(path, "rb")
        return file

    def _kind(self, name: str) -> str:
        """What a file that is left out is: links to folders are not followed, they may lead round in circles."""
        if self.local and os.path.isdir(self.path(name)):
            return "links to folders"
        return os.path.splitext(name)[1].lower() or "without a suffix"

    def exists(self, name: str) -> bool:
        return bool(self.fs.exists(self.path(name)))

    def path(self, name: str) -> str:
        path = f"{self._root}/{name}"
        if self.local and "\\udc" in name and not os.path.lexists(path):
            return f"{self._root}/{unprintable(name)}"
        return path


def is_unsafe(name: str) -> bool:
    """Leads out of the folder or the tar that it is a name in."""
    return name.startswith("/") or ".." in name.split("/")


def is_hidden(path: str) -> bool:
    return bool(re.search(r"(^|/)\.", path))
