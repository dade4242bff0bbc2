"""Which rows of a shard's signals still hold when the shard is done again.

Thanks to this, a retried sample or a corrected label costs one sample and not its whole shard.

A withdrawn manifest (`Store.withdraw`) says what a table was made from. If the table still has the
digest in the manifest, its rows are kept for every sample whose inputs are unchanged. The other
samples go through the stage, in batches of their own. On one machine a row then equals that of a
fresh run within 1e-4, as it does across batch sizes. When a table is made again, the journal keeps
which samples changed, for the nodes that read the table.
"""

from __future__ import annotations

import hashlib
from collections.abc import Mapping, Sequence
from dataclasses import dataclass

from pipeline.plan.graph import Node
from pipeline.plan.shard_state import ShardState
from pipeline.rows import ImageRow, Row
from pipeline.storage import layout_journal
from pipeline.storage.layout import IMAGES
from pipeline.storage.parquet import parse_table
from pipeline.storage.store import Store


@dataclass(frozen=True, slots=True)
class EarlierTable:
    """A table of signals that still holds, except for some samples."""

    rows: Mapping[str, Row]
    """By the key of the sample."""
    output: str
    """Its digest."""
    changed: set[str]
    """Keys of the samples whose inputs have changed since."""


class Reuse:
    """What can be reused of the nodes `todo` on one shard.

    For each chunk of images, ask `to_redo` and `merged` for each node, in the order of the graph.
    """

    def __init__(
        self,
        store: Store,
        graph: Mapping[str, Node],
        shard: str,
        todo: Sequence[Node],
        state: ShardState,
    ) -> None:
        self.store = store
        self.graph = graph
        self.shard = shard
        self.state = state
        self._earlier: dict[str, EarlierTable | None] = {}
        self._changed: dict[str, set[str]] = {node.name: set() for node in todo}
        for node in todo:
            self._earlier[node.name] = self._find(node)

    def to_redo(self, node: Node, images: Sequence[ImageRow]) -> Sequence[ImageRow]:
        """Those of `images` that must go through the stage."""
        earlier = self._earlier[node.name]
        if earlier is None:
            return images
        changed = set(earlier.changed)
        for name in node.reads:
            changed |= self._changed.get(name, set())
        redo = []
        for image in images:
            if image.key in changed or image.key not in earlier.rows:
                redo.append(image)
        return redo

    def merged(self, node: Node, images: Sequence[ImageRow], redone: Sequence[Row]) -> list[Row]:
        """The rows of all of `images`: those that were `redone`, and earlier ones that hold."""
        earlier = self._earlier[node.name]
        if earlier is None:
            return list(redone)
        new = {row.key: row for row in redone}
        for key, row in new.items():
            if row != earlier.rows.get(key):
                self._changed[node.name].add(key)
        rows = {**earlier.rows, **new}
        return [rows[image.key] for image in images]

    def settle(self, node: Node, output: str) -> None:
        """Write down what changed, now that the node's new manifest is published."""
        earlier = self._earlier[node.name]
        if earlier is not None and earlier.output != output:
            changed = self._changed[node.name]
            record_change(
                self.store,
                node.folder,
                self.shard,
                (earlier.output, output),
                changed,
            )
        self.store.remove(layout_journal.withdrawn(node.folder, self.shard))

    def _find(self, node: Node) -> EarlierTable | None:
        """The table that a withdrawn manifest describes, None if it is lost or nothing is known."""
        withdrawn = self.store.withdrawn(node.folder, self.shard)
        if withdrawn is None:
            return None
        manifest = withdrawn.manifest
        table = node.table(self.shard)
        data = self.store.read(table) if self.store.exists(table) else b""
        if hashlib.sha256(data).hexdigest() != manifest.files[table].sha256:
            return None
        changed = set(withdrawn.redo)
        for source in (IMAGES, *node.reads):
            keys = self._changed_since(source, manifest.reads.get(source))
            if keys is None:
                return None
            changed |= keys
        rows = {row.key: row for row in parse_table(data, Row)}
        return EarlierTable(rows, manifest.output, changed)

    def _changed_since(self, source: str, before: str | None) -> set[str] | None:
        """The samples that `source` changed after its output was `before`, None if unknown."""
        if source in self._earlier:
            # It is done again in this call, so `merged` will compare its rows.
            earlier = self._earlier[source]
            return set() if earlier is not None and earlier.output == before else None
        folder = IMAGES if source == IMAGES else self.graph[source].folder
        names = self.store.list(layout_journal.changes(folder, self.shard))
        next_output = dict(layout_journal.parse_change(name) for name in names)
        changed: set[str] = set()
        output, now = before, self.state.output(source)
        while output != now:
            if output not in next_output:
                return None
            after = next_output.pop(output)
            changed.update(
                self.store.read_json(
                    layout_journal.change(
                        folder,
                        self.shard,
                        output,
                        after,
                    )
                )
            )
            output = after
        return changed


def record_change(
    store: Store,
    folder: str,
    shard: str,
    outputs: tuple[str, str],
    keys: set[str],
) -> None:
    """Write down that only the samples `keys` changed from the first of `outputs` to the second."""
    store.publish_json(layout_journal.change(folder, shard, *outputs), sorted(keys))
