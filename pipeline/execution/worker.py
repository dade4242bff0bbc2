"""One group of stages over one shard: decode once, make batches, count, publish. Knows no Ray.

A stage whose manifest fits its present inputs is skipped. If all stages of the group are skipped,
no model is loaded.
"""

from __future__ import annotations

import dataclasses
import functools
import math
from collections.abc import Callable, Iterator, Mapping, Sequence
from contextlib import ExitStack
from dataclasses import dataclass
from typing import Any

from pipeline.execution import attempts, publishing
from pipeline.execution.isolation import Isolated, StageDied
from pipeline.execution.pictures import Pictures, StageInput
from pipeline.execution.provenance import result_row
from pipeline.execution.reading import read_inputs
from pipeline.execution.reuse import Reuse
from pipeline.plan.graph import WORK, Node
from pipeline.plan.shard_state import ShardState
from pipeline.schema import Annotations, ImageRow, Row
from pipeline.storage import layout
from pipeline.storage.images import decode_image, read_given, read_images
from pipeline.storage.store import Store
from stages import registry
from stages.base import Failed, Result, Sample, SampleError, Stage, is_out_of_memory

RunStage = Callable[[Node, Sequence[StageInput]], list[Result]]
MAX_DETAIL = 200


@dataclass(frozen=True, slots=True)
class EncodedInput:
    """One sample as it is sent to a child process."""

    sample: Sample
    image: bytes | None
    """The stored bytes of its image, None for a stage that does not look at images."""


class Worker:
    """Runs the nodes `names` of `graph`, in order, over one shard per call."""

    def __init__(
        self, url: str, graph: Sequence[Node], names: Sequence[str], threads: int = 1
    ) -> None:
        self.store = Store(url)
        self.graph = {node.name: node for node in graph}
        self.nodes = [node for node in graph if node.name in names]
        self.threads = threads
        # A chunk holds whole batches of every stage, so that batches do not depend on what is left
        # to do.
        sizes = [node.entry.batch_size for node in self.nodes if node.kind == "signals"]
        self.chunk = math.lcm(*sizes)
        self._stages: dict[str, Stage] = {}

    def __call__(self, shard: str, state: ShardState) -> ShardState:
        """Do what is to do on a shard; returns its state with the nodes of this group added."""
        todo = [node for node in self.nodes if not state.has(node.name)]
        signals = [node for node in todo if node.kind == "signals"]
        if signals:
            work = layout.signals_name(signals[0].folder)
            with attempts.mark(self.store, work, shard) as isolated:
                state = self._run(shard, signals, state, isolated)
        for node in todo:
            if node.kind == "round":
                digests = publishing.publish_round(self.store, node, self.graph, shard, state)
                state = state.with_(node.name, digests)
        return state

    def _run(
        self, shard: str, todo: Sequence[Node], state: ShardState, isolated: bool
    ) -> ShardState:
        with ExitStack() as stack:
            pictures = stack.enter_context(Pictures(self.store, shard, self.threads))
            if isolated:
                run = self._in_child_processes(pictures, stack)
            else:
                run = functools.partial(self._in_this_process, pictures)
            work = ShardWork(self.store, self.graph, shard, todo, state)
            return self._annotate(work, pictures, run)

    def _annotate(self, work: ShardWork, pictures: Pictures, run: RunStage) -> ShardState:
        """Run the stages chunk by chunk, then publish their tables."""
        for start in range(0, len(work.images), self.chunk):
            chunk = work.images[start : start + self.chunk]
            pictures.forget()
            for node in work.todo:
                inputs = work.inputs(node, chunk)
                work.add(node, chunk, inputs, run(node, inputs))
        return work.publish()

    def _in_this_process(
        self, pictures: Pictures, node: Node, inputs: Sequence[StageInput]
    ) -> list[Result]:
        """Run a stage. Its model is loaded for the first sample, and kept for other shards."""
        if inputs and node.name not in self._stages:
            self._stages[node.name] = load_stage(self.store.url, node.entry.use, node.entry.options)
        results = []
        for batch in _batches(node, inputs):
            # Images are read outside of `call`: an error of the storage is no sample's fault.
            pictures.read(batch)
            stage = functools.partial(_run_on_pictures, self._stages[node.name], pictures)
            results += call(stage, batch)
        return results

    def _in_child_processes(self, pictures: Pictures, stack: ExitStack) -> RunStage:
        """As `_in_this_process`, with a child per stage that also decodes the images."""
        children: dict[str, Isolated] = {}

        def run(node: Node, inputs: Sequence[StageInput]) -> list[Result]:
            if inputs and node.name not in children:
                entry = node.entry
                load = functools.partial(load_apart, self.store.url, entry.use, entry.options)
                children[node.name] = Isolated(load, self.threads)
                stack.callback(children[node.name].close)
            results = []
            for batch in _batches(node, inputs):
                encoded = []
                for item in batch:
                    image = pictures.bytes_of(item.image) if item.image is not None else None
                    encoded.append(EncodedInput(item.sample, image))
                results += call(children[node.name], encoded)
            return results

        return run


class ShardWork:
    """The annotations of one shard while the nodes `todo` run: what they read, and what they made."""

    def __init__(
        self,
        store: Store,
        graph: Mapping[str, Node],
        shard: str,
        todo: Sequence[Node],
        state: ShardState,
    ) -> None:
        self._store, self._shard, self._state = store, shard, state
        self.todo = todo
        self.images = read_images(store, shard)
        self._given = read_given(store, shard)
        self._rows: dict[str, list[Row]] = {node.name: [] for node in todo}
        # Annotations by node, then by key: of all nodes that are read, and of the present chunk.
        self._annotations: dict[str, Mapping[str, Annotations]] = {}
        for node in todo:
            for name in node.reads:
                if name not in self._rows and name not in self._annotations:
                    rows = read_inputs(store, graph[name], shard)
                    self._annotations[name] = {row.key: row.annotations for row in rows}
        self._reuse = Reuse(store, graph, shard, todo, state)

    def inputs(self, node: Node, chunk: Sequence[ImageRow]) -> list[StageInput]:
        """What a stage must see of a chunk: all of it, or what changed since its last run."""
        looks = bool(registry.load(node.entry.use)[0].reads_images)
        inputs = []
        for image in self._reuse.to_redo(node, chunk):
            inputs.append(StageInput(self._sample(node, image), image if looks else None))
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
            redone.append(result_row(node, item.sample, result))
        rows = self._reuse.merged(node, chunk, redone)
        self._annotations[node.name] = {row.key: row.annotations for row in rows}
        self._rows[node.name] += rows

    def publish(self) -> ShardState:
        """Publish the tables of all nodes; returns the state of the shard."""
        state = self._state
        for node in self.todo:
            rows = self._rows[node.name]
            digests = publishing.publish_signals(self._store, node, self._shard, rows, state)
            state = state.with_(node.name, digests)
            self._reuse.settle(node, digests.output)
        return state

    def _sample(self, node: Node, image: ImageRow) -> Sample:
        annotations = self._given.get(image.key, Annotations())
        for name in node.reads:
            later = self._annotations[name].get(image.key, Annotations())
            annotations = annotations.overlaid(later)
        size = (image.width or 0, image.height or 0)
        return Sample(key=image.key, size=size, round=node.round, annotations=annotations)


def load_stage(url: str, use: str, options: Any) -> Stage:
    """A stage with its model loaded. A model in a remote work folder is fetched first."""
    for field in dataclasses.fields(options):
        value = getattr(options, field.name)
        if isinstance(value, str) and value.startswith(WORK):
            folder = Store(url).local_copy(value.removeprefix(WORK))
            options = dataclasses.replace(options, **{field.name: folder})
    stage: Stage = registry.load(use)[0](options)
    return stage


def load_apart(
    url: str, use: str, options: Any
) -> Callable[[Sequence[EncodedInput]], list[Result]]:
    """For a child process: a stage that decodes its images itself."""
    stage = load_stage(url, use, options)

    def run(batch: Sequence[EncodedInput]) -> list[Result]:
        samples = []
        for item in batch:
            sample = item.sample
            if item.image is not None:
                sample = dataclasses.replace(sample, image=decode_image(item.image))
            samples.append(sample)
        return stage(samples)

    return run


def call(stage: Callable[[Sequence[Any]], list[Result]], batch: Sequence[Any]) -> list[Result]:
    """One result per sample, whatever the stage does.

    A batch that runs out of memory, raises, or kills its process is halved until the sample at
    fault stands alone. That sample fails with a reason.
    """
    try:
        results = stage(batch)
    except Exception as error:
        # This is the one place where any error of a stage becomes a row with a reason.
        if len(batch) > 1:
            half = len(batch) // 2
            return call(stage, batch[:half]) + call(stage, batch[half:])
        return [_failure(error)]
    message = f"the stage gave {len(results)} results for {len(batch)} samples"
    assert len(results) == len(batch), message
    return results


def _run_on_pictures(stage: Stage, pictures: Pictures, batch: Sequence[StageInput]) -> list[Result]:
    return stage(pictures.with_pixels(batch))


def _batches(node: Node, inputs: Sequence[StageInput]) -> Iterator[Sequence[StageInput]]:
    size = node.entry.batch_size
    for start in range(0, len(inputs), size):
        yield inputs[start : start + size]


def _failure(error: Exception) -> Failed:
    if isinstance(error, SampleError):
        return Failed(error.reason, error.detail)
    first_line = f"{type(error).__name__}: {error}".split("\n")[0]
    detail = first_line[:MAX_DETAIL]
    if is_out_of_memory(error):
        return Failed("out_of_memory", detail)
    return Failed("crashed" if isinstance(error, StageDied) else "error", detail)
