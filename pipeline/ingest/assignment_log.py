"""Which shard each name of the source was assigned to: an append-only log of small tables.

No image of a shard ever changes. Images that failed and were brought in by a later try
(`fld retry`) are therefore assigned again, to a new shard that replaces the failed rows of the
earlier one. The failed rows stay in their table, but they no longer count.
"""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from dataclasses import dataclass

import pyarrow.parquet as pq

from pipeline.storage import layout
from pipeline.storage.images import read_images
from pipeline.storage.parquet import publish_table, read_table
from pipeline.storage.sources import key_of
from pipeline.storage.store import Store

CAME_LATER = "came_later"
"""The reason of a failed sample of a container, if its own reason was in a table that is lost."""


@dataclass(frozen=True, slots=True, kw_only=True)
class ShardAssignment:
    """One name of the source, and the shard that it was assigned to."""

    shard: str
    name: str
    replaces: str | None = None
    """The shard in which it failed before."""
    reason: str | None = None
    """Why it failed there. None if the name is a container of samples (a tar): then this shard
    replaces all failed rows of the earlier one."""


@dataclass(frozen=True, slots=True)
class ColumnStatistics:
    """What Parquet knows of a column of one table without reading its rows."""

    table: str
    statistics: pq.Statistics


def append_assignments(store: Store, rows: Sequence[ShardAssignment]) -> None:
    """Add a table to the log, with the shards of one source."""
    name = layout.listing_table(len(store.list(layout.LISTING)))
    publish_table(store, name, ShardAssignment, rows)


def read_assignments(store: Store) -> list[ShardAssignment]:
    """All assignments, the oldest first."""
    rows = []
    for name in store.list(layout.LISTING):
        rows += read_table(store, layout.in_listing(name), ShardAssignment)
    return rows


def count_shards(store: Store) -> int:
    """How many shards there are, of all sources."""
    return sum(shards_by_stem(store).values())


def shards_by_stem(store: Store) -> dict[str, int]:
    """How many shards begin with each stem, which is that of a source.

    The shards of a stem are numbered in order, and a table of the log has those of one stem, so the
    statistics of the tables are enough.
    """
    counts: dict[str, int] = {}
    for column in _statistics(store, "shard"):
        last = column.statistics.max
        stem = layout.stem_of(last)
        counts[stem] = max(counts.get(stem, 0), layout.shard_number(last) + 1)
    return counts


def replacements(store: Store) -> list[ShardAssignment]:
    """The assignments that replace failed rows. Tables without any are not read."""
    tables = set()
    for column in _statistics(store, "replaces"):
        if column.statistics.num_values:
            tables.add(column.table)
    found = []
    for table in sorted(tables):
        rows: list[ShardAssignment] = read_table(store, table, ShardAssignment)
        found += [row for row in rows if row.replaces]
    return found


def keys_of_replaced_shards(store: Store, shard: str) -> set[str]:
    """The keys of the good samples in the shards that `shard` replaces, directly or not."""
    replaced: dict[str, set[str]] = {}
    for row in replacements(store):
        replaced.setdefault(row.shard, set()).add(str(row.replaces))
    # A replacing shard may have been replaced itself, so follow the chain.
    keys: set[str] = set()
    todo = list(replaced.get(shard, ()))
    while todo:
        earlier = todo.pop()
        keys |= {row.key for row in read_images(store, earlier)}
        todo += replaced.get(earlier, ())
    return keys


def reasons_of_replaced_samples(store: Store, shard: str) -> dict[str, str]:
    """The samples that failed in `shard` and came in later: why each failed, by key."""
    reasons: dict[str, str] = {}
    for row in replacements(store):
        if row.replaces != shard:
            continue
        if row.reason:
            reasons[key_of(shard, row.name)] = row.reason
        elif store.exists(layout.images_table(row.shard)):
            reasons |= {image.key: CAME_LATER for image in read_images(store, row.shard)}
            reasons |= reasons_of_replaced_samples(store, row.shard)
    return reasons


def _statistics(store: Store, column: str) -> Iterator[ColumnStatistics]:
    """The statistics of a column, for every row group of the log."""
    for name in store.list(layout.LISTING):
        table = layout.in_listing(name)
        with store.open(table) as file:
            metadata = pq.ParquetFile(file, pre_buffer=False).metadata
        index = metadata.schema.names.index(column)
        for group in range(metadata.num_row_groups):
            statistics = metadata.row_group(group).column(index).statistics
            yield ColumnStatistics(table, statistics)
