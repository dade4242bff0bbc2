"""`fld bench pipeline`: what the engine costs beside the stages that it runs.

The baseline is a loop in one process: it reads the tar of a shard, decodes the images, calls the
stage on the same batches and writes a Parquet table. It does not count, hash or mark anything. The
engine does the same shards with one actor, which has as many threads. Both times begin with the end
of the first shard, when the actor is up and the stage is loaded.

`worker` is the engine's worker in this process, without Ray. So `engine` minus `worker` is what Ray
costs, and `worker` minus `bare` what checks, digests and publishing cost.
"""

from __future__ import annotations

import functools
import os
import statistics
import tempfile
import time
from collections.abc import Callable, Mapping, Sequence
from dataclasses import asdict, dataclass

import pyarrow as pa
import pyarrow.parquet as pq

from pipeline.config.compose import compose
from pipeline.config.parse import parse
from pipeline.config.run import Entry, RunConfig
from pipeline.execution.engine import Engine
from pipeline.execution.loading import load_stage
from pipeline.execution.steps import Step
from pipeline.execution.worker import Worker
from pipeline.ingest.assignment import list_source
from pipeline.plan import graph
from pipeline.plan.graph import Node
from pipeline.plan.shard_state import ShardState
from pipeline.refinement.executor import RunExecutor
from pipeline.schema import Row
from pipeline.storage import layout
from pipeline.storage.arrow import arrow_schema, to_dict
from pipeline.storage.images import decode_image
from pipeline.storage.json_types import Json
from pipeline.storage.store import Store
from pipeline.storage.tars import read_tar
from stages import registry
from stages.base import Annotations, Sample

BATCH_SIZE = 16
States = Mapping[str, ShardState]


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
    with tempfile.TemporaryDirectory(prefix="fld-bench-", dir=config.folder or None) as scratch:
        run = _run(config, scratch, images)
        store = Store(run.work)
        states = RunExecutor(store, run).ingest(list_source(run.source))
        _, config_class = registry.load(use)
        entry = Entry(name="stage", use=use, options=config_class(), batch_size=BATCH_SIZE)
        node = graph.make_node(entry, 0, [], run.cluster)
        sides: dict[str, Callable[[], float]] = {
            "engine": lambda: _engine(store, run, node, states),
            "worker": lambda: _worker(store, config, node, states),
            "bare": lambda: _bare(store, node, list(states)),
        }
        seconds: dict[str, list[float]] = {side: [] for side in sides}
        for _ in range(config.repeats):
            for side, measured in sides.items():
                seconds[side].append(measured())
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


def _run(config: PipelineBenchConfig, scratch: str, images: int) -> RunConfig:
    """A run of rendered scenes with one actor."""
    settings = [
        "source=scenes",
        f"source.count={images * config.shards}",
        f"source.shard_size={images}",
        f"work={scratch}/work",
        "cluster.workers=1",
        f"cluster.groups.main.threads={config.threads}",
    ]
    return parse(compose(settings))


def _engine(store: Store, run: RunConfig, node: Node, states: States) -> float:
    """The seconds from the first manifest of the engine to the last."""
    threads = run.cluster.group(node.group).threads
    make = functools.partial(Worker, store.url, [node], [node.name], threads)
    step = Step(node.group, make, (node.name,))
    Engine(run.cluster, store).run("bench", [step], states)
    written = []
    folder = layout.manifests(node.folder)
    for name in store.list(folder):
        written.append(os.stat(store.path(layout.within(folder, name))).st_mtime)
    return max(written) - min(written)


def _worker(store: Store, config: PipelineBenchConfig, node: Node, states: States) -> float:
    """The seconds of the worker in this process, from the end of the first shard."""
    worker = Worker(store.url, [node], [node.name], config.threads)
    ends = []
    for shard, state in states.items():
        worker(shard, state)
        ends.append(time.time())
    return ends[-1] - ends[0]


def _bare(store: Store, node: Node, shards: Sequence[str]) -> float:
    """The seconds of the loop, from the end of the first shard."""
    stage = load_stage(store.url, node.entry.use, node.entry.options)
    ends = []
    for shard in shards:
        with store.open(layout.images_tar(shard)) as file:
            stored = [(key, next(iter(members.values()))) for key, members in read_tar(file)]
        rows = []
        for start in range(0, len(stored), BATCH_SIZE):
            samples = []
            for key, data in stored[start : start + BATCH_SIZE]:
                pixels = decode_image(data)
                height, width = pixels.shape[:2]
                samples.append(Sample(key=key, size=(width, height), image=pixels))
            for sample, result in zip(samples, stage(samples), strict=True):
                assert isinstance(result, Annotations)
                rows.append(to_dict(Row(key=sample.key, annotations=result)))
        table = pa.Table.from_pylist(rows, schema=arrow_schema(Row))
        target = store.path(layout.signals_table(node.folder, shard))
        os.makedirs(os.path.dirname(target), exist_ok=True)
        pq.write_table(table, target, compression="zstd")
        ends.append(time.time())
    return ends[-1] - ends[0]
