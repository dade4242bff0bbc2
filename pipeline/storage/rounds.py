"""Opening a round by the name that a user gives."""

from __future__ import annotations

from collections.abc import Iterator
from typing import TYPE_CHECKING

from pipeline.storage import layout

if TYPE_CHECKING:
    from pipeline.schema import Record
    from pipeline.storage.store import Store


def open_round(url: str) -> tuple[Store, str]:
    """The work folder and the name in it of the round that `url` names."""
    from pipeline.storage.store import Store

    split = layout.split_round(url)
    if split:
        work, folder = split
        store = Store(work)
    else:
        store = Store(url)
        if not store.exists(layout.HEAD):
            raise ValueError(
                f"{url}: no round there; give WORK/rounds/NN-.. or a WORK with a finished run"
            )
        folder = layout.named_round(store.read_json(layout.HEAD)["round"])
    if not store.done(folder):
        raise ValueError(f"{url}: no finished round there")
    return store, folder


def records_of(store: Store, folder: str) -> Iterator[Record]:
    for shard in sorted(store.done(folder)):
        yield from _records(store, folder, shard)


def _records(store: Store, folder: str, shard: str) -> list[Record]:
    from pipeline.schema import Record
    from pipeline.storage.parquet import read_table

    return read_table(store, layout.round_table(folder, shard), Record)
