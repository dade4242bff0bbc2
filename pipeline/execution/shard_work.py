"""The annotations of one shard while a group of stages runs over it."""

from __future__ import annotations

import itertools
from collections.abc import Mapping, Sequence

from pipeline.execution import publishing
from pipeline.execution.loading import reads_images
from pipeline.execution.pictures import StageInput
from pipeline.execution.provenance import result_row
from pipeline.execution.reading import ShardTables
from pipeline.execution.reuse import Reuse
from pipeline.plan.graph import Node
from pipeline.plan.shard_state import ShardState
from pipeline.rows import ImageRow, Row
from pipeline.schema import Annotations
from stages.base import Result, Sample


class ShardWork:
    """What the nodes `todo` read on one shard, and what they have made of it so far.

    For each chunk of `images` and each node, ask for `inputs` and give the results to `add`. At the
    end call `publish`.
    """

    def __init__(
        self,
        tables: ShardTables,
        todo: Sequence[Node],
        state: ShardState,
    ) -> None:
        self.todo = todo
        self.images = tables.images
        self._tables = tables
        self._state = state
        self._rows: dict[str, list[Row]] = {node.name: [] for node in todo}
        # What each node of `todo` made of the present chunk, by key.
        self._made: dict[str, Mapping[str, Annotations]] = {}
        self._reuse = Reuse(tables.store, tables.graph, tables.shard, todo, state)

    def inputs(self, node: Node, chunk: Sequence[ImageRow]) -> list[StageInput]:
        """What a stage must see of a chunk: all of it, or what changed since it last ran."""
        sees_images = reads_images(node)
        inputs = []
        for image in self._reuse.to_redo(node, chunk):
            sample = self._sample(node, image)
            seen = image if sees_images else None
            inputs.append(StageInput(sample, seen))
        return inputs

    def add(
        self,
        node: Node,
        chunk: Sequence[ImageRow],
        inputs: Sequence[StageInput],
        results: Sequence[Result],
    ) -> None:
        """Take the results of a stage on a chunk, one for each of its inputs."""
        redone = []
        for item, result in zip(inputs, results, strict=True):
            row = result_row(node, item.sample, result)
            redone.append(row)
        rows = self._reuse.merged(node, chunk, redone)
        self._made[node.name] = {row.key: row.annotations for row in rows}
        self._rows[node.name] += rows

    def publish(self) -> ShardState:
        """Publish the tables of all nodes; returns the new state of the shard."""
        state = self._state
        for node in self.todo:
            digests = publishing.publish_signals(
                self._tables,
                node,
                self._rows[node.name],
                state,
            )
            state = state.with_(node.name, digests)
            self._reuse.settle(node, digests.output)
        return state

    def _sample(self, node: Node, image: ImageRow) -> Sample:
        """A sample with the annotations of everything that a node reads."""
        stored = tuple(itertools.takewhile(self._is_stored, node.reads))
        annotations = self._tables.labels(stored, image.key)
        for name in node.reads[len(stored) :]:
            annotations = annotations.overlaid(self._written(name, image.key))
        return Sample(
            key=image.key,
            size=(image.width or 0, image.height or 0),
            round=node.round,
            annotations=annotations,
        )

    def _is_stored(self, name: str) -> bool:
        """Whether a node was done before."""
        return name not in self._rows

    def _written(self, name: str, key: str) -> Annotations:
        """What a node made of a sample, whether it was done before or is being done."""
        if self._is_stored(name):
            return self._tables.written(name, key)
        return self._made[name].get(key, Annotations())
