"""One group of stages over one shard: decode once, make batches, count, publish. Knows no Ray.

A stage whose manifest fits its present inputs is skipped. If all stages of the group are skipped,
no model is loaded. A fault that is no sample's ends the run (`pipeline.execution.faults`).
"""

from __future__ import annotations

import dataclasses
import functools
import math
from collections.abc import Callable, Iterator, Sequence
from contextlib import ExitStack, nullcontext
from dataclasses import dataclass

from pipeline.config.validation import Settings
from pipeline.errors import BrokenFiles
from pipeline.execution import attempts
from pipeline.execution.calls import NotDecoded, call
from pipeline.execution.clock import CLOCK
from pipeline.execution.faults import FailureWatch, ends_run, naming_disk, naming_stage
from pipeline.execution.isolation import Isolated, StageDied
from pipeline.execution.loading import load_stage, reads_images
from pipeline.execution.pictures import Pictures, StageInput
from pipeline.execution.publishing import publish_round
from pipeline.execution.reading import ShardTables
from pipeline.execution.shard_log import ShardLog
from pipeline.execution.shard_work import ShardWork
from pipeline.execution.summaries import publish_summary
from pipeline.plan.graph import Node
from pipeline.plan.shard_state import ShardState
from pipeline.rows import ImageRow
from pipeline.storage import layout
from pipeline.storage.checks import withdraw_if_broken
from pipeline.storage.garbage import collection_paused
from pipeline.storage.images import decode_image
from pipeline.storage.store import Store
from stages.base import Result, Sample, Stage, StageError

RunStage = Callable[[Node, Sequence[StageInput], FailureWatch | None], list[Result]]


@dataclass(frozen=True, slots=True)
class EncodedInput:
    """One sample as it is sent to a child process."""

    sample: Sample
    image: bytes | None
    """The stored bytes of its image, None for a stage that does not look at images."""


class Worker:
    """Runs the nodes `names` of `graph`, in order, over one shard per call.

    A stage that fails unexpectedly on sample after sample ends the run (`FailureWatch`), unless
    `keep_going`: then each of them is a row.
    """

    def __init__(
        self,
        url: str,
        graph: Sequence[Node],
        names: Sequence[str],
        threads: int = 1,
        keep_going: bool = False,
    ) -> None:
        self.store = Store(url)
        self.graph = {node.name: node for node in graph}
        self.nodes = [node for node in graph if node.name in names]
        self.threads = threads
        # A chunk holds whole batches of every stage, so that batches do not depend on what is left
        # to do.
        sizes = [node.entry.batch_size for node in self.nodes if node.kind == "signals"]
        self.chunk = math.lcm(*sizes)
        # A stage that looks at images may leave much garbage behind; others handle records only.
        self._pauses_collection = not any(map(reads_images, self.nodes))
        self._stages: dict[str, Stage] = {}
        self._watches: dict[str, FailureWatch] = {}
        if not keep_going:
            self._watches = {node.name: FailureWatch(node.entry.name) for node in self.nodes}

    def __call__(self, shard: str, state: ShardState) -> ShardState:
        """Do what is to do on a shard; returns its state with the nodes of this group added.

        Raises:
            StageError, DiskFull, SamplesFailAlike: the other shards would fail in the same way.
            BrokenFiles: what the nodes read is not what was written.
        """
        pause = collection_paused() if self._pauses_collection else nullcontext()
        with naming_disk(self.store.url), pause:
            try:
                return self._do(shard, state)
            except Exception as error:
                # Whatever it is, it may come of a broken file.
                if not ends_run(error):
                    self._check_inputs(shard, error)
                raise

    def _check_inputs(self, shard: str, error: Exception) -> None:
        """Compare the files that the nodes read on a shard with their manifests.

        Raises:
            BrokenFiles: some differ. Their manifests are withdrawn, so the next run makes them.
        """
        own = {node.name for node in self.nodes}
        reads = {name for node in self.nodes for name in node.reads if name not in own}
        folders = [layout.IMAGES, *(self.graph[name].folder for name in sorted(reads))]
        problems = []
        for folder in folders:
            problems += withdraw_if_broken(self.store, folder, shard)
        if problems:
            raise BrokenFiles(f"{'; '.join(problems)}; the next run makes it again") from error

    def _do(self, shard: str, state: ShardState) -> ShardState:
        todo = [node for node in self.nodes if not state.has(node.name)]
        tables = ShardTables(self.store, self.graph, shard)
        signals = [node for node in todo if node.kind == "signals"]
        if signals:
            work = layout.signals_name(signals[0].folder)
            with attempts.mark(self.store, work, shard) as isolated:
                state = self._run(tables, signals, state, isolated)
        for node in todo:
            if node.kind == "signals":
                continue
            with CLOCK.running(node.entry.name):
                if node.kind == "round":
                    digests = publish_round(tables, node, state)
                else:
                    digests = publish_summary(self.store, node, self.graph, shard, state)
            CLOCK.end_shard(node.entry.name)
            state = state.with_(node.name, digests)
        return state

    def _run(
        self,
        tables: ShardTables,
        todo: Sequence[Node],
        state: ShardState,
        isolated: bool,
    ) -> ShardState:
        """Run some stages over a shard, in child processes if it has killed workers before."""
        work = ShardWork(tables, todo, state)
        with ExitStack() as stack:
            pictures = stack.enter_context(Pictures(self.store, tables.shard, self.threads))
            log = stack.enter_context(ShardLog(self.store, tables.shard))
            if isolated:
                run = self._in_child_processes(pictures, stack)
            else:
                run = functools.partial(self._in_this_process, pictures)
            self._begin_shard()
            for start in range(0, len(work.images), self.chunk):
                chunk = work.images[start : start + self.chunk]
                pictures.forget()
                for node in todo:
                    inputs = work.inputs(node, chunk)
                    watch = self._watch(node, chunk, inputs)
                    with (
                        naming_stage(node),
                        log.of_stage(node.entry.name),
                        CLOCK.running(node.entry.name, len(inputs)),
                    ):
                        results = run(node, inputs, watch)
                    work.add(node, chunk, inputs, results)
            self._end_shard(len(work.images))
            for node in todo:
                CLOCK.end_shard(node.entry.name)
            return work.publish()

    def _watch(
        self,
        node: Node,
        chunk: Sequence[ImageRow],
        inputs: Sequence[StageInput],
    ) -> FailureWatch | None:
        """The watch of a stage that is about to see a chunk, None if nothing should be counted.

        If the stage sees only a part of the chunk, it may see these samples because they failed
        before (`fld retry`). That they fail again does not mean that all others would.
        """
        if len(inputs) < len(chunk):
            return None
        return self._watches.get(node.name)

    def _begin_shard(self) -> None:
        for watch in self._watches.values():
            watch.begin_shard()

    def _end_shard(self, samples: int) -> None:
        for watch in self._watches.values():
            watch.end_shard(samples)

    def _in_this_process(
        self,
        pictures: Pictures,
        node: Node,
        inputs: Sequence[StageInput],
        watch: FailureWatch | None,
    ) -> list[Result]:
        """Run a stage. Its model is loaded for the first sample, and kept for other shards."""
        entry = node.entry
        if inputs and node.name not in self._stages:
            with CLOCK.loading():
                self._stages[node.name] = load_stage(self.store.url, entry.use, entry.options)
        results = []
        for batch in _batches(node, inputs):
            # Images are read outside of `call`: an error of the storage, or a broken file, is no
            # sample's fault.
            pictures.read(batch)
            stage = self._stages[node.name]
            run = functools.partial(_run_on_pictures, stage, pictures)
            results += call(run, batch, watch)
        return results

    def _in_child_processes(self, pictures: Pictures, stack: ExitStack) -> RunStage:
        """As `_in_this_process`, with one child per stage, which also decodes the images."""
        children: dict[str, Isolated] = {}

        def run(
            node: Node,
            inputs: Sequence[StageInput],
            watch: FailureWatch | None,
        ) -> list[Result]:
            if inputs and node.name not in children:
                child = self._child(node)
                stack.callback(child.close)
                children[node.name] = child
            results = []
            for batch in _batches(node, inputs):
                encoded = [_encoded(item, pictures) for item in batch]
                results += call(children[node.name], encoded, watch)
            return results

        return run

    def _child(self, node: Node) -> Isolated:
        """A child process with the stage of a node.

        Raises:
            StageError: the stage cannot be loaded.
        """
        entry = node.entry
        load = functools.partial(load_apart, self.store.url, entry.use, entry.options)
        try:
            return Isolated(load, self.threads)
        except StageDied as error:
            raise StageError(f"it does not load: {error}") from error


def load_apart(
    url: str,
    use: str,
    options: Settings,
) -> Callable[[Sequence[EncodedInput]], list[Result]]:
    """For a child process: a stage that decodes its images itself."""
    stage = load_stage(url, use, options)

    def run(batch: Sequence[EncodedInput]) -> list[Result]:
        try:
            samples = [_decoded(item) for item in batch]
        except Exception as error:
            # Image libraries may raise anything for a broken image.
            raise NotDecoded(error) from error
        return stage(samples)

    return run


def _batches(node: Node, inputs: Sequence[StageInput]) -> Iterator[Sequence[StageInput]]:
    """The inputs in batches of the stage's size."""
    size = node.entry.batch_size
    for start in range(0, len(inputs), size):
        yield inputs[start : start + size]


def _run_on_pictures(
    stage: Stage,
    pictures: Pictures,
    batch: Sequence[StageInput],
) -> list[Result]:
    """Run a stage on the samples of a batch with decoded images."""
    try:
        samples = pictures.with_pixels(batch)
    except Exception as error:
        # Image libraries may raise anything for a broken image.
        raise NotDecoded(error) from error
    return stage(samples)


def _encoded(item: StageInput, pictures: Pictures) -> EncodedInput:
    """An input with the bytes of its image."""
    image = None
    if item.image is not None:
        image = pictures.bytes_of(item.image)
    return EncodedInput(item.sample, image)


def _decoded(item: EncodedInput) -> Sample:
    """The sample of an input with the pixels of its image."""
    if item.image is None:
        return item.sample
    pixels = decode_image(item.image)
    return dataclasses.replace(item.sample, image=pixels)
