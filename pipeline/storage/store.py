"""The work folder behind any fsspec URL: reading, listing, atomic publishing and manifests.

A file is *published*: it appears whole under its final name, or not at all. A shard's manifest is
published after its files, so a manifest means that the files are complete. A kill between the two
leaves files that no manifest counts, and the shard is done again.
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
from collections.abc import Callable, Collection, Iterator, Mapping, Sequence
from contextlib import contextmanager, suppress
from dataclasses import asdict, dataclass
from typing import IO, TYPE_CHECKING, ParamSpec, TypeVar

import fsspec
from fsspec.implementations.local import LocalFileSystem

from pipeline.errors import SamplesLost
from pipeline.storage import layout, remote_file
from pipeline.storage.cache import Cache
from pipeline.storage.json_types import Json
from pipeline.storage.manifest import (
    WITHOUT_FAILURES,
    Digests,
    FileDigest,
    Manifest,
    ManifestName,
    SampleCounts,
    digest,
    json_bytes,
)
from pipeline.storage.patience import patiently
from pipeline.storage.threads import mapped

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
    """A binary file that hashes what is written to it; see `Store.publishing`."""

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


@dataclass(frozen=True, slots=True)
class Withdrawn:
    """A manifest that was taken back, so that its shard is done again."""

    manifest: Manifest
    redo: set[str]
    """Keys of samples that must be done again even if their inputs are unchanged."""


class Store:
    """One work folder. Names of files are relative to it, with forward slashes."""

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
        folder = self.path(layout.TEMPORARY) if self.local else tempfile.gettempdir()
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
        self.remove(layout.TEMPORARY)

    def publish_manifest(self, folder: str, manifest: Manifest) -> None:
        """Publish a manifest, after all of its files.

        Raises:
            SamplesLost: its counts do not add up.
        """
        lost = manifest.lost()
        if lost:
            raise SamplesLost(f"{folder}: {lost}")
        self.publish(layout.manifest(folder, manifest.name), manifest.encode())

    def read_manifest(self, name: str) -> Manifest:
        """The manifest in a file.

        Raises:
            ValueError: the file is broken.
        """
        try:
            return Manifest.decode(self.read(name))
        except ValueError as error:
            advice = "`fld verify` finds and repairs broken files"
            raise ValueError(f"{self.path(name)}: {error}; {advice}") from None

    def withdraw(self, folder: str, shards: Mapping[str, Collection[str]]) -> None:
        """Move the manifests of `shards` to the journal, so that these shards are done again.

        A manifest must never describe bytes that have changed, so it is withdrawn before its files
        are rewritten. The withdrawn manifest tells which rows of the old files can be reused
        (`pipeline.execution.reuse`). Samples that are named with a shard are redone in any case.
        """

        def move(name: ManifestName) -> None:
            file = layout.manifest(folder, name.file)
            # Nothing of a shard is reused if its manifest is broken.
            with suppress(ValueError):
                manifest = Manifest.decode(self.read(file))
                value = {**asdict(manifest), "redo": sorted(shards[name.shard])}
                self.publish_json(layout.withdrawn(folder, name.shard), value)
            self.remove(file)

        if not shards:
            return
        for _ in mapped(move, self._manifest_names(folder, shards)):
            pass

    def withdrawn(self, folder: str, shard: str) -> Withdrawn | None:
        """The withdrawn manifest of a shard, None if there is none."""
        name = layout.withdrawn(folder, shard)
        if not self.exists(name):
            return None
        value = self.read_json(name)
        redo = set(value.pop("redo"))
        return Withdrawn(Manifest.from_json(value), redo)

    def done(self, folder: str) -> dict[str, Digests]:
        """The digests of every finished shard, from the names of the manifests alone."""
        return {name.shard: name.digests for name in self._manifest_names(folder)}

    def counts(self, folder: str) -> dict[str, SampleCounts]:
        """The samples of every finished shard, from the names of the manifests alone."""
        return {name.shard: name.counts for name in self._manifest_names(folder)}

    def with_failures(self, folder: str) -> Sequence[str]:
        """The finished shards in which samples failed, from the names of the manifests alone."""
        failed = []
        for file in self.list(layout.manifests(folder)):
            # Most names need not be parsed.
            if file.endswith(WITHOUT_FAILURES):
                continue
            name = ManifestName.parse(file)
            if name is not None:
                failed.append(name.shard)
        return sorted(failed)

    def manifests(self, folder: str, shards: Collection[str] | None = None) -> Iterator[Manifest]:
        """The manifests of a folder, or of some shards of it.

        Manifests that are withdrawn while this runs are left out.
        """

        def read(name: ManifestName) -> Manifest | None:
            try:
                return self.read_manifest(layout.manifest(folder, name.file))
            except FileNotFoundError:
                return None

        if shards is not None and not shards:
            return
        for manifest in mapped(read, self._manifest_names(folder, shards)):
            if manifest is not None:
                yield manifest

    def _manifest_names(
        self,
        folder: str,
        shards: Collection[str] | None = None,
    ) -> Iterator[ManifestName]:
        """The parsed names of manifests. Other files, such as those of a sync tool, are ignored."""
        for file in self.list(layout.manifests(folder)):
            name = ManifestName.parse(file)
            if name is not None and (shards is None or name.shard in shards):
                yield name
