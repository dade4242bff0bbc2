"""Which shard each name of the source was given: append-only tables `images/listing/NNNNNN.parquet`.

No image of a shard ever changes, so images that failed and came in at another try (`fld retry`) are listed again, in a
shard of their own that stands for the failed rows of the shard before. The old rows stay, but they no longer count.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass

import pyarrow.parquet as pq

from pipeline.storage import layout
from pipeline.storage.images import read_images
from pipeline.storage.parquet import publish_table, read_table
from pipeline.storage.store import Store
from stages.ingest import make_key

CAME_LATER = "came_later"  # for the sample of a container, whose reason is in a table that was lost


@dataclass(frozen=True, slots=True, kw_only=True)
class Listed:
    """One name of the source and the shard that it was given.

    `replaces` is the shard where it failed before, for `reason`; without a reason the name is a container of samples,
    and the shard stands for all failed rows of the one before.
    """

    shard: str
    name: str
    replaces: str | None = None
    reason: str | None = None


def append_listing(store: Store, rows: Sequence[Listed]) -> None:
    publish_table(store, layout.listing_table(len(store.list(layout.LISTING))), Listed, rows)


def read_listing(store: Store) -> list[Listed]:
    return [
        row
        for name in store.list(layout.LISTING)
        for row in read_table(store, layout.in_listing(name), Listed)
    ]


def count_shards(store: Store) -> int:
    """How many shards are listed, from the statistics of the tables alone: shards are numbered in their order."""
    last = -1
    for _, statistics in _statistics(store, "shard"):
        last = max(last, layout.shard_number(statistics.max))
    return last + 1


def replacements(store: Store) -> list[Listed]:
    """The rows that stand for failed ones. Tables without any are not read."""
    files = {name for name, statistics in _statistics(store, "replaces") if statistics.num_values}
    return [
        row for name in sorted(files) for row in read_table(store, name, Listed) if row.replaces
    ]


def taken(store: Store, shard: str) -> set[str]:
    """The keys of the samples that are in the shards which `shard` stands for."""
    before: dict[str, set[str]] = {}
    for row in replacements(store):
        before.setdefault(row.shard, set()).add(str(row.replaces))
    keys, todo = set[str](), list(before.get(shard, ()))
    while todo:
        old = todo.pop()
        keys |= {row.key for row in read_images(store, old)}
        todo += before.get(old, ())
    return keys


def came_later(store: Store, shard: str) -> dict[str, str]:
    """The keys of what failed in `shard` and came in at another try, with the reason why it failed."""
    found: dict[str, str] = {}
    for row in replacements(store):
        if row.replaces != shard:
            continue
        if row.reason:
            found[make_key(row.name)] = row.reason
        elif store.exists(layout.images_table(row.shard)):
            found |= {image.key: CAME_LATER for image in read_images(store, row.shard)}
            found |= came_later(store, row.shard)
    return found


def _statistics(store: Store, column: str) -> list[tuple[str, pq.Statistics]]:
    """(table, statistics of a column) of every row group of the listing."""
    found = []
    for name in store.list(layout.LISTING):
        with store.open(layout.in_listing(name)) as file:
            metadata = pq.ParquetFile(file, pre_buffer=False).metadata
        index = metadata.schema.names.index(column)
        for group in range(metadata.num_row_groups):
            found.append(
                (layout.in_listing(name), metadata.row_group(group).column(index).statistics)
            )
    return found
