"""The files of a source behind any fsspec URL.

They are listed, and read up to a size. From a remote store several are read ahead.

No listing holds hidden files, or the files of a work folder: what a run writes is never its input.
"""

from __future__ import annotations

import functools
import os
import re
import stat
from collections import Counter, deque
from collections.abc import Callable, Iterable, Iterator, Mapping, Sequence
from concurrent.futures import Future, ThreadPoolExecutor
from typing import IO, ParamSpec, TypeVar, cast

from stages.base import SampleError
from stages.patience import patiently
from stages.remote import PatientFile
from stages.source import FILE_TOO_LARGE, MAX_BYTES, NOT_A_FILE, UNREADABLE, detail_of

UNSAFE_NAME = "unsafe_name"
# Where macOS puts its own data of each file when it packs a folder.
MAC_FOLDER = "__MACOSX"
# Each of these files marks the folder that it lies in as a work folder: of a run, a training or a
# study (`pipeline.storage.layout`).
WORK_MARKS = ("images/source.json", "journal/lease.json")
# What stores call the time or the digest of a file's content, the most exact first.
MARKS_OF_CONTENT = (
    "ETag",
    "etag",
    "md5Hash",
    "content_md5",
    "mtime",
    "LastModified",
    "last_modified",
    "updated",
    "modified",
    "created",
)
# Threads that read from a remote store.
READERS = 8

Argument = TypeVar("Argument")
Result = TypeVar("Result")
P = ParamSpec("P")


def ahead(
    function: Callable[[Argument], Result], items: Iterable[Argument], workers: int = READERS
) -> Iterator[Result]:
    """`map`, in order, with at most `workers` calls at work.

    No further call starts before a result has been taken, so no more than `workers` results are in
    memory.
    """
    pending: deque[Future[Result]] = deque()
    with ThreadPoolExecutor(workers) as pool:
        for item in items:
            pending.append(pool.submit(function, item))
            if len(pending) == workers:
                yield pending.popleft().result()
        while pending:
            yield pending.popleft().result()


def printable(name: str) -> str:
    """A name that UTF-8 can hold.

    Bytes of a file name that are not UTF-8 (lone surrogates in Python) are written as `\\udcXX`.
    """
    return name.encode("utf-8", "backslashreplace").decode()


def unprintable(name: str) -> str:
    """The file name of which `printable` made `name`."""
    return re.sub(r"\\udc([89a-f][0-9a-f])", lambda match: chr(0xDC00 + int(match[1], 16)), name)


class Files:
    """A single file, or the files with certain suffixes at any depth of a folder.

    Names are relative to the folder, with forward slashes. Hidden files and work folders are left
    out.
    """

    def __init__(self, path: str, suffixes: Sequence[str], setting: str = "source.path") -> None:
        import fsspec
        from fsspec.implementations.local import LocalFileSystem

        try:
            self.fs, root = fsspec.core.url_to_fs(path)
        except ImportError as error:
            raise ValueError(f"{setting}={path}: {error}") from None
        self.local = isinstance(self.fs, LocalFileSystem)
        # How often files of other kinds were found when `list` was called.
        self.left_out: Counter[str] = Counter()
        self._stamps: dict[str, str] | None = None
        self._shown = f"{setting}={path}"
        self._suffixes = tuple(suffixes)
        self._root = root.rstrip("/")
        self._single_file = ""
        if self._type(self._root) == "file":
            self._root, _, self._single_file = self._root.rpartition("/")

    def list(self) -> list[str]:
        """The sorted names of the files.

        Raises:
            ValueError: the folder does not exist, is a work folder, or holds no such files.
        """
        self.left_out = Counter()
        stamps = {}
        for name, info in sorted(self._found().items()):
            if name.lower().endswith(self._suffixes) or self._single_file:
                stamps[name] = _stamp(info)
            else:
                self.left_out[self._kind(name)] += 1
        if not stamps:
            suffixes = ", ".join(self._suffixes)
            raise ValueError(f"{self._shown}: nothing to read in it; looked for {suffixes}")
        self._stamps = stamps
        return list(stamps)

    def stamps(self) -> Mapping[str, str]:
        """By file: its size, and its time or digest as far as a listing of the store tells it.

        Raises:
            ValueError: as `list`.
        """
        if self._stamps is None:
            self.list()
        return self._stamps or {}

    def _found(self) -> dict[str, Mapping[str, object]]:
        """What the store says of each file that is neither hidden nor in a work folder, by name."""
        if self._single_file:
            info = self._ask(self.fs.info, f"{self._root}/{self._single_file}")
            return {printable(self._single_file): info}
        if self._type(self._root) != "directory":
            raise ValueError(f"{self._shown}: no such folder or file")
        found = {}
        for path, info in self._ask(self.fs.find, self._root, detail=True).items():
            found[path.removeprefix(self._root + "/")] = info
        work_folders = _work_folders(found)
        if "" in work_folders:
            raise ValueError(
                f"{self._shown}: it is a work folder; give a folder of data, or the tars of one of "
                "its rounds (rounds/NN-.../shards)"
            )
        own = {}
        for name, info in found.items():
            if not (is_hidden(name) or name.startswith(work_folders)):
                own[printable(name)] = info
        return own

    def _ask(self, ask: Callable[P, Result], *args: P.args, **kwargs: P.kwargs) -> Result:
        """Ask the store; a remote one is asked again while it does not answer."""
        if self.local:
            return ask(*args, **kwargs)
        return patiently(self._shown, ask, *args, **kwargs)

    def _type(self, path: str) -> str:
        """What lies at a path: "file", "directory", or "" if nothing does.

        fsspec's own questions (`isfile`, `isdir`, `exists`) take a store that does not answer for
        a no.
        """
        if self.local:
            if self.fs.isdir(path):
                return "directory"
            return "file" if self.fs.isfile(path) else ""
        try:
            return str(self._ask(self.fs.info, path)["type"])
        except (FileNotFoundError, NotADirectoryError):
            return ""

    def _kind(self, name: str) -> str:
        """What a file that is left out is.

        Links to folders are not followed, because they may form a circle.
        """
        if self.local and os.path.isdir(self.path(name)):
            return "links to folders"
        return os.path.splitext(name)[1].lower() or "without a suffix"

    def read(self, names: Iterable[str]) -> Iterator[bytes | SampleError]:
        """The content of each file, or the reason why it cannot be read."""
        if self.local:
            yield from map(self.fetch, names)
        else:
            yield from ahead(self.fetch, names)

    def fetch(self, name: str) -> bytes | SampleError:
        """The content of one file, or the reason why it cannot be read."""
        try:
            with self.open(name) as file:
                size = getattr(file, "size", None)
                if size is not None and size > MAX_BYTES:
                    return _too_large(f"{size}")
                # A store that does not know the size is read one byte further than allowed.
                data = file.read(MAX_BYTES + 1) if size is None else file.read()
        except SampleError as error:
            return error
        except (OSError, ValueError) as error:
            # The file is gone, a dangling link, without permission, or its name holds a NUL.
            return unreadable(error)
        if len(data) > MAX_BYTES:
            return _too_large(f"{size}" if size else "more")
        return data

    def open(self, name: str) -> IO[bytes]:
        """A file, open for reading.

        Raises:
            OSError: it cannot be opened.
            StoreSilent: its store has not answered for minutes, now or when it is read.
            SampleError: it is a pipe, a device or a folder, or its name leads out of the source.
        """
        if is_unsafe(name):
            raise SampleError(UNSAFE_NAME, name)
        path = self.path(name)
        if self.local and not stat.S_ISREG(os.stat(path).st_mode):
            raise SampleError(NOT_A_FILE, "a pipe, a device or a folder")
        open_file = functools.partial(self.fs.open, path, "rb")
        file = open_file() if self.local else PatientFile(self._shown, open_file)
        return cast(IO[bytes], file)

    def exists(self, name: str) -> bool:
        path = self.path(name)
        return bool(self.fs.exists(path)) if self.local else self._type(path) != ""

    def path(self, name: str) -> str:
        """The path of a file in its store."""
        path = f"{self._root}/{name}"
        if self.local and "\\udc" in name and not os.path.lexists(path):
            return f"{self._root}/{unprintable(name)}"
        return path


def unreadable(error: Exception) -> SampleError:
    """A store's error as the problem of one sample."""
    return SampleError(UNREADABLE, detail_of(error))


def _too_large(size: str) -> SampleError:
    return SampleError(FILE_TOO_LARGE, f"{size} bytes, the most is {MAX_BYTES}")


def is_unsafe(name: str) -> bool:
    """Whether a name leads out of its folder or tar."""
    return name.startswith("/") or ".." in name.split("/")


def is_hidden(path: str) -> bool:
    """Whether a file, or a folder above it, has a name that begins with a dot, or is of macOS."""
    return bool(re.search(rf"(^|/)(\.|{MAC_FOLDER}/)", path))


def _work_folders(names: Iterable[str]) -> tuple[str, ...]:
    """The work folders among the folders of some files, with a slash; "" for the root itself."""
    found = set()
    for name in names:
        for mark in WORK_MARKS:
            if f"/{name}".endswith(f"/{mark}"):
                found.add(name.removesuffix(mark))
    return tuple(found)


def _stamp(info: Mapping[str, object]) -> str:
    """The size of a file, and its digest or time if the store tells one without reading it."""
    for mark in MARKS_OF_CONTENT:
        if info.get(mark):
            return f"{info.get('size')} {info[mark]}"
    return f"{info.get('size')}"
