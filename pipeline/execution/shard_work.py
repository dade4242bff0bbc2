"""The annotations of one shard while a group of stages runs over it."""

from __future__ import annotations

from collections.abc import Mapping, Sequence

from pipeline.execution import publishing
from pipeline.execution.pictures import StageInput
from pipeline.execution.provenance import result_row
from pipeline.execution.reading import read_inputs
from pipeline.execution.reuse import Reuse
from pipeline.plan.graph import Node
from pipeline.plan.shard_state import ShardState
from pipeline.schema import Annotations, ImageRow, Row
from pipeline.storage.images import read_given, read_images
from pipeline.storage.store import Store
from stages import registry
from stages.base import Result, Sample


class ShardWork:
    """What the nodes `todo` read on one shard, and what they have made of it so far.

    For each chunk of `images` and each node, ask for `inputs` and give the results to `add`. At the
    end call `publish`.
    """

    def __init__(
        self,
        store: Store,
        graph: Mapping[str, Node],
        shard: str,
        todo: Sequence[Node],
        state: ShardState,
    ) -> None:
        self.todo = todo
        self.images = read_images(store, shard)
        self._store = store
        self._shard = shard
        self._state = state
        self._given = read_given(store, shard)
        self._rows: dict[str, list[Row]] = {node.name: [] for node in todo}
        # By node, then by key: all of what earlier nodes wrote, and the present chunk of `todo`.
        self._annotations: dict[str, Mapping[str, Annotations]] = {}
        for node in todo:
            for name in node.reads:
                if name in self._rows or name in self._annotations:
                    continue
                rows = read_inputs(store, graph[name], shard)
                self._annotations[name] = _by_key(rows)
        self._reuse = Reuse(store, graph, shard, todo, state)

    def inputs(self, node: Node, chunk: Sequence[ImageRow]) -> list[StageInput]:
        """What a stage must see of a chunk: all of it, or what changed since it last ran."""
        stage, _ = registry.load(node.entry.use)
        inputs = []
        for image in self._reuse.to_redo(node, chunk):
            sample = self._sample(node, image)
            seen = image if stage.reads_images else None
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
        self._annotations[node.name] = _by_key(rows)
        self._rows[node.name] += rows

    def publish(self) -> ShardState:
        """Publish the tables of all nodes; returns the new state of the shard."""
        state = self._state
        for node in self.todo:
            digests = publishing.publish_signals(
                self._store,
                node,
                self._shard,
                self._rows[node.name],
                state,
            )
            state = state.with_(node.name, digests)
            self._reuse.settle(node, digests.output)
        return state

    def _sample(self, node: Node, image: ImageRow) -> Sample:
        """A sample with the annotations of everything that a node reads."""
        annotations = self._given.get(image.key, Annotations())
        for name in node.reads:
            later = self._annotations[name].get(image.key, Annotations())
            annotations = annotations.overlaid(later)
        return Sample(
            key=image.key,
            size=(image.width or 0, image.height or 0),
            round=node.round,
            annotations=annotations,
        )


def _by_key(rows: Sequence[Row]) -> dict[str, Annotations]:
    """The annotations of some rows by the key of the sample."""
    return {row.key: row.annotations for row in rows}
