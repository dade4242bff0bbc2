"""Lists that a user gives: what to refuse or take down, keys of a split, evaluation images.

A list is a text file, any fsspec URL, with one entry a line. Empty lines and lines that begin with
# are left out. An entry of 64 hexadecimal digits is a sha256, `phash:` and 16 of them a perceptual
hash, anything else a key, a name or a URL.
"""

from __future__ import annotations

import hashlib
import io
import re
from collections.abc import Sequence
from dataclasses import dataclass

from pipeline.rows import ImageRow
from stages.dedup import Hashed
from stages.remote import opened

PHASH = "phash"
_SHA256 = re.compile(r"[0-9a-fA-F]{64}")
_PHASH = re.compile(r"phash:([0-9a-fA-F]{16})")
# What was meant as a hash, but is none: it would be taken for a name that fits nothing.
_BROKEN_PHASH = re.compile(r"phash:", re.IGNORECASE)


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
        with io.TextIOWrapper(opened(url), encoding="utf-8") as file:
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


def read_entries(setting: str, files: Sequence[str]) -> Entries:
    """All entries of the lists that a setting names.

    Raises:
        ValueError: one cannot be read, or has a perceptual hash of another form.
    """
    lines: list[str] = []
    for file in files:
        found = read_lines(setting, file)
        for line in found:
            if _BROKEN_PHASH.match(line) and not _PHASH.fullmatch(line):
                raise ValueError(
                    f"{setting}={file}: {line}: no perceptual hash; give phash: and 16 hexadecimal "
                    "digits, as ImageHash writes its phash"
                )
        lines += found
    return entries_of(lines)


def digest_of(url: str) -> str:
    """The sha256 of a list, by which others can tell which list it was."""
    with opened(url) as file:
        return hashlib.sha256(file.read()).hexdigest()


def check_method(setting: str, entries: Entries, method: str) -> None:
    """Check that the perceptual hashes of a list are of the kind that images are compared by.

    Raises:
        ValueError: they are not, so that they would fit nothing, or something else.
    """
    if entries.phashes and method != PHASH:
        raise ValueError(
            f"dedup.method={method}: the lists of {setting} have perceptual hashes, which are made "
            f"by {PHASH}; set dedup.method={PHASH}"
        )


def entries_for(row: ImageRow, entries: Entries) -> list[str]:
    """The entries that name an image by its key, its name or its sha256."""
    found = []
    for value in dict.fromkeys((row.key, row.name)):
        if value in entries.names:
            found.append(value)
    for checksum in dict.fromkeys((row.sha256, row.source_sha256)):
        if checksum is not None and checksum in entries.sha256:
            found.append(checksum)
    return found


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
