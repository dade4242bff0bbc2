"""What each shard of a round holds: a small table that leads to a sample, or to labelled ones.

The index of a round (`index.parquet`) is a folder with a table for each shard. This table has a
line for each of them, so that nobody must open all.
"""

from __future__ import annotations

from collections.abc import Iterable, Sequence
from dataclasses import dataclass

from pipeline.rows import IndexRow
from pipeline.schema import KINDS
from pipeline.storage import layout
from pipeline.storage.parquet import publish_table, read_table
from pipeline.storage.store import Store


@dataclass(frozen=True, slots=True, kw_only=True)
class RoundPart:
    """A row of `parts.parquet`: one shard of a round."""

    shard: str
    samples: int
    labelled: int
    """How many samples have a kept label."""
    first_key: str
    """The first key in alphabetical order; "" without samples."""
    last_key: str
    """The last key in alphabetical order."""


def round_part(shard: str, rows: Sequence[IndexRow]) -> RoundPart:
    """What a shard holds, from its index."""
    keys = [row.key for row in rows]
    labelled = 0
    for row in rows:
        labelled += any(getattr(row, kind) for kind in KINDS)
    return RoundPart(
        shard=shard,
        samples=len(rows),
        labelled=labelled,
        first_key=min(keys, default=""),
        last_key=max(keys, default=""),
    )


def publish_parts(store: Store, folder: str, parts: Sequence[RoundPart]) -> None:
    """Write the table of a round."""
    publish_table(store, layout.round_parts(folder), RoundPart, parts)


def read_parts(store: Store, folder: str) -> list[RoundPart]:
    """The table of a round; none before the round is finished."""
    name = layout.round_parts(folder)
    if not store.exists(name):
        return []
    return read_table(store, name, RoundPart)


def shards_with(parts: Iterable[RoundPart], key: str) -> list[str]:
    """The shards whose keys may include `key`."""
    return [part.shard for part in parts if part.first_key <= key <= part.last_key]
