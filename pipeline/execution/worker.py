"""One group of stages over one shard: decode once, batch, find what breaks, account, publish. Knows no Ray.

A stage whose manifest fits its present inputs is skipped; when every stage of the group is, no model is loaded.
"""

from __future__ import annotations

import dataclasses
import functools
import math
from collections.abc import Callable, Mapping, Sequence
from contextlib import ExitStack
from typing import Any

from pipeline.execution import attempts, publishing, reading
from pipeline.execution.isolation import Isolated, StageDied
from pipeline.execution.pictures import Asked, Pictures
from pipeline.execution.reuse import Reuse
from pipeline.plan import graph
from pipeline.plan.graph import Node
from pipeline.plan.shard_state import Done
from pipeline.schema import KINDS, Annotation, Annotations, ImageRow, Row, Text
from pipeline.storage import layout
from pipeline.storage.images import decode_image, read_given, read_images
from pipeline.storage.store import Store
from stages import registry
from stages.base import Failed, Result, Sample, SampleError, Stage, is_out_of_memory

RunStage = Callable[[Node, Sequence[Asked]], list[Result]]
Said = Mapping[str, Mapping[str, Annotations]]  # node name -> key -> what it said


class Worker:
    """Runs the nodes `names` of `graph`, in order, over one shard a call."""

    def __init__(
        self, url: str, graph: Sequence[Node], names: Sequence[str], threads: int = 1
    ) -> None:
        self.store = Store(url)
        self.graph = {node.name: node for node in graph}
        self.nodes = [node for node in graph if node.name in names]
        self.threads = threads
        # The same chunks, and so the same batches, whatever is left to do.
        self.chunk = math.lcm(
            *(node.entry.batch_size for node in self.nodes if node.kind == "signals")
        )
        self._stages: dict[str, Stage] = {}

    def __call__(self, shard: str, done: Done) -> Done:
        """Do what is to do; returns `done` with the digests of this group's nodes added."""
        done = dict(done)
        todo = [node for node in self.nodes if node.name not in done]
        signals = [node for node in todo if node.kind == "signals"]
        if signals:
            with attempts.mark(
                self.store, layout.signals_name(signals[0].folder), shard
            ) as isolated:
                self._run(shard, signals, done, isolated)
        for node in todo:
            if node.kind == "round":
                done[node.name] = publishing.publish_round(
                    self.store, node, self.graph, shard, done
                )
        return done

    def _run(self, shard: str, todo: Sequence[Node], done: Done, isolated: bool) -> None:
        with ExitStack() as stack:
            pictures = stack.enter_context(Pictures(self.store, shard, self.threads))
            run = (
                self._apart(pictures, stack)
                if isolated
                else functools.partial(self._here, pictures)
            )
            self._annotate(shard, todo, done, pictures, run)

    def _annotate(
        self, shard: str, todo: Sequence[Node], done: Done, pictures: Pictures, run: RunStage
    ) -> None:
        rows: dict[str, list[Row]] = {node.name: [] for node in todo}
        earlier = {name for node in todo for name in node.reads if name not in rows}
        said: dict[str, Mapping[str, Annotations]] = {
            name: {
                row.key: row.annotations
                for row in reading.read_before(self.store, self.graph[name], shard)
            }
            for name in earlier
        }
        reuse = Reuse(self.store, self.graph, shard, todo, done)
        images, given = read_images(self.store, shard), read_given(self.store, shard)
        for start in range(0, len(images), self.chunk):
            chunk = images[start : start + self.chunk]
            pictures.forget()
            for node in todo:
                stale = reuse.stale(node, chunk)
                samples = [_sample(node, image, given, said) for image in stale]
                seen = stale if _reads_images(node) else [None] * len(stale)
                results = run(node, list(zip(samples, seen, strict=True)))
                made = [
                    _row(node, sample, result)
                    for sample, result in zip(samples, results, strict=True)
                ]
                merged = reuse.merged(node, chunk, made)
                said[node.name] = {row.key: row.annotations for row in merged}
                rows[node.name] += merged
        for node in todo:
            done[node.name] = publishing.publish_signals(
                self.store, node, shard, rows[node.name], done
            )
            reuse.settle(node, done[node.name][1])

    def _here(self, pictures: Pictures, node: Node, asked: Sequence[Asked]) -> list[Result]:
        """What a stage says; its model is loaded when the first sample comes, and kept for other shards."""
        if asked and node.name not in self._stages:
            self._stages[node.name] = load_stage(self.store.url, node.entry.use, node.entry.options)
        results = []
        for batch in _batches(node, asked):
            pictures.read(batch)  # here: a store that fails is no sample's fault
            results += call(lambda part: self._stages[node.name](pictures.shown(part)), batch)
        return results

    def _apart(self, pictures: Pictures, stack: ExitStack) -> RunStage:
        """The same in a child process for each stage, which decodes there, too."""
        children: dict[str, Isolated] = {}

        def run(node: Node, asked: Sequence[Asked]) -> list[Result]:
            if asked and node.name not in children:
                load = functools.partial(
                    load_apart, self.store.url, node.entry.use, node.entry.options
                )
                children[node.name] = Isolated(load, self.threads)
                stack.callback(children[node.name].close)
            results = []
            for batch in _batches(node, asked):
                results += call(
                    children[node.name],
                    [(s, pictures.bytes_of(i) if i else None) for s, i in batch],
                )
            return results

        return run


def load_stage(url: str, use: str, options: Any) -> Stage:
    """The stage with its model loaded; a model in the work folder is fetched where that is remote."""
    for f in dataclasses.fields(options):
        value = getattr(options, f.name)
        if isinstance(value, str) and value.startswith(graph.WORK):
            folder = Store(url).local_copy(value.removeprefix(graph.WORK))
            options = dataclasses.replace(options, **{f.name: folder})
    stage: Stage = registry.load(use)[0](options)
    return stage


def load_apart(
    url: str, use: str, options: Any
) -> Callable[[Sequence[tuple[Sample, bytes | None]]], list[Result]]:
    """For a child process: the stage, and the decoding of what it is to see."""
    stage = load_stage(url, use, options)

    def seeing(asked: Sequence[tuple[Sample, bytes | None]]) -> list[Result]:
        return stage(
            [
                dataclasses.replace(s, image=decode_image(d)) if d is not None else s
                for s, d in asked
            ]
        )

    return seeing


def call(stage: Callable[[Sequence[Any]], list[Result]], batch: Sequence[Any]) -> list[Result]:
    """One result per sample, whatever the stage does: a batch that runs out of memory, raises or kills its process is
    halved until the sample at fault stands alone; that one fails with a reason."""
    try:
        results = stage(batch)
    except Exception as error:  # the one place: any error of a stage becomes a row with a reason
        if len(batch) > 1:
            half = len(batch) // 2
            return call(stage, batch[:half]) + call(stage, batch[half:])
        return [_failure(error)]
    assert len(results) == len(batch), (
        f"the stage gave {len(results)} results for {len(batch)} samples"
    )
    return results


def _batches(node: Node, asked: Sequence[Asked]) -> list[Sequence[Asked]]:
    return [
        asked[i : i + node.entry.batch_size] for i in range(0, len(asked), node.entry.batch_size)
    ]


def _failure(error: Exception) -> Failed:
    if isinstance(error, SampleError):
        return Failed(error.reason, error.detail)
    detail = f"{type(error).__name__}: {error}".split("\n")[0][:200]
    if is_out_of_memory(error):
        return Failed("out_of_memory", detail)
    return Failed("crashed" if isinstance(error, StageDied) else "error", detail)


def _reads_images(node: Node) -> bool:
    return bool(registry.load(node.entry.use)[0].reads_images)


def _sample(node: Node, image: ImageRow, given: Mapping[str, Annotations], said: Said) -> Sample:
    annotations = given.get(image.key, Annotations())
    for name in node.reads:
        annotations = annotations.overlaid(said[name].get(image.key, Annotations()))
    size = (image.width or 0, image.height or 0)
    return Sample(key=image.key, size=size, round=node.round, annotations=annotations)


def _row(node: Node, sample: Sample, result: Result) -> Row:
    if isinstance(result, Failed):
        return Row(key=sample.key, failed=result.reason, detail=result.detail or None)
    known = {a.id: a for a in sample.annotations.all()}
    stamped: list[list[Any]] = [
        [_stamped(node, a, f"{kind}.{i}", known) for i, a in enumerate(getattr(result, kind))]
        for kind in KINDS
    ]
    return Row(
        key=sample.key,
        annotations=Annotations(*stamped).where(lambda a: not a.locked or a != known.get(a.id)),
    )


def _stamped(
    node: Node, annotation: Any, index: str, known: Mapping[str, Annotation]
) -> Annotation:
    """Fill in where an addition came from. A revision keeps its origin; one of a human label is void, but for the parse
    of its text."""
    if annotation.id:
        assert annotation.id in known, (
            f"{node.name} revises {annotation.id}, which it was not given"
        )
        before = known[annotation.id]
        if before.locked:
            return (
                dataclasses.replace(before, parse=annotation.parse)
                if isinstance(before, Text)
                else before
            )
        return annotation
    options = node.entry.options
    model = next(
        (
            str(getattr(options, f.name))
            for f in dataclasses.fields(options)
            if f.metadata.get("content")
        ),
        "",
    )
    stamped: Annotation = dataclasses.replace(
        annotation,
        id=f"{node.round}.{node.entry.name}.{index}",
        source=annotation.source or node.entry.name,
        model=model.rstrip("/").rsplit("/", 1)[-1] or node.entry.use,
        revision=node.revision,
        round=node.round,
    )
    return stamped
