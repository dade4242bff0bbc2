"""`fld release verify`: everything that can be checked of a release without its work folder.

Checksums; that all files are there and no others; each shard (`verify_part`); that no sample and no
image is in two splits; that statistics, card and Croissant metadata are those of a recount. Memory
is that of one shard and 24 bytes for each sample.
"""

from __future__ import annotations

import hashlib
import json
import math
from collections.abc import Callable, Iterator
from dataclasses import dataclass, field
from typing import Any

import numpy as np

from pipeline.release.card import card, difference
from pipeline.release.checksums import parse_checksums
from pipeline.release.croissant import croissant
from pipeline.release.facts import Facts, read_facts
from pipeline.release.files import files_in
from pipeline.release.findings import OTHER_BYTES, Finding, Findings
from pipeline.release.shards import part_counts
from pipeline.release.statistics import Counts, Totals
from pipeline.release.tables import RemovedRow, SampleRow
from pipeline.release.verify_part import PartCheck
from pipeline.release.verify_rows import read_rows
from pipeline.storage import layout, layout_release
from pipeline.storage.json_types import Json
from pipeline.storage.store import Store

BLOCK_BYTES = 1 << 20
Advance = Callable[[int, int], None]
"""Takes how many units are done, and of how many."""


@dataclass(frozen=True, slots=True)
class VerifyReport:
    """What was checked, and what is wrong."""

    files: int
    samples: int
    annotations: int
    is_recounted: bool
    """Whether card, metadata and statistics were compared with a recount; not if something that is
    counted cannot be read."""
    findings: list[Finding]


@dataclass(slots=True)
class Marks:
    """64 bits of the hash of each key and of each image, to find those that come twice."""

    keys: list[np.ndarray] = field(default_factory=list)
    """For each part: (n,) uint64."""
    images: list[np.ndarray] = field(default_factory=list)
    indexes: list[str] = field(default_factory=list)
    """The table of samples of each part."""

    def add(self, check: PartCheck) -> None:
        """Take in the samples of one part."""
        keys = [_mark(row.key) for row in check.rows]
        images = [_mark(row.sha256) for row in check.rows]
        self.keys.append(np.array(keys, np.uint64))
        self.images.append(np.array(images, np.uint64))
        self.indexes.append(check.index)

    def repeated(self) -> tuple[set[int], set[int]]:
        """The marks of keys, and those of images, that come more than once."""
        return _repeated(self.keys), _repeated(self.images)


def verify(url: str, advance: Advance) -> VerifyReport:
    """Check a release. `advance` is called with the shards done and in all.

    Raises:
        ValueError: there is no release at `url`.
    """
    return Verify(url).run(advance)


class Verify:
    """The checks of one release."""

    def __init__(self, url: str) -> None:
        self.store = Store(url)
        self.findings = Findings()
        self.is_readable = True
        """False once a record or a table cannot be read, so that the counts are unknown."""
        self.files = files_in(self.store, "")
        if layout_release.FACTS not in self.files:
            raise ValueError(f"{url}: no release there; give the folder of `fld release build`")

    def run(self, advance: Advance) -> VerifyReport:
        """All checks."""
        self._check_sums()
        facts = self._facts()
        total = Counts()
        marks = Marks()
        shards = self._shards()
        for number, (shard, splits) in enumerate(sorted(shards.items()), 1):
            # The sums are added up in the order in which the build has added them.
            total.merge(self._removed(shard))
            for split in sorted(splits):
                check = PartCheck(self.store, split, shard, self.findings)
                check.run(facts)
                self.is_readable &= check.is_readable
                marks.add(check)
                counts = part_counts(check.records, check.rows, check.flags)
                total.merge(counts)
            advance(number, len(shards))
        self._check_disjoint(marks)
        totals = total.totals()
        if facts is not None and self.is_readable:
            self._check_recount(facts, totals)
        annotations = 0
        for maker in totals["makers"]:
            annotations += maker["annotations"]
        return VerifyReport(
            files=len(self.files),
            samples=totals["annotations"]["images"],
            annotations=annotations,
            is_recounted=facts is not None and self.is_readable,
            findings=self.findings.all(),
        )

    def _check_sums(self) -> None:
        """Check that the files are those of `SHA256SUMS`, byte for byte."""
        name = layout_release.CHECKSUMS
        if name not in self.files:
            self.findings.add(name, "is missing, so the release is not whole")
            return
        sums, broken = parse_checksums(self.store.read(name).decode(errors="replace"))
        for line in broken:
            self.findings.add(name, f"a line is broken: {line!r}")
        for file in self.files:
            if file == name:
                continue
            if file not in sums:
                self.findings.add(name, f"has no line for {file}")
            elif self._sha256(file) != sums[file]:
                self.findings.add(file, OTHER_BYTES)
        for file in sorted(sums.keys() - set(self.files)):
            self.findings.add(file, f"is missing, but {name} lists it")

    def _sha256(self, name: str) -> str:
        hasher = hashlib.sha256()
        with self.store.open(name) as file:
            while block := file.read(BLOCK_BYTES):
                hasher.update(block)
        return hasher.hexdigest()

    def _facts(self) -> Facts | None:
        """The facts of the release, None if they are broken."""
        try:
            return read_facts(self.store.read(layout_release.FACTS))
        except ValueError as error:
            self.findings.add(layout_release.FACTS, f"unreadable: {error}")
            return None

    def _shards(self) -> dict[str, set[str]]:
        """The splits of each shard, from the names of all tars and tables."""
        shards: dict[str, set[str]] = {}
        for file in self.files:
            part, _, rest = file.partition("/")
            split, _, name = rest.rpartition("/")
            shard = layout.shard_of_tar(name) or layout.shard_of_table(name)
            if shard is None:
                continue
            if part == layout_release.REMOVED:
                shards.setdefault(shard, set())
            elif part in layout_release.PARTS:
                splits = shards.setdefault(shard, set())
                splits.add(split)
        return shards

    def _removed(self, shard: str) -> Counts:
        """The counts of what is left out of a shard."""
        name = layout_release.removed_table("", shard)
        rows = read_rows(
            self.store,
            name,
            RemovedRow,
            self.findings,
        )
        if rows is None:
            self.is_readable = False
        counts = Counts()
        counts.add_removed(rows or [])
        return counts

    def _check_disjoint(self, marks: Marks) -> None:
        """Check that no key comes twice, and no image in two splits."""
        keys, images = marks.repeated()
        if not keys and not images:
            return
        first_key: dict[str, str] = {}
        first_image: dict[str, SampleRow] = {}
        unlisted = Findings()
        for name in marks.indexes:
            for row in read_rows(self.store, name, SampleRow, unlisted) or ():
                if _mark(row.key) in keys:
                    other = first_key.setdefault(row.key, name)
                    if other != name:
                        self.findings.add(name, f"its key is in {other}, too", row.key)
                if _mark(row.sha256) in images:
                    same = first_image.setdefault(row.sha256, row)
                    if same.split != row.split and same.key != row.key:
                        problem = f"its image is that of {same.key} in the split {same.split}"
                        self.findings.add(name, problem, row.key)

    def _check_recount(self, facts: Facts, totals: Totals) -> None:
        """Compare statistics, Croissant metadata and card with a recount."""
        expected: Json = dict(totals)
        self._check_json(layout_release.STATISTICS, expected)
        self._check_json(layout_release.CROISSANT, croissant(facts, totals))
        name = layout_release.CARD
        if name not in self.files:
            self.findings.add(name, "is missing")
            return
        said = self.store.read(name).decode(errors="replace")
        for line, near in difference(said, card(facts, totals)):
            instead = f", not `{near}`" if near else ""
            self.findings.add(name, f"a recount gives `{line}`{instead}")

    def _check_json(self, name: str, expected: Json) -> None:
        """Compare a JSON file with what it should hold."""
        if name not in self.files:
            self.findings.add(name, "is missing")
            return
        try:
            said = json.loads(self.store.read(name))
        except ValueError as error:
            self.findings.add(name, f"unreadable: {error}")
            return
        right = json.loads(json.dumps(expected))
        for place, value, wanted in _differences(said, right, ""):
            self.findings.add(name, f"{place} is {value}, a recount gives {wanted}")


def _differences(
    said: Any,
    right: Any,
    place: str,
) -> Iterator[tuple[str, object, object]]:
    """(place, value, right value) of everything in which two JSON values differ.

    Means may differ in their last digits: another version may have added the numbers in another
    order.
    """
    if said == right:
        return
    if isinstance(said, float) and isinstance(right, float) and math.isclose(said, right):
        return
    if isinstance(said, dict) and isinstance(right, dict):
        names = said.keys() | right.keys()
        for name in sorted(names):
            below = f"{place}.{name}".lstrip(".")
            yield from _differences(
                said.get(name),
                right.get(name),
                below,
            )
        return
    are_lists = isinstance(said, list) and isinstance(right, list)
    if not are_lists or len(said) != len(right):
        yield place, said, right
        return
    for number, wanted in enumerate(right):
        below = f"{place}[{number}]"
        yield from _differences(said[number], wanted, below)


def _mark(text: str) -> int:
    """64 bits of a hash."""
    digest = hashlib.sha256(text.encode()).digest()
    return int.from_bytes(digest[:8], "big")


def _repeated(parts: list[np.ndarray]) -> set[int]:
    """The numbers that come more than once in some arrays, each (n,) uint64."""
    if not parts:
        return set()
    values, counts = np.unique(np.concatenate(parts), return_counts=True)
    return set(values[counts > 1].tolist())
