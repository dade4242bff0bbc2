"""`fld release diff`: what a version added, removed and changed, with reasons.

Shards whose files are equal by their checksums are not opened. Of the others, samples are compared
by key and annotations by key and id. The reason of what is gone is in the new version's table of
what was left out; what is new names the stage that made it; what has changed names the columns.
"""

from __future__ import annotations

import json
from collections import Counter
from collections.abc import Iterator, Mapping, Sequence
from contextlib import ExitStack
from dataclasses import dataclass, field, fields
from pathlib import Path
from typing import TYPE_CHECKING

from pipeline.release.checksums import parse_checksums
from pipeline.release.facts import read_facts
from pipeline.release.flow import WITH_SAMPLE
from pipeline.release.tables import SAMPLE, AnnotationRow, RemovedRow, SampleRow
from pipeline.storage import layout, layout_release
from pipeline.storage.json_types import Json
from pipeline.storage.parquet import read_table
from pipeline.storage.store import Store

if TYPE_CHECKING:
    from _typeshed import DataclassInstance

ADDED, REMOVED, CHANGED = "added", "removed", "changed"
NOT_IN_ROUND = "not_in_round"
"""Why something is gone that the new version's round does not know."""
NEW_SAMPLE = "sample_added"
# Columns that say where a sample lies and not what it is.
PLACES = ("image_offset", "image_size", "json_offset", "json_size", "member", "shard")


@dataclass(frozen=True, slots=True, kw_only=True)
class Change:
    """One sample or annotation that differs."""

    what: str
    """added, removed or changed."""
    type: str
    """`sample`, or the type of an annotation."""
    key: str
    id: str | None
    """Of the annotation, None for a sample."""
    reason: str


@dataclass(slots=True)
class _Shard:
    """The rows of one shard of a release."""

    samples: dict[str, SampleRow] = field(default_factory=dict)
    annotations: dict[tuple[str, str], AnnotationRow] = field(default_factory=dict)
    """By (key, id)."""
    removed: dict[tuple[str, str | None], str] = field(default_factory=dict)
    """The reason by (key, id)."""


class _Release:
    """A release that is compared."""

    def __init__(self, url: str) -> None:
        self.store = Store(url)
        if not self.store.exists(layout_release.CHECKSUMS):
            raise ValueError(f"{url}: no finished release there; give the folder of one")
        facts = self.store.read(layout_release.FACTS)
        self.facts = read_facts(facts)
        checksums = self.store.read(layout_release.CHECKSUMS)
        self.sums, _ = parse_checksums(checksums.decode())

    def tables(self) -> dict[str, dict[str, str]]:
        """By shard: the sha256 of the tables that a comparison reads, by name."""
        wanted = (layout_release.INDEX, layout_release.ANNOTATIONS, layout_release.REMOVED)
        shards: dict[str, dict[str, str]] = {}
        for name, mark in self.sums.items():
            part, _, rest = name.partition("/")
            _, _, file = rest.rpartition("/")
            shard = layout.shard_of_table(file)
            if part not in wanted or shard is None:
                continue
            tables = shards.setdefault(shard, {})
            tables[name] = mark
        return shards

    def read(self, names: Sequence[str]) -> _Shard:
        """The rows of some tables of one shard."""
        shard = _Shard()
        for name in names:
            part = name.partition("/")[0]
            if part == layout_release.INDEX:
                for row in read_table(self.store, name, SampleRow):
                    shard.samples[row.key] = row
            elif part == layout_release.ANNOTATIONS:
                for label in read_table(self.store, name, AnnotationRow):
                    shard.annotations[label.key, label.id] = label
            else:
                for gone in read_table(self.store, name, RemovedRow):
                    shard.removed[gone.key, gone.id] = gone.reason
        return shard


def diff(
    old: str,
    new: str,
    out: str | None = None,
) -> Json:
    """The counts of all changes by type and reason; each change as a JSON line into `out`.

    Raises:
        ValueError: one of the folders has no finished release.
    """
    before, after = _Release(old), _Release(new)
    counts: dict[str, dict[str, Counter[str]]] = {}
    with ExitStack() as stack:
        file = stack.enter_context(Path(out).open("w", encoding="utf-8")) if out else None
        for change in changes(before, after):
            types = counts.setdefault(change.what, {})
            types.setdefault(change.type, Counter())[change.reason] += 1
            if file is not None:
                line = {each.name: getattr(change, each.name) for each in fields(change)}
                file.write(json.dumps(line, ensure_ascii=False) + "\n")
    found: Json = {
        "old": f"{before.facts.name} {before.facts.version}",
        "new": f"{after.facts.name} {after.facts.version}",
    }
    for what in (ADDED, REMOVED, CHANGED):
        types = counts.get(what, {})
        found[what] = {name: dict(sorted(types[name].items())) for name in sorted(types)}
    return found


def changes(before: _Release, after: _Release) -> Iterator[Change]:
    """All changes, shard by shard."""
    old_tables, new_tables = before.tables(), after.tables()
    for shard in sorted(old_tables.keys() | new_tables.keys()):
        old = old_tables.get(shard, {})
        new = new_tables.get(shard, {})
        if old != new:
            old_rows = before.read(sorted(old))
            new_rows = after.read(sorted(new))
            yield from _sample_changes(old_rows, new_rows)
            yield from _annotation_changes(old_rows, new_rows)


def _sample_changes(old: _Shard, new: _Shard) -> Iterator[Change]:
    for key, row in old.samples.items():
        if key in new.samples:
            reason = _changed_columns(row, new.samples[key], PLACES)
            if reason:
                yield _of_sample(CHANGED, key, reason)
        else:
            reason = new.removed.get((key, None), NOT_IN_ROUND)
            yield _of_sample(REMOVED, key, reason)
    for key in new.samples:
        if key in old.samples:
            continue
        # It was in the older round if that version has a reason for leaving it out.
        before = old.removed.get((key, None))
        reason = f"no_longer_{before}" if before else "new_in_round"
        yield _of_sample(ADDED, key, reason)


def _annotation_changes(old: _Shard, new: _Shard) -> Iterator[Change]:
    for place, row in old.annotations.items():
        other = new.annotations.get(place)
        if other is not None:
            reason = _changed_columns(row, other, ())
            if reason:
                yield _of_annotation(CHANGED, row, reason)
        elif row.key in new.samples:
            reason = new.removed.get(place, NOT_IN_ROUND)
            yield _of_annotation(REMOVED, row, reason)
        else:
            yield _of_annotation(REMOVED, row, WITH_SAMPLE)
    for place, row in new.annotations.items():
        if place in old.annotations:
            continue
        reason = f"by {row.source}" if row.key in old.samples else NEW_SAMPLE
        yield _of_annotation(ADDED, row, reason)


def _of_sample(what: str, key: str, reason: str) -> Change:
    return Change(
        what=what,
        type=SAMPLE,
        key=key,
        id=None,
        reason=reason,
    )


def _of_annotation(what: str, row: AnnotationRow, reason: str) -> Change:
    return Change(
        what=what,
        type=row.type,
        key=row.key,
        id=row.id,
        reason=reason,
    )


def _changed_columns(
    old: DataclassInstance,
    new: DataclassInstance,
    without: Sequence[str],
) -> str:
    """The names of the columns in which two rows differ."""
    names = []
    for column in fields(old):
        is_changed = getattr(old, column.name) != getattr(new, column.name)
        if is_changed and column.name not in without:
            names.append(column.name)
    return ",".join(names)


def diff_text(found: Mapping[str, object]) -> str:
    """The counts as a terminal shows them."""
    lines = [f"{found['old']} -> {found['new']}"]
    for what in (ADDED, REMOVED, CHANGED):
        types = found[what]
        assert isinstance(types, dict)
        for type_, reasons in types.items():
            parts = [f"{reason} {count:,}" for reason, count in reasons.items()]
            total = sum(reasons.values())
            text = ", ".join(parts)
            lines.append(f"{what}: {total:,} {type_} ({text})")
    if len(lines) == 1:
        lines.append("no changes")
    return "\n".join(lines)
