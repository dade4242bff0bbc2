"""The lists that a user gives: keys of a split, takedowns, evaluation images.

A list is a text file, any fsspec URL, with one entry a line. Empty lines and lines that begin with
# are left out. An entry of 64 hexadecimal digits is a sha256, `phash:` and 16 of them a perceptual
hash, anything else a key, a name or a URL.
"""

from __future__ import annotations

import re
from collections.abc import Iterator, Sequence
from dataclasses import dataclass

import fsspec

from stages.base import SampleError
from stages.dedup import HashConfig, Hashed, Hashes
from stages.ingest import SUFFIXES, accept

_SHA256 = re.compile(r"[0-9a-fA-F]{64}")
_PHASH = re.compile(r"phash:([0-9a-fA-F]{16})")


@dataclass(frozen=True, slots=True)
class Entries:
    """The entries of some lists, by what they are."""

    names: frozenset[str] = frozenset()
    """Keys, names and URLs."""
    sha256: frozenset[str] = frozenset()
    phashes: frozenset[str] = frozenset()

    def __len__(self) -> int:
        return len(self.names) + len(self.sha256) + len(self.phashes)

    def all(self) -> list[str]:
        """The entries in alphabetical order."""
        hashes = {f"phash:{value}" for value in self.phashes}
        return sorted(self.names | self.sha256 | hashes)


def read_lines(setting: str, url: str) -> list[str]:
    """The entries of a list.

    Raises:
        ValueError: the file cannot be read.
    """
    try:
        with fsspec.open(url, "rt", encoding="utf-8") as file:
            lines = [line.strip() for line in file]
    except (OSError, ValueError, ImportError) as error:
        message = f"{type(error).__name__}: give a text file with one entry a line"
        raise ValueError(f"{setting}={url}: {message}") from None
    return [line for line in lines if line and not line.startswith("#")]


def entries_of(lines: Sequence[str]) -> Entries:
    """Tell sha256 sums, perceptual hashes and names apart."""
    names, sums, hashes = set[str](), set[str](), set[str]()
    for line in lines:
        phash = _PHASH.fullmatch(line)
        if phash:
            hashes.add(phash[1].lower())
        elif _SHA256.fullmatch(line):
            sums.add(line.lower())
        else:
            names.add(line)
    return Entries(frozenset(names), frozenset(sums), frozenset(hashes))


def read_takedown(files: Sequence[str]) -> Entries:
    """All entries of the takedown lists."""
    lines: list[str] = []
    for file in files:
        lines += read_lines("takedown", file)
    return entries_of(lines)


def keys_of_urls(tables: Sequence[str], urls: frozenset[str]) -> dict[str, str]:
    """The URL by the key of each row of some Parquet tables whose URL is wanted.

    Raises:
        ValueError: a table cannot be read, or lacks the columns `key` and `url`.
    """
    import pyarrow as pa
    import pyarrow.compute as pc
    import pyarrow.parquet as pq

    wanted = pa.array(sorted(urls), pa.string())
    found = {}
    for table in tables:
        try:
            with fsspec.open(table, "rb") as file:
                for batch in pq.ParquetFile(file).iter_batches(columns=["key", "url"]):
                    rows = batch.filter(pc.is_in(batch["url"], value_set=wanted))
                    for row in rows.to_pylist():
                        found[str(row["key"])] = str(row["url"])
        except (OSError, KeyError, pa.ArrowException) as error:
            message = " ".join(str(error).split())
            raise ValueError(
                f"url_tables={table}: {message}; give a Parquet table with key and url"
            ) from None
    return found


def read_evaluation(place: str, config: HashConfig) -> list[Hashed]:
    """The hashes of the images of an evaluation set: a folder of images, or a list.

    `Hashed.key` is the path below the folder, or the hash in the list.

    Raises:
        ValueError: there are no images, or a file is no image.
    """
    hashes = Hashes(config)
    fs, root = fsspec.core.url_to_fs(place)
    if fs.isdir(root):
        paths = [path for path in sorted(fs.find(root)) if path.lower().endswith(SUFFIXES)]
        rows = list(
            _hashed(
                hashes,
                fs,
                paths,
                root,
            )
        )
    else:
        rows = list(
            _listed(
                hashes,
                fs,
                root,
                read_lines("evaluation", place),
            )
        )
    if not rows:
        raise ValueError(f"evaluation={place}: no images there; give a folder or a list")
    return rows


def _listed(
    hashes: Hashes, fs: fsspec.AbstractFileSystem, file: str, lines: Sequence[str]
) -> Iterator[Hashed]:
    """The rows of a list: hashes as they are, paths relative to the list's folder."""
    entries = entries_of(lines)
    folder = file.rpartition("/")[0]
    yield from references(entries)
    paths = [f"{folder}/{name}" for name in sorted(entries.names)]
    yield from _hashed(
        hashes,
        fs,
        paths,
        folder,
    )


def _hashed(
    hashes: Hashes, fs: fsspec.AbstractFileSystem, paths: Sequence[str], root: str
) -> Iterator[Hashed]:
    """The hashes of image files, one at a time, turned upright as those of a round are."""
    for path in paths:
        name = path.removeprefix(root).lstrip("/")
        try:
            image = accept(fs.cat_file(path))
        except (OSError, SampleError) as error:
            message = " ".join(str(error).split())
            raise ValueError(f"evaluation={path}: {message}; remove it from the set") from None
        yield from hashes("", [name], [image.data])


def references(entries: Entries) -> list[Hashed]:
    """The hashes in a list as rows to compare images with."""
    rows = []
    for value in sorted(entries.sha256):
        rows.append(_reference(value, sha256=value))
    for value in sorted(entries.phashes):
        rows.append(_reference(f"phash:{value}", phash=value))
    return rows


def _reference(name: str, *, sha256: str = "", phash: str = "") -> Hashed:
    return Hashed(
        key=name,
        shard="",
        pixels=0,
        bytes=0,
        sha256=sha256,
        hash=phash,
        mirrored="",
    )
