"""A work folder with a finished round, made by the real stages in this process, and a runner that
does the work of Ray."""

from __future__ import annotations

import io
from collections.abc import Mapping, Sequence
from pathlib import Path

import numpy as np
from PIL import Image

from pipeline.config import saved
from pipeline.config.compose import compose
from pipeline.config.parse import parse
from pipeline.config.run import RunConfig
from pipeline.execution.steps import Step
from pipeline.execution.worker import Worker
from pipeline.ingest.assignment import assign, list_source
from pipeline.ingest.shard import Ingest
from pipeline.plan import graph, journal
from pipeline.plan.shard_state import ShardState
from pipeline.release.build import Built, build
from pipeline.release.config import ReleaseConfig
from pipeline.release.config import parse as parse_release
from pipeline.storage.layout import round_name
from pipeline.storage.rounds import Head, HeadAttempt, publish_head
from pipeline.storage.store import Store
from stages.embedded.source import ScenesConfig, ScenesSource

# Everything but the reader of texts and the long descriptions, which take long to load.
FEWER = [
    "~specialists.ocr",
    "~specialists.describe",
    "specialists.parse.after=[caption]",
    "refine.complete=[]",
    "refine.rounds=0",
]
SOURCE = "sources.scenes.licence=CC-BY-4.0"


class Inline:
    """Runs steps in this process, one shard after the other."""

    def run(
        self, title: str, steps: Sequence[Step], shards: Mapping[str, ShardState]
    ) -> dict[str, ShardState]:
        states = dict(shards)
        for step in steps:
            todo = [shard for shard in sorted(states) if step.has_work(states[shard])]
            work = step.make() if todo else None
            for shard in todo:
                assert work is not None
                states[shard] = work(shard, states[shard])
        return states


def make_round(work: Path, images: Path, shard_size: int = 6) -> RunConfig:
    """Label a folder of images: round 0, which becomes head."""
    store = Store(str(work))
    values = compose(
        [
            "source=folder",
            f"work={work}",
            f"source.path={images}",
            f"source.shard_size={shard_size}",
            *FEWER,
        ]
    )
    run = parse(values)
    saved.save(store, values)
    listing = assign(store, run.source, list_source(run.source))
    ingest = Ingest(store.url, run.source, listing)
    nodes = graph.round_zero(run)
    journal.publish_graph(store, nodes)
    worker = Worker(store.url, nodes, [node.name for node in nodes])
    for shard in sorted(listing):
        worker(shard, ingest(shard, ShardState()))
    name = round_name(nodes[-1].folder)
    attempt = HeadAttempt(round=name, model=None, status="accepted")
    publish_head(store, Head(round=name, model=None, attempts=[attempt]))
    return run


def write_scenes(folder: Path, count: int) -> None:
    """Rendered scenes as image files: scene_000000.jpg and so on."""
    folder.mkdir(parents=True, exist_ok=True)
    source = ScenesSource(ScenesConfig(count=count))
    for item in source.read(source.list()):
        assert item.data is not None
        (folder / item.name).write_bytes(item.data)


def config(*overrides: str) -> ReleaseConfig:
    return parse_release(["name=scenes", "version=1.0.0", SOURCE, *overrides])


def released(work: Path, *overrides: str) -> Path:
    """Make a release of the head; returns its folder."""
    store = Store(str(work))
    built: Built = build(store, saved.load(store), config(*overrides), Inline())
    return work / built.folder


def encoded(image: Image.Image, form: str = "JPEG", **options: int) -> bytes:
    file = io.BytesIO()
    image.save(file, form, **options)
    return file.getvalue()


def pixels(path: Path) -> np.ndarray:
    return np.asarray(Image.open(path))
