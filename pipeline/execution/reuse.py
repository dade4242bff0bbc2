"""What still holds of a shard's signals when the shard is done again, so that a retried sample or a corrected label
costs that sample and not its whole shard.

A withdrawn manifest (`Store.withdraw`) says what a table was made from. If the table still is what the manifest vouches
for, its rows stand for every sample whose inputs are as they were; the others go through the stage, in batches of their
own. On one machine a row is then equal to that of a fresh run within 1e-4, as across batch sizes. What a table changed
when it was made again is kept in the journal, for the nodes that read it.
"""

from __future__ import annotations

import hashlib
from collections.abc import Mapping, Sequence
from dataclasses import dataclass

from pipeline.plan.graph import Node
from pipeline.plan.shard_state import Done
from pipeline.schema import ImageRow, Row
from pipeline.storage import layout
from pipeline.storage.layout import IMAGES
from pipeline.storage.parquet import parse_table
from pipeline.storage.store import Store


@dataclass(frozen=True, slots=True)
class Earlier:
    """A table of signals that still holds but for the samples `changed`."""

    rows: Mapping[str, Row]
    output: str
    changed: set[str]


class Reuse:
    """What holds of the nodes `todo` on one shard. Ask `stale` and `merged` for each node in order, chunk by chunk."""

    def __init__(
        self, store: Store, graph: Mapping[str, Node], shard: str, todo: Sequence[Node], done: Done
    ) -> None:
        self.store, self.graph, self.shard, self.done = store, graph, shard, done
        self._earlier: dict[str, Earlier | None] = {}
        self._changed: dict[str, set[str]] = {node.name: set() for node in todo}
        for node in todo:
            self._earlier[node.name] = self._find(node)

    def stale(self, node: Node, images: Sequence[ImageRow]) -> Sequence[ImageRow]:
        """Those of `images` that the stage must see (again)."""
        earlier = self._earlier[node.name]
        if earlier is None:
            return images
        touched = earlier.changed.union(*(self._changed.get(name, ()) for name in node.reads))
        return [image for image in images if image.key in touched or image.key not in earlier.rows]

    def merged(self, node: Node, images: Sequence[ImageRow], made: Sequence[Row]) -> list[Row]:
        """The rows of all of `images`: `made` ones, and earlier ones that hold."""
        earlier = self._earlier[node.name]
        if earlier is None:
            return list(made)
        new = {row.key: row for row in made}
        self._changed[node.name] |= {
            key for key, row in new.items() if row != earlier.rows.get(key)
        }
        return [new[image.key] if image.key in new else earlier.rows[image.key] for image in images]

    def settle(self, node: Node, output: str) -> None:
        """The node's manifest is published: nothing is withdrawn any more, and readers may know what changed."""
        earlier = self._earlier[node.name]
        if earlier is not None and earlier.output != output:
            record_change(
                self.store,
                node.folder,
                self.shard,
                (earlier.output, output),
                self._changed[node.name],
            )
        self.store.remove(layout.withdrawn(node.folder, self.shard))

    def _find(self, node: Node) -> Earlier | None:
        withdrawn = self.store.withdrawn(node.folder, self.shard)
        if withdrawn is None:
            return None
        (manifest, changed), table = withdrawn, node.table(self.shard)
        data = self.store.read(table) if self.store.exists(table) else b""
        if hashlib.sha256(data).hexdigest() != manifest.files[table]["sha256"]:
            return None
        for source in (IMAGES, *node.reads):
            keys = self._changes(source, manifest.reads.get(source))
            if keys is None:
                return None
            changed |= keys
        return Earlier({row.key: row for row in parse_table(data, Row)}, manifest.output, changed)

    def _changes(self, source: str, was: str | None) -> set[str] | None:
        """The samples of which `source` says something else than in its output `was`; None when that is not known."""
        if source in self._earlier:  # is made again in this call: `merged` compares its rows
            earlier = self._earlier[source]
            return set() if earlier is not None and earlier.output == was else None
        folder = IMAGES if source == IMAGES else self.graph[source].folder
        changed, at, now = set[str](), was, self.done[source][1]
        names = self.store.list(layout.changes(folder, self.shard))
        steps = dict(layout.parse_change(name) for name in names)
        while at != now:
            if at not in steps:
                return None
            after = steps.pop(at)
            changed.update(self.store.read_json(layout.change(folder, self.shard, at, after)))
            at = after
        return changed


def record_change(
    store: Store, folder: str, shard: str, outputs: tuple[str, str], keys: set[str]
) -> None:
    """Tell readers of a table that from the first to the second of its outputs only the samples `keys` changed."""
    store.publish_json(layout.change(folder, shard, *outputs), sorted(keys))
