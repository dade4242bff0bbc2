"""The work folder behind any fsspec URL: reading, listing, atomic publishing and manifests.

This is the only file that touches paths of the work folder. A file is *published*: it appears whole under its final
name or not at all. A shard's manifest is published after its files, so its existence means that they are complete; a
kill between the two leaves nothing that counts.
"""

from __future__ import annotations

import hashlib
import io
import json
import os
import re
import shutil
import tempfile
import uuid
from collections.abc import Collection, Iterator, Mapping, Sequence
from concurrent.futures import ThreadPoolExecutor
from contextlib import contextmanager
from dataclasses import asdict
from typing import IO, Any

import fsspec
from fsspec.implementations.local import LocalFileSystem

from pipeline.errors import SamplesLost
from pipeline.storage import layout
from pipeline.storage.manifest import MANIFEST, Manifest, _json_bytes, digest

IO_THREADS = 16


class Sink(io.RawIOBase):
    """A binary file that hashes what is written, for `Store.publishing`."""

    def __init__(self, file: IO[bytes]) -> None:
        self._file, self._hasher, self.size = file, hashlib.sha256(), 0

    def writable(self) -> bool:
        return True

    def write(self, data: Any) -> int:
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


class Store:
    """One work folder. Names are relative, with forward slashes."""

    def __init__(self, url: str) -> None:
        try:
            self.fs, root = fsspec.core.url_to_fs(url)
        except (
            ImportError,
            ValueError,
        ) as error:  # a protocol whose package is not installed, or that is none
            raise ValueError(f"work={url}: {error}") from None
        self.local = isinstance(self.fs, LocalFileSystem)
        self.root = root.rstrip("/")
        self.url = self.root if self.local else url  # absolute: workers may stand in another folder

    def check_usable(self) -> None:
        """Raises:
        ValueError: a regular file stands where the folder or one above it should be.
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
        return int(self.fs.size(self.path(name)))

    def usage(self, folder: str) -> tuple[int, int]:
        """(files, bytes) beneath a folder."""
        sizes = [entry["size"] for entry in self.fs.find(self.path(folder), detail=True).values()]
        return len(sizes), sum(sizes)

    def open(self, name: str) -> Any:
        return self.fs.open(self.path(name), "rb")

    def read(self, name: str) -> bytes:
        return bytes(self.fs.cat_file(self.path(name)))

    def read_json(self, name: str) -> Any:
        return json.loads(self.read(name))

    def list(self, folder: str) -> list[str]:
        """The names (not paths) in a folder, sorted; none when there is no such folder."""
        path = self.path(folder)
        try:
            if self.local:
                return sorted(os.listdir(path))
            self.fs.invalidate_cache(path)
            return sorted(
                entry.rstrip("/").rsplit("/", 1)[-1] for entry in self.fs.ls(path, detail=False)
            )
        except (FileNotFoundError, NotADirectoryError):
            return []

    def local_copy(self, folder: str) -> str:
        """The path of a folder on local disk, fetched once per process' temporary folder where the store is remote."""
        if self.local:
            return self.path(folder)
        target = os.path.join(tempfile.gettempdir(), "fld", digest(self.url), folder)
        if not os.path.isdir(target):
            aside = f"{target}.{uuid.uuid4().hex}"
            self.fs.get(self.path(folder), aside, recursive=True)
            try:
                os.rename(aside, target)
            except OSError:  # another process on this machine was faster
                shutil.rmtree(aside)
        return target

    def remove(self, name: str) -> None:
        if self.exists(name):
            self.fs.rm(self.path(name), recursive=True)

    @contextmanager
    def publishing(self, name: str) -> Iterator[Sink]:
        """A `Sink` whose content appears under `name` when the block ends without an error.

        The file is written aside on local disk, then renamed or uploaded: an object store shows whole objects only.
        """
        target = self.path(name)
        folder = self.path(layout.TEMPORARY) if self.local else tempfile.gettempdir()
        os.makedirs(folder, exist_ok=True)
        aside = f"{folder}/{uuid.uuid4().hex}"
        try:
            with open(aside, "wb") as file:
                yield Sink(file)
            if self.local:
                os.makedirs(target.rsplit("/", 1)[0], exist_ok=True)
                os.replace(aside, target)
            else:
                self.fs.makedirs(target.rsplit("/", 1)[0], exist_ok=True)
                self.fs.put_file(aside, target)
        finally:
            if os.path.exists(aside):
                os.remove(aside)

    def publish(self, name: str, data: bytes) -> dict[str, Any]:
        with self.publishing(name) as sink:
            sink.write(data)
        return {"sha256": sink.sha256, "size": sink.size}

    def publish_json(self, name: str, value: Any) -> dict[str, Any]:
        return self.publish(name, _json_bytes(value))

    def clear_temporary(self) -> None:
        """Forget what killed writers left; only the holder of the lease may call this."""
        self.remove(layout.TEMPORARY)

    def publish_manifest(self, folder: str, manifest: Manifest) -> None:
        """Raises:
        SamplesLost: what went in is not what came out.
        """
        if lost := manifest.lost():
            raise SamplesLost(f"{folder}: {lost}")
        self.publish(layout.manifest(folder, manifest.name), manifest.encode())

    def read_manifest(self, name: str) -> Manifest:
        try:
            return Manifest.decode(self.read(name))
        except ValueError as error:
            raise ValueError(
                f"{self.path(name)}: {error}; `fld verify` finds and mends what is broken"
            ) from None

    def withdraw(self, folder: str, shards: Mapping[str, Collection[str]]) -> None:
        """Move the manifests of `shards` to the journal, so that their work is done again.

        Never is a file replaced behind a manifest that vouches for it. What was withdrawn tells how much of the files
        still holds (`pipeline.execution.reuse`); the samples named with a shard are done again in any case.
        """

        def move(name: re.Match[str]) -> None:
            shard = name["shard"]
            manifest = self.read_manifest(layout.manifest(folder, name[0]))
            self.publish_json(
                layout.withdrawn(folder, shard), {**asdict(manifest), "redo": sorted(shards[shard])}
            )
            self.remove(layout.manifest(folder, name[0]))

        with ThreadPoolExecutor(IO_THREADS) as pool:
            list(pool.map(move, self._manifest_names(folder, shards)))

    def withdrawn(self, folder: str, shard: str) -> tuple[Manifest, set[str]] | None:
        """The withdrawn manifest of a shard and the samples to do again, None when it was not withdrawn."""
        name = layout.withdrawn(folder, shard)
        if not self.exists(name):
            return None
        value = self.read_json(name)
        return Manifest(**{key: each for key, each in value.items() if key != "redo"}), set(
            value["redo"]
        )

    def done(self, folder: str) -> dict[str, tuple[str, str]]:
        """(input digest, output digest) of every finished shard, from the names of the manifests alone."""
        return {
            name["shard"]: (name["inputs"], name["output"]) for name in self._manifest_names(folder)
        }

    def counts(self, folder: str) -> dict[str, tuple[int, int]]:
        """(samples that went in, samples that failed) of every finished shard, from the names alone."""
        return {
            name["shard"]: (int(name["given"]), int(name["failed"]))
            for name in self._manifest_names(folder)
        }

    def _manifest_names(
        self, folder: str, shards: Collection[str] | None = None
    ) -> Sequence[re.Match[str]]:
        """The parsed names of manifests; a stray file (of a file manager, of a sync tool) is none."""
        names = self.list(layout.manifests(folder)) if shards is None or shards else []
        return [
            m
            for name in names
            if (m := MANIFEST.fullmatch(name)) and (shards is None or m["shard"] in shards)
        ]

    def manifests(self, folder: str, shards: Collection[str] | None = None) -> Iterator[Manifest]:
        """The manifests of a folder, or of some shards of it, but for those that are withdrawn meanwhile."""

        def read(name: re.Match[str]) -> Manifest | None:
            try:
                return self.read_manifest(layout.manifest(folder, name[0]))
            except FileNotFoundError:
                return None

        with ThreadPoolExecutor(IO_THREADS) as pool:
            yield from filter(None, pool.map(read, self._manifest_names(folder, shards)))
