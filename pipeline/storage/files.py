"""The files of a work folder behind any fsspec URL: reading, listing, atomic publishing.

A file is *published*: it appears whole under its final name, or not at all.
"""

from __future__ import annotations

import errno
import functools
import hashlib
import io
import json
import os
import tempfile
import uuid
from collections.abc import Callable, Iterator, Sequence
from contextlib import contextmanager, suppress
from typing import IO, TYPE_CHECKING, ParamSpec, TypeVar

import fsspec
from fsspec.implementations.local import LocalFileSystem

from pipeline.storage import layout_journal, remote_file
from pipeline.storage.cache import Cache
from pipeline.storage.json_types import Json
from pipeline.storage.manifest import FileDigest, digest, json_bytes
from stages.patience import patiently

if TYPE_CHECKING:
    from _typeshed import ReadableBuffer

P = ParamSpec("P")
R = TypeVar("R")
OBJECT_STORES = frozenset({"s3", "s3a", "gs", "gcs", "abfs", "abfss", "az"})
"""Protocols of stores that have no folders; what seems to be one is a part of a file's name."""
FEW_FILES = 10
"""So many objects are removed one by one: not every store with the interface of S3 knows the
request that removes many."""


class Sink(io.RawIOBase):
    """A binary file that hashes what is written to it; see `Files.publishing`."""

    def __init__(self, file: IO[bytes]) -> None:
        self._file = file
        self._hasher = hashlib.sha256()
        self.size = 0

    def writable(self) -> bool:
        return True

    def write(self, data: ReadableBuffer) -> int:
        self._hasher.update(data)
        written = memoryview(data).nbytes
        self.size += written
        self._file.write(data)
        return written

    def tell(self) -> int:
        return self.size

    @property
    def sha256(self) -> str:
        return self._hasher.hexdigest()

    @property
    def digest(self) -> FileDigest:
        """The digest and size of everything that was written."""
        return FileDigest(self.sha256, self.size)


class Files:
    """One folder. Names of files are relative to it, with forward slashes."""

    def __init__(self, url: str) -> None:
        try:
            # Another process may have published a file since a folder was listed.
            self.fs, root = fsspec.core.url_to_fs(url, use_listings_cache=False)
        except (ImportError, ValueError) as error:
            # The protocol is unknown, or its package is not installed.
            raise ValueError(f"work={url}: {error}") from None
        self.local = isinstance(self.fs, LocalFileSystem)
        self.root = root.rstrip("/")
        # A local path is made absolute, because workers may run in another folder.
        self.url = self.root if self.local else url

    def check_usable(self) -> None:
        """Check that the work folder exists or can be made.

        Raises:
            ValueError: it, or a folder above it, is a file, or its bucket does not exist.
        """
        folder = self.root if self.local else ""
        bucket = self.root.partition("/")[0]
        if self.has_no_folders and not self._ask(self.fs.exists, bucket):
            raise ValueError(f"work={self.url}: there is no bucket {bucket}, or not for you")
        while folder and not os.path.exists(folder):
            folder = os.path.dirname(folder)
        if folder and not os.path.isdir(folder):
            raise ValueError(f"work={self.url}: {folder} is a file; give a folder")

    def path(self, name: str) -> str:
        return f"{self.root}/{name}"

    def shown(self, name: str) -> str:
        """A file as messages name it, so that a person can open it: with the protocol of a URL."""
        return f"{self.url}/{name}"

    @property
    def has_no_folders(self) -> bool:
        """Whether it is an object store."""
        protocol = self.fs.protocol
        protocols = (protocol,) if isinstance(protocol, str) else protocol
        return not OBJECT_STORES.isdisjoint(protocols)

    def _ask(self, ask: Callable[P, R], *args: P.args, **kwargs: P.kwargs) -> R:
        """Ask the file system; a remote one is asked again while it does not answer."""
        if self.local:
            return ask(*args, **kwargs)
        return patiently(self.url, ask, *args, **kwargs)

    def exists(self, name: str) -> bool:
        return bool(self._ask(self.fs.exists, self.path(name)))

    def size(self, name: str) -> int:
        """The size of a file in bytes."""
        return int(self._ask(self.fs.size, self.path(name)))

    def usage(self, folder: str) -> tuple[int, int]:
        """(number of files, their bytes) in a folder and all folders below it."""
        found = self._ask(self.fs.find, self.path(folder), detail=True)
        return len(found), sum(entry["size"] for entry in found.values())

    def open(self, name: str) -> io.BufferedReader:
        """A file to read; a remote one is read in ranges."""
        path = self.path(name)
        if self.local:
            return open(path, "rb")

        def read_range(start: int, end: int) -> bytes:
            return bytes(self._ask(self.fs.cat_file, path, start=start, end=end))

        return remote_file.opened(read_range, self.size(name))

    def open_whole(self, name: str) -> io.BufferedReader:
        """A file of which most will be read, maybe by several processes of this machine.

        A remote one is copied to the cache of this machine, unless it is larger than that.
        """
        if self.local:
            return self.open(name)
        cache = Cache.of_machine()
        path = self.path(name)
        if self.size(name) > cache.limit:
            return self.open(name)
        # It stands for the content: an object's ETag, or size and time.
        mark = digest(path, str(self._ask(self.fs.ukey, path)))
        fetch = functools.partial(self._ask, self.fs.get_file, path)
        return cache.get(mark, fetch).open("rb")

    def read(self, name: str) -> bytes:
        path = self.path(name)
        if self.local:
            # fsspec takes several times as long to open a small file.
            with open(path, "rb") as file:
                return file.read()
        return bytes(self._ask(self.fs.cat_file, path))

    def read_json(self, name: str) -> Json:
        """The JSON object in a file."""
        value: Json = json.loads(self.read(name))
        return value

    def read_json_list(self, name: str) -> Sequence[Json]:
        """The JSON objects in a file that holds a list of them."""
        values: Sequence[Json] = json.loads(self.read(name))
        return values

    def list(self, folder: str) -> list[str]:
        """The names (not paths) in a folder, sorted; an empty list if there is no such folder."""
        path = self.path(folder)
        try:
            if self.local:
                return sorted(os.listdir(path))
            entries = self._ask(self.fs.ls, path, detail=False)
        except (FileNotFoundError, NotADirectoryError):
            return []
        return sorted(entry.rstrip("/").rsplit("/", 1)[-1] for entry in entries)

    def local_copy(self, folder: str) -> str:
        """The path of a folder on local disk.

        A folder of a remote store is copied to the cache of this machine.
        """
        path = self.path(folder)
        if self.local:
            return path
        contents = []
        for name, entry in sorted(self._ask(self.fs.find, path, detail=True).items()):
            contents += [name, str(entry["size"]), str(entry.get("ETag"))]
        fetch = functools.partial(self._ask, self.fs.get, path, recursive=True)
        return str(Cache.of_machine().get(digest(self.url, *contents), fetch))

    def remove(self, name: str) -> None:
        """Remove a file, or a folder with everything in it, if it exists."""
        path = self.path(name)
        if self.local:
            if os.path.exists(path):
                self.fs.rm(path, recursive=True)
            return
        # A folder of an object store is gone with its files.
        files = self._ask(self.fs.find, path)
        with suppress(FileNotFoundError):
            if self.has_no_folders and len(files) <= FEW_FILES:
                for file in files:
                    self._ask(self.fs.rm_file, file)
            elif files:
                self._ask(self.fs.rm, files if self.has_no_folders else path, recursive=True)

    def create(self, name: str, data: bytes) -> bool:
        """Write a file unless there is one, in one step; whether it was written.

        A store that cannot do this in one step (S3: no conditional writes) replaces the file.
        """
        try:
            self._ask(self.fs.pipe_file, self.path(name), data, mode="create")
        except OSError as error:
            is_there = isinstance(error, FileExistsError) or error.errno == errno.EINVAL
            if not is_there:
                raise
            # The answer to a first try may have been lost on its way.
            return self.read(name) == data
        return True

    @contextmanager
    def publishing(self, name: str) -> Iterator[Sink]:
        """A `Sink` whose content appears under `name` when the block ends without an error.

        The content is first written to a temporary file on local disk, which is then renamed, or
        uploaded to an object store: such a store shows whole objects only.
        """
        target = self.path(name)
        folder = self.path(layout_journal.TEMPORARY) if self.local else tempfile.gettempdir()
        os.makedirs(folder, exist_ok=True)
        aside = f"{folder}/{uuid.uuid4().hex}"
        try:
            with open(aside, "wb") as file:
                yield Sink(file)
            parent = target.rsplit("/", 1)[0]
            if self.local:
                os.makedirs(parent, exist_ok=True)
                os.replace(aside, target)
            else:
                if not self.has_no_folders:
                    self._ask(self.fs.makedirs, parent, exist_ok=True)
                self._ask(self.fs.put_file, aside, target)
        finally:
            if os.path.exists(aside):
                os.remove(aside)

    def publish(self, name: str, data: bytes) -> FileDigest:
        with self.publishing(name) as sink:
            sink.write(data)
        return sink.digest

    def publish_json(self, name: str, value: object) -> FileDigest:
        return self.publish(name, json_bytes(value))

    def clear_temporary(self) -> None:
        """Remove what killed writers left. Only the holder of the lease may call this."""
        self.remove(layout_journal.TEMPORARY)
