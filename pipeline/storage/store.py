"""The work folder behind any fsspec URL: reading, listing, atomic publishing and manifests.

A file is *published*: it appears whole under its final name, or not at all. A shard's manifest is
published after its files, so a manifest means that the files are complete. A kill between the two
leaves files that no manifest counts, and the shard is done again.
"""

from __future__ import annotations

import hashlib
import io
import json
import os
import shutil
import tempfile
import uuid
from collections.abc import Collection, Iterator, Mapping, Sequence
from contextlib import contextmanager
from dataclasses import asdict, dataclass
from typing import IO, TYPE_CHECKING

import fsspec
from fsspec.implementations.local import LocalFileSystem

from pipeline.errors import SamplesLost
from pipeline.storage import layout
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
from pipeline.storage.threads import mapped

if TYPE_CHECKING:
    from _typeshed import ReadableBuffer


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
            self.fs, root = fsspec.core.url_to_fs(url)
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
            ValueError: it, or a folder above it, is a file.
        """
        folder = self.root if self.local else ""
        while folder and not os.path.exists(folder):
            folder = os.path.dirname(folder)
        if folder and not os.path.isdir(folder):
            raise ValueError(f"work={self.url}: {folder} is a file; give a folder")

    def path(self, name: str) -> str:
        return f"{self.root}/{name}"

    def exists(self, name: str) -> bool:
        return bool(self.fs.exists(self.path(name)))

    def size(self, name: str) -> int:
        """The size of a file in bytes."""
        return int(self.fs.size(self.path(name)))

    def usage(self, folder: str) -> tuple[int, int]:
        """(number of files, their bytes) in a folder and all folders below it."""
        files = size = 0
        for _, _, found in self.fs.walk(self.path(folder), detail=True):
            for entry in found.values():
                files += 1
                size += entry["size"]
        return files, size

    def open(self, name: str) -> io.BufferedReader:
        # fsspec has no types; all of its files have the methods of this class.
        file: io.BufferedReader = self.fs.open(self.path(name), "rb")
        return file

    def read(self, name: str) -> bytes:
        path = self.path(name)
        if self.local:
            # fsspec takes several times as long to open a small file.
            with open(path, "rb") as file:
                return file.read()
        return bytes(self.fs.cat_file(path))

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
            self.fs.invalidate_cache(path)
            entries = self.fs.ls(path, detail=False)
        except (FileNotFoundError, NotADirectoryError):
            return []
        return sorted(entry.rstrip("/").rsplit("/", 1)[-1] for entry in entries)

    def local_copy(self, folder: str) -> str:
        """The path of a folder on local disk.

        A folder of a remote store is fetched once per machine.
        """
        if self.local:
            return self.path(folder)
        target = os.path.join(
            tempfile.gettempdir(),
            "fld",
            digest(self.url),
            folder,
        )
        if not os.path.isdir(target):
            aside = f"{target}.{uuid.uuid4().hex}"
            self.fs.get(self.path(folder), aside, recursive=True)
            try:
                os.rename(aside, target)
            except OSError:
                # Another process on this machine has fetched it meanwhile.
                shutil.rmtree(aside)
        return target

    def remove(self, name: str) -> None:
        """Remove a file, or a folder with everything in it, if it exists."""
        if self.exists(name):
            self.fs.rm(self.path(name), recursive=True)

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
                self.fs.makedirs(parent, exist_ok=True)
                self.fs.put_file(aside, target)
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
            manifest = self.read_manifest(layout.manifest(folder, name.file))
            value = {**asdict(manifest), "redo": sorted(shards[name.shard])}
            self.publish_json(layout.withdrawn(folder, name.shard), value)
            self.remove(layout.manifest(folder, name.file))

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
