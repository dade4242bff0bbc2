"""Reading and writing the tables and tars of shards: images, signals, and the records of rounds."""

from __future__ import annotations

from dataclasses import replace
from typing import Any

from pipeline.plan.graph import Node
from pipeline.schema import Record, Row
from pipeline.storage import layout
from pipeline.storage.parquet import read_table
from pipeline.storage.store import Store


def read_rows(store: Store, node: Node, shard: str) -> list[Any]:
    """The `Row`s of a stage, or the `Record`s of a round."""
    return read_table(store, node.table(shard), Record if node.kind == "round" else Row)


def read_before(store: Store, node: Node, shard: str) -> list[Any]:
    """`read_rows` for a later stage: of a round, without its judgements."""
    rows = read_rows(store, node, shard)
    return (
        [replace(row, annotations=row.annotations.unjudged()) for row in rows]
        if node.kind == "round"
        else rows
    )


def index_name(node: Node, shard: str) -> str:
    return layout.shard_index(node.folder, shard)
