"""One group of stages over one shard: decode once, batch, find what breaks, account, publish. Knows no Ray.

A stage whose manifest fits its present inputs is skipped; when every stage of the group is, no model is loaded.
"""

from __future__ import annotations

import dataclasses
import functools
import math
from collections.abc import Callable, Iterator, Mapping, Sequence
from concurrent.futures import ThreadPoolExecutor
from typing import Any

import numpy as np

from pipeline import attempts, lineage, records
from pipeline.isolate import Isolated, StageDied
from pipeline.lineage import Done, Node
from pipeline.schema import KINDS, Annotation, Annotations, ImageRow, Row
from pipeline.store import Store
from stages import registry
from stages.base import Batch, Failed, Result, Sample, SampleError, Stage

Said = Mapping[str, Mapping[str, Annotations]]  # node name -> key -> what it said


class Worker:
    """Runs the nodes `names` of `graph`, in order, over one shard a call."""

    def __init__(self, url: str, graph: Sequence[Node], names: Sequence[str], threads: int = 1) -> None:
        self.store = Store(url)
        self.graph = {node.name: node for node in graph}
        self.nodes = [node for node in graph if node.name in names]
        self.threads = threads
        # The same chunks, and so the same batches, whatever is left to do.
        self.chunk = math.lcm(*(node.entry.batch_size for node in self.nodes if node.kind == "signals"))
        self._stages: dict[str, Stage] = {}

    def __call__(self, shard: str, done: Done) -> Done:
        """Do what is to do; returns `done` with the digests of this group's nodes added."""
        done = dict(done)
        todo = [node for node in self.nodes if node.name not in done]
        signals = [node for node in todo if node.kind == "signals"]
        if signals:
            with attempts.mark(self.store, f"{signals[0].entry.name}-{signals[0].fingerprint}", shard) as isolated:
                self._run(shard, signals, done, isolated)
        for node in todo:
            if node.kind == "round":
                done[node.name] = records.publish_round(self.store, node, self.graph, shard, done)
        return done

    def _run(self, shard: str, todo: Sequence[Node], done: Done, isolated: bool) -> None:
        stages = {node.name: self._stage(node, isolated) for node in todo}
        try:
            self._annotate(shard, todo, stages, done)
        finally:
            for stage in stages.values():
                if isinstance(stage, Isolated):
                    stage.close()

    def _annotate(self, shard: str, todo: Sequence[Node], stages: Mapping[str, Any], done: Done) -> None:
        rows: dict[str, list[Row]] = {node.name: [] for node in todo}
        earlier = {name for node in todo for name in node.reads if name not in rows}
        said: dict[str, Mapping[str, Annotations]] = {
            name: {row.key: row.annotations for row in records.read_rows(self.store, self.graph[name], shard)}
            for name in earlier
        }
        decode = any(registry.load(node.entry.use)[0].reads_images for node in todo)
        for chunk in self._chunks(shard, self.chunk, decode):
            for node in todo:
                samples = [_sample(node, image, pixels, said) for image, pixels in chunk]
                size = node.entry.batch_size
                batches = (samples[i : i + size] for i in range(0, len(samples), size))
                results = [result for batch in batches for result in call(stages[node.name], batch)]
                made = [_row(node, s, result) for s, result in zip(samples, results, strict=True)]
                said[node.name] = {row.key: row.annotations for row in made}
                rows[node.name] += made
        for node in todo:
            done[node.name] = records.publish_signals(self.store, node, shard, rows[node.name], done)

    def _stage(self, node: Node, isolated: bool) -> Any:
        load = functools.partial(load_stage, self.store.url, node.entry.use, node.entry.options)
        if isolated:
            return Isolated(load, self.threads)
        if node.name not in self._stages:
            self._stages[node.name] = load()
        return self._stages[node.name]

    def _chunks(self, shard: str, size: int, decode: bool) -> Iterator[list[tuple[ImageRow, np.ndarray | None]]]:
        """The shard's images in order, `size` at a time, decoded when a stage asks for it; memory is one chunk's."""
        rows = records.read_images(self.store, shard)
        chunks = [rows[i : i + size] for i in range(0, len(rows), size)]
        if not decode:
            for chunk in chunks:
                yield [(row, None) for row in chunk]
            return
        data = records.read_image_bytes(self.store, shard)
        with ThreadPoolExecutor(self.threads) as pool:
            for chunk in chunks:
                pixels = pool.map(records.decode_image, [next(data) for _ in chunk])
                yield list(zip(chunk, pixels, strict=True))


def load_stage(url: str, use: str, options: Any) -> Stage:
    """The stage with its model loaded; a model in the work folder is fetched where that is remote."""
    for f in dataclasses.fields(options):
        value = getattr(options, f.name)
        if isinstance(value, str) and value.startswith(lineage.WORK):
            folder = Store(url).local_copy(value.removeprefix(lineage.WORK))
            options = dataclasses.replace(options, **{f.name: folder})
    stage: Stage = registry.load(use)[0](options)
    return stage


def call(stage: Callable[[Batch], list[Result]], batch: Batch) -> list[Result]:
    """One result per sample, whatever the stage does: a batch that runs out of memory, raises or kills its process is
    halved until the sample at fault stands alone; that one fails with a reason."""
    try:
        results = stage(batch)
    except Exception as error:  # the one place: any error of a stage becomes a row with a reason
        if len(batch) > 1:
            half = len(batch) // 2
            return call(stage, batch[:half]) + call(stage, batch[half:])
        return [_failure(error)]
    assert len(results) == len(batch), f"the stage gave {len(results)} results for {len(batch)} samples"
    return results


def _failure(error: Exception) -> Failed:
    if isinstance(error, SampleError):
        return Failed(error.reason, error.detail)
    detail = f"{type(error).__name__}: {error}".split("\n")[0][:200]
    if isinstance(error, MemoryError) or type(error).__name__ == "OutOfMemoryError":
        return Failed("out_of_memory", detail)
    return Failed("crashed" if isinstance(error, StageDied) else "error", detail)


def _sample(node: Node, image: ImageRow, pixels: np.ndarray | None, said: Said) -> Sample:
    annotations = Annotations()
    for name in node.reads:
        annotations = annotations.overlaid(said[name].get(image.key, Annotations()))
    size = (image.width or 0, image.height or 0)
    return Sample(key=image.key, size=size, round=node.round, annotations=annotations, image=pixels)


def _row(node: Node, sample: Sample, result: Result) -> Row:
    if isinstance(result, Failed):
        return Row(key=sample.key, failed=result.reason, detail=result.detail or None)
    known = {a.id for a in sample.annotations.all()}
    stamped: list[list[Any]] = [
        [_stamped(node, a, f"{kind}.{i}", known) for i, a in enumerate(getattr(result, kind))] for kind in KINDS
    ]
    return Row(key=sample.key, annotations=Annotations(*stamped))


def _stamped(node: Node, annotation: Any, index: str, known: set[str]) -> Annotation:
    """Fill in where an addition came from; a revision keeps its origin."""
    if annotation.id:
        assert annotation.id in known, f"{node.name} revises {annotation.id}, which it was not given"
        return annotation
    options = node.entry.options
    model = next((str(getattr(options, f.name)) for f in dataclasses.fields(options) if f.metadata.get("content")), "")
    stamped: Annotation = dataclasses.replace(
        annotation, id=f"{node.round}.{node.entry.name}.{index}", source=annotation.source or node.entry.name,
        model=model.rstrip("/").rsplit("/", 1)[-1] or node.entry.use, revision=node.revision, round=node.round,
    )  # fmt: skip
    return stamped
