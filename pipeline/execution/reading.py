"""Reading what the nodes of a run have written on one shard."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import replace
from functools import cached_property
from typing import Any

from pipeline.plan.graph import Node
from pipeline.rows import ImageRow, Record, Row
from pipeline.schema import Annotations
from pipeline.storage.images import read_given, read_images
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


class ShardTables:
    """What is stored of one shard. A table is read once, however many nodes read it."""

    def __init__(self, store: Store, graph: Mapping[str, Node], shard: str) -> None:
        self.store = store
        self.graph = graph
        self.shard = shard
        self._rows: dict[str, Sequence[Row | Record]] = {}
        # By node, then by key.
        self._written: dict[str, Mapping[str, Annotations]] = {}
        # By the nodes that are laid over each other, then by key.
        self._labels: dict[tuple[str, ...], dict[str, Annotations]] = {}

    @cached_property
    def images(self) -> Sequence[ImageRow]:
        """The images that can be annotated, in the order of the shard's tar."""
        return read_images(self.store, self.shard)

    @cached_property
    def given(self) -> Mapping[str, Annotations]:
        """The labels that the source gave, by key."""
        return read_given(self.store, self.shard)

    def rows(self, name: str) -> Sequence[Row | Record]:
        """What the node `name` has written, as a later node reads it."""
        if name not in self._rows:
            self._rows[name] = read_inputs(self.store, self.graph[name], self.shard)
        return self._rows[name]

    def written(self, name: str, key: str) -> Annotations:
        """The annotations that the node `name` has written of a sample."""
        if name not in self._written:
            self._written[name] = {row.key: row.annotations for row in self.rows(name)}
        return self._written[name].get(key, Annotations())

    def labels(self, names: tuple[str, ...], key: str) -> Annotations:
        """What the source gave of a sample, and what each of some nodes made of it in turn."""
        if not names:
            return self.given.get(key, Annotations())
        known = self._labels.setdefault(names, {})
        if key not in known:
            earlier = self.labels(names[:-1], key)
            known[key] = earlier.overlaid(self.written(names[-1], key))
        return known[key]
