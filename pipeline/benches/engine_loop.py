"""`fld bench pipeline`: what the engine costs beside the stages that it runs.

The baseline is a loop in one process: it reads the tar of a shard, decodes the images, calls the
stage on the same batches and writes a Parquet table. It does not count, hash or mark anything. The
engine does the same shards with one actor, which has as many threads. Both times begin with the end
of the first shard, when the actor is up and the stage is loaded.

`worker` is the engine's worker in a process of its own, without Ray. So `engine` minus `worker` is
what Ray costs, and `worker` minus `bare` what checks, digests and publishing cost.
"""

from __future__ import annotations

import functools
import json
import os
import statistics
import tempfile
from collections.abc import Iterator
from dataclasses import asdict, dataclass
from pathlib import Path
from typing import IO

import pyarrow as pa
import pyarrow.parquet as pq

from pipeline.benches.apart import cost_of
from pipeline.config.compose import compose
from pipeline.config.parse import parse
from pipeline.config.run import Entry, RunConfig
from pipeline.execution.engine import Engine
from pipeline.execution.loading import load_stage
from pipeline.execution.steps import Step
from pipeline.execution.threads import bound_threads
from pipeline.execution.worker import Worker
from pipeline.ingest.assignment import list_sources
from pipeline.plan import graph
from pipeline.plan.graph import Node
from pipeline.plan.shard_state import ShardState
from pipeline.refinement.executor import RunExecutor
from pipeline.rows import Row
from pipeline.schema import Annotations
from pipeline.storage import layout
from pipeline.storage.arrow import arrow_schema, to_dict
from pipeline.storage.images import decode_image
from pipeline.storage.json_types import Json
from pipeline.storage.store import Store
from pipeline.storage.tars import read_tar
from stages import registry
from stages.base import Sample, Stage

BATCH_SIZE = 16
GROUP = "main"
SETTING = "setting.json"


@dataclass(frozen=True, slots=True, kw_only=True)
class PipelineBenchConfig:
    """Settings of `fld bench pipeline`."""

    shards: int = 4
    """Shards of each setting; the first one warms up."""
    cheap_images: int = 40
    """Rendered scenes in one shard for the cheap stage, `contours`."""
    heavy_images: int = 6
    """Rendered scenes in one shard for the heavy stage, `rapidocr`."""
    repeats: int = 2
    """Measurements of each side; they alternate, and the median counts."""
    threads: int = 1
    """Threads of the libraries on each side."""
    folder: str = ""
    """Local folder to write to; empty: the system's temporary folder."""


def pipeline(config: PipelineBenchConfig) -> Json:
    """Compare the engine with the loop; `ratio` is the lower one of both settings."""
    settings = {
        "cheap": _measure(config, "contours", config.cheap_images),
        "heavy": _measure(config, "rapidocr", config.heavy_images),
    }
    return {
        "name": "pipeline",
        "ratio": min(figures["ratio"] for figures in settings.values()),
        **settings,
        "settings": asdict(config),
    }


def _measure(config: PipelineBenchConfig, use: str, images: int) -> Json:
    """The rates of one stage on each side, in images per second."""
    seconds: dict[str, list[float]] = {"engine": [], "worker": [], "bare": []}
    with tempfile.TemporaryDirectory(prefix="fld-bench-", dir=config.folder or None) as scratch:
        setting = Setting(use, images, config.shards, config.threads)
        folder = Path(scratch)
        (folder / SETTING).write_text(json.dumps(asdict(setting)))
        run = setting.run(folder)
        store = Store(run.work)
        states = RunExecutor(store, run).ingest(list_sources(run))
        node = setting.node(run)
        step = setting.step(run, node)
        for _ in range(config.repeats):
            for side, measured in seconds.items():
                if side == "engine":
                    Engine(run.cluster, store).run("bench", [step], states)
                else:
                    cost_of(f"pipeline.benches.engine_loop:drive_{side}", folder)
                measured.append(_span(store, node))
                store.remove(node.folder)
    count = images * (config.shards - 1)
    rates = {side: count / statistics.median(times) for side, times in seconds.items()}
    return {
        "stage": use,
        "ratio": rates["engine"] / rates["bare"],
        "worker_ratio": rates["worker"] / rates["bare"],
        "engine_images_per_second": rates["engine"],
        "worker_images_per_second": rates["worker"],
        "bare_images_per_second": rates["bare"],
    }


@dataclass(frozen=True, slots=True)
class Setting:
    """What is run on each side; a file tells it to the processes of the sides."""

    use: str
    """The stage."""
    images: int
    """In one shard."""
    shards: int
    threads: int

    def run(self, folder: Path) -> RunConfig:
        """A run of rendered scenes with one actor."""
        settings = [
            "source=scenes",
            f"source.count={self.images * self.shards}",
            f"source.shard_size={self.images}",
            f"work={folder / 'work'}",
            "cluster.workers=1",
            f"cluster.groups.{GROUP}.threads={self.threads}",
        ]
        return parse(compose(settings))

    def node(self, run: RunConfig) -> Node:
        """The node of the stage."""
        _, config_class = registry.load(self.use)
        entry = Entry(
            name="stage", use=self.use, options=config_class(), group=GROUP, batch_size=BATCH_SIZE
        )
        return graph.make_node(entry, 0, [], run.cluster)

    def step(self, run: RunConfig, node: Node) -> Step:
        """The step of the engine that does the node, as of a run."""
        make = functools.partial(Worker, run.work, [node], [node.name], self.threads)
        return Step(GROUP, make, (node.name,))


def drive_worker(folder: Path) -> None:
    """Do all shards with the worker of the engine."""
    setting = _setting(folder)
    run = setting.run(folder)
    node = setting.node(run)
    do = setting.step(run, node).make()
    for shard, digests in Store(run.work).done(layout.IMAGES).items():
        do(shard, ShardState({layout.IMAGES: digests.output}))


def drive_bare(folder: Path) -> None:
    """Do all shards with a plain loop."""
    setting = _setting(folder)
    run = setting.run(folder)
    node = setting.node(run)
    store = Store(run.work)
    stage = load_stage(store.url, node.entry.use, node.entry.options)
    target = Path(store.path(layout.manifests(node.folder)))
    target.mkdir(parents=True)
    for shard in store.done(layout.IMAGES):
        with store.open(layout.images_tar(shard)) as file:
            rows = list(_labelled(stage, file))
        table = pa.Table.from_pylist(rows, schema=arrow_schema(Row))
        pq.write_table(table, target / shard, compression="zstd")


def _labelled(stage: Stage, file: IO[bytes]) -> Iterator[Json]:
    """What a stage says of each image in a tar, as plain values."""
    stored = [(key, next(iter(members.values()))) for key, members in read_tar(file)]
    for start in range(0, len(stored), BATCH_SIZE):
        samples = []
        for key, data in stored[start : start + BATCH_SIZE]:
            pixels = decode_image(data)
            height, width = pixels.shape[:2]
            samples.append(Sample(key=key, size=(width, height), image=pixels))
        for sample, result in zip(samples, stage(samples), strict=True):
            assert isinstance(result, Annotations)
            yield to_dict(Row(key=sample.key, annotations=result))


def _setting(folder: Path) -> Setting:
    """What `_measure` wrote down, with as many threads as it says."""
    setting = Setting(**json.loads((folder / SETTING).read_text()))
    bound_threads(setting.threads)
    return setting


def _span(store: Store, node: Node) -> float:
    """The seconds from the end of the first shard to that of the last.

    Each side writes one file for each shard in this folder, as the last thing that it does.
    """
    folder = layout.manifests(node.folder)
    times = []
    for name in store.list(folder):
        times.append(os.stat(store.path(layout.within(folder, name))).st_mtime)
    return max(times) - min(times)
