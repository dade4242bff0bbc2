"""Reading what the nodes of a run have written on one shard."""

from __future__ import annotations

from dataclasses import replace
from typing import Any

from pipeline.plan.graph import Node
from pipeline.schema import Record, Row
from pipeline.storage.parquet import read_table
from pipeline.storage.store import Store


def read_rows(store: Store, node: Node, shard: str) -> list[Any]:
    """The `Row`s that a stage wrote, or the `Record`s of a round."""
    return read_table(store, node.table(shard), Record if node.kind == "round" else Row)


def read_inputs(store: Store, node: Node, shard: str) -> list[Any]:
    """The rows of `node` as a later node reads them.

    From the records of a round, `support` is removed: it is the opinion of an earlier model.
    """
    rows = read_rows(store, node, shard)
    if node.kind != "round":
        return rows
    return [replace(row, annotations=row.annotations.unjudged()) for row in rows]
