"""Files of the source that are no longer what they were when they came in.

Ingest is append-only: what came in stays as it is, whatever becomes of its file. So a file that was
replaced, deleted, or put where there was none is told, and what to do about it. The journal keeps
the size of each file, and its time or digest if a listing of the store tells it. A work folder
without these (an older one) gets them at its next run, and knows of changes from then on.
"""

from __future__ import annotations

import itertools
import logging
from collections import Counter
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass, field

from pipeline.config.run import RunConfig, SourceConfig
from pipeline.ingest.assignment import naming, open_source
from pipeline.ingest.known_sources import setting
from pipeline.storage import layout, layout_journal
from pipeline.storage.layout import STEM
from pipeline.storage.parquet import publish_table, read_table
from pipeline.storage.sources import read_sources
from pipeline.storage.store import Store
from stages.source import FileSource, Source

# Stands for the stamp of a file that does not exist.
NO_FILE = ""
CHANGED, GONE, NEW = "changed", "gone", "new"


@dataclass(frozen=True, slots=True, kw_only=True)
class FileStamp:
    """What the store said of a file of the source when its images came in."""

    file: str
    stamp: str
    """Its size, and its time or digest; empty if there was no such file."""


@dataclass(frozen=True, slots=True)
class Listing:
    """What a source lists."""

    names: list[str]
    """Its names, at most `source.limit` of them."""
    stamps: dict[str, str] | None
    """By the files of all names: `FileStamp.stamp`. None for a source without files."""
    taken: int = 0
    """How many of these files, the first ones, are behind `names`."""


@dataclass(slots=True)
class FileChanges:
    """Which files are not what they were, by kind."""

    counts: Counter[str] = field(default_factory=Counter)
    """How many."""
    first: dict[str, str] = field(default_factory=dict)
    """The first of them."""

    def add(self, kind: str, file: str) -> None:
        """Count one file."""
        self.counts[kind] += 1
        self.first.setdefault(kind, file)

    def line(self, where: str, work: str) -> str:
        """What to tell the user; `where` is the setting of the path with its value."""
        says = {
            CHANGED: "changed in size or time since they came in",
            GONE: "gone",
            NEW: "there now but missing before",
        }
        parts = []
        for kind, text in says.items():
            if self.counts[kind]:
                parts.append(f"{self.counts[kind]} {text} ({self.first[kind]})")
        advice = f"`fld retry {work}` reads again what failed"
        if self.counts[CHANGED] or self.counts[GONE]:
            advice = f"what came in stays as it is, another work starts anew, {advice}"
        total = self.counts.total()
        return f"{where}: {total} files are not as before: {', '.join(parts)}; {advice}"


def read_listing(config: SourceConfig) -> Listing:
    """List a source.

    Raises:
        ValueError: the source is missing or empty, or a setting names what it does not have.
    """
    source = open_source(config)
    all_names = source.list()
    names = all_names[: config.limit]
    if not isinstance(source, FileSource):
        return Listing(names, None)
    stamps = source.stamps()
    found: dict[str, str] = {}
    taken = 0
    for number, name in enumerate(all_names, 1):
        for file in source.files_of(name):
            found[file] = stamps.get(file, NO_FILE)
        if number == len(names):
            taken = len(found)
    return Listing(names, found, taken)


def read_listings(run: RunConfig) -> dict[str, Listing]:
    """List all sources of a run, by their names.

    Raises:
        ValueError: a source is missing or empty, or a setting names what it does not have.
    """
    found = {}
    for name, config in run.all_sources.items():
        with naming(name):
            found[name] = read_listing(config)
    return found


def names_of(listings: Mapping[str, Listing]) -> dict[str, list[str]]:
    """The names that the sources list, by the names of the sources."""
    return {name: listing.names for name, listing in listings.items()}


def announce_changes(
    store: Store, sources: Mapping[str, SourceConfig], listings: Mapping[str, Listing]
) -> None:
    """Warn in one line a source of the files that are not what they were when they came in."""
    work = read_sources(store)
    for name, listing in listings.items():
        if listing.stamps is None:
            continue
        changes = find_changes(_read(store, work.stem(name)), listing.stamps)
        if changes.counts:
            path = str(getattr(sources[name].options, "path", ""))
            line = changes.line(f"{setting(name, 'path')}={path}", store.url)
            logging.getLogger("fld").warning("%s", line)


def find_changes(before: Mapping[str, str], now: Mapping[str, str]) -> FileChanges:
    """Compare the stamps of files."""
    changes = FileChanges()
    for file, stamp in before.items():
        present = now.get(file, NO_FILE)
        if present == stamp:
            continue
        if present == NO_FILE:
            changes.add(GONE, file)
        else:
            changes.add(NEW if stamp == NO_FILE else CHANGED, file)
    return changes


def record_files(store: Store, listings: Mapping[str, Listing]) -> None:
    """Keep the stamps of the files whose images come in now, and of those that have none yet."""
    work = read_sources(store)
    for name, listing in listings.items():
        if listing.stamps is None:
            continue
        stem = work.stem(name)
        known = _read(store, stem)
        taken = itertools.islice(listing.stamps, listing.taken)
        new = [file for file in taken if file not in known]
        _append(store, stem, new, listing.stamps)


def record_again(store: Store, source: Source, names: Iterable[str], stem: str = STEM) -> None:
    """Keep the present stamps of the files behind names that were read once more.

    `stem` is how the shards of the source begin.
    """
    if not isinstance(source, FileSource):
        return
    files: dict[str, None] = {}
    for name in names:
        files.update(dict.fromkeys(source.files_of(name)))
    if files:
        _append(store, stem, list(files), source.stamps())


def _append(store: Store, stem: str, files: Sequence[str], stamps: Mapping[str, str]) -> None:
    rows = [FileStamp(file=file, stamp=stamps.get(file, NO_FILE)) for file in files]
    if rows:
        table = layout_journal.source_files_table(len(_tables(store, stem)), stem)
        publish_table(store, table, FileStamp, rows)


def _tables(store: Store, stem: str) -> list[str]:
    """The tables of a source, without the folders of other sources."""
    return [name for name in store.list(layout_journal.source_files(stem)) if layout.is_table(name)]


def _read(store: Store, stem: str) -> dict[str, str]:
    """The newest stamp of each file."""
    stamps = {}
    for name in _tables(store, stem):
        rows: list[FileStamp] = read_table(
            store, layout_journal.in_source_files(name, stem), FileStamp
        )
        for row in rows:
            stamps[row.file] = row.stamp
    return stamps
