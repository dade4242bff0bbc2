"""Whether two work folders hold the same bytes, and which samples differ if they do not."""

from __future__ import annotations

import hashlib
import tarfile
from collections.abc import Mapping
from contextlib import suppress
from dataclasses import dataclass
from io import BytesIO

import pyarrow as pa

from pipeline.storage import layout, layout_journal
from pipeline.storage.parquet import parse_parquet
from pipeline.storage.store import Store

NOT_COMPARED = frozenset({layout.CONFIG, layout.REPORT})
"""They name the work folder itself."""


@dataclass(frozen=True, slots=True)
class Difference:
    """In what two work folders differ."""

    files: tuple[str, ...]
    """Names that only one of them has, or whose bytes differ."""
    shards: frozenset[str]
    """The shards of these files. What counts a whole round belongs to no shard."""
    samples: frozenset[str]
    """Keys of the samples that differ in the tables and tars among these files."""


def difference(one: Store, other: Store) -> Difference:
    """Compare all published files. The journal is not published."""
    before, after = published(one), published(other)
    names = []
    samples: set[str] = set()
    for name in sorted({*before, *after}):
        if before.get(name) == after.get(name):
            continue
        names.append(name)
        if name in before and name in after:
            samples |= _changed(rows(name, one.read(name)), rows(name, other.read(name)))
    known = {*one.done(layout.IMAGES), *other.done(layout.IMAGES)}
    shards = {name.rpartition("/")[2].partition(".")[0] for name in names}
    return Difference(tuple(names), frozenset(shards & known), frozenset(samples))


def published(store: Store) -> dict[str, str]:
    """The sha256 of every published file by its name."""
    found = {}
    for path in store.fs.find(store.root):
        name = path.removeprefix(f"{store.root}/")
        if name in NOT_COMPARED or name.startswith(f"{layout_journal.JOURNAL}/"):
            continue
        found[name] = hashlib.sha256(store.read(name)).hexdigest()
    return found


def rows(name: str, data: bytes) -> Mapping[str, object]:
    """What a file holds of each sample, by the key of the sample.

    Empty for other files, and for broken ones.
    """
    with suppress(OSError, pa.ArrowException, tarfile.TarError):
        if layout.shard_of_table(name) is not None:
            return _table_rows(data)
        if layout.shard_of_tar(name) is not None:
            return _tar_rows(data)
    return {}


def _table_rows(data: bytes) -> Mapping[str, object]:
    found: dict[str, object] = {}
    for row in parse_parquet(data).to_pylist():
        if "key" in row:
            # Where a sample lies depends on the samples before it.
            placed = {column: row[column] for column in row if not column.endswith("_offset")}
            found[row["key"]] = placed
    return found


def _tar_rows(data: bytes) -> Mapping[str, object]:
    found: dict[str, object] = {}
    with tarfile.open(fileobj=BytesIO(data)) as tar:
        for member in tar:
            file = tar.extractfile(member)
            if file is not None:
                found[member.name] = file.read()
    return _by_sample(found)


def _by_sample(members: Mapping[str, object]) -> Mapping[str, object]:
    """The members of a tar by the key of their sample."""
    samples: dict[str, list[object]] = {}
    for name, content in members.items():
        samples.setdefault(name.partition(".")[0], []).append(content)
    return samples


def _changed(before: Mapping[str, object], after: Mapping[str, object]) -> set[str]:
    """The keys whose content differs."""
    return {key for key in {*before, *after} if before.get(key) != after.get(key)}
