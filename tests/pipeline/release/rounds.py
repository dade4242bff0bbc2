"""A work folder with a finished round, and a runner that does the work of Ray in this process.

Images are ingested, and signals, records and manifests published by the engine's own code. Only the
stages are replaced: what they say is written down here, so no model is loaded.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import replace
from pathlib import Path
from typing import Any

import numpy as np
import pytest

from pipeline.config import saved
from pipeline.config.compose import compose
from pipeline.config.parse import parse
from pipeline.config.run import RunConfig
from pipeline.execution.provenance import result_row
from pipeline.execution.publishing import publish_round, publish_signals
from pipeline.execution.reading import ShardTables
from pipeline.execution.steps import Step
from pipeline.ingest.assignment import assign, list_source
from pipeline.ingest.shard import Ingest
from pipeline.plan import graph, journal
from pipeline.plan.graph import Node
from pipeline.plan.shard_state import ShardState
from pipeline.release.build import Built, build
from pipeline.release.config import ReleaseConfig
from pipeline.release.config import parse as parse_release
from pipeline.schema import Annotations, Region, Text, TextRegion, Triplet
from pipeline.storage.layout import round_name
from pipeline.storage.rounds import Head, HeadAttempt, publish_head
from pipeline.storage.store import Store
from stages.base import Sample
from stages.embedded.source import ScenesConfig, ScenesSource
from stages.geometry import encode_mask

SOURCE = "sources.folder.licence=CC-BY-4.0"
BOX = (20.0, 30.0, 120.0, 130.0)
TEXT = "A red circle above a blue square."


def caption(sample: Sample) -> Annotations:
    return Annotations(texts=[Text(granularity="brief", text=TEXT, score=0.5)])


def detect(sample: Sample) -> Annotations:
    """Two regions; the second one reaches over the edge of the image."""
    width, height = sample.size
    outside = (width - 50.0, height - 40.0, width + 3.5, height + 0.0)
    circle = Region(box=BOX, phrase="circle", brief="red circle", score=0.9)
    ghost = Region(box=(1, 1, 9, 9), phrase="ghost", score=0.1)
    return Annotations(regions=[circle, Region(box=outside, phrase="square", score=0.7), ghost])


def ocr(sample: Sample) -> Annotations:
    quad = (10.0, 10.0, 60.0, 10.0, 60.0, 25.0, 10.0, 25.0)
    return Annotations(text_regions=[TextRegion(quad=quad, text="STOP", score=0.8)])


def ground(sample: Sample) -> Annotations:
    """A phrase of the text; another one whose span is not right."""
    text = sample.annotations.texts[0]
    phrase, parents = "A red circle", [text.id]
    pair = Triplet(
        text_id=text.id, phrase=phrase, start=0, end=12, box=BOX, score=0.6, parents=parents
    )
    return Annotations(triplets=[pair, replace(pair, start=3, end=15)])


def segment(sample: Sample) -> Annotations:
    """A mask for the first region, which it revises."""
    width, height = sample.size
    pixels = np.zeros((height, width), bool)
    pixels[30:130, 20:120] = True
    return Annotations(regions=[replace(sample.annotations.regions[0], mask=encode_mask(pixels))])


def region(sample: Sample) -> Annotations:
    """The filter: it drops the ghost."""
    return Annotations(regions=[replace(sample.annotations.regions[2], dropped="low_score")])


STAGES = {
    "caption": caption,
    "detect": detect,
    "ocr": ocr,
    "ground": ground,
    "segment": segment,
    "region": region,
}


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


def make_round(work: Path, images: Path, shard_size: int = 6, *overrides: str) -> RunConfig:
    """Label a folder of images: round 0, which becomes head."""
    store = Store(str(work))
    values = compose(
        [
            "source=folder",
            f"work={work}",
            f"source.path={images}",
            f"source.shard_size={shard_size}",
            "refine.rounds=0",
            *overrides,
        ]
    )
    run = parse(values)
    saved.save(store, values)
    listing = assign(store, run.source, list_source(run.source))
    ingest = Ingest(store.url, run.source, listing)
    nodes = graph.round_zero(run)
    journal.publish_graph(store, nodes)
    for shard in sorted(listing):
        label_shard(store, nodes, shard, ingest(shard, ShardState()))
    name = round_name(nodes[-1].folder)
    attempt = HeadAttempt(round=name, model=None, status="accepted")
    publish_head(store, Head(round=name, model=None, attempts=[attempt]))
    return run


def label_shard(store: Store, nodes: Sequence[Node], shard: str, state: ShardState) -> None:
    """Publish the signals of a shard and its part of the round."""
    tables = ShardTables(store, {node.name: node for node in nodes}, shard)
    images = tables.images
    labels = {image.key: Annotations() for image in images}
    for node in nodes[:-1]:
        rows = []
        for image in images:
            size = (image.width or 0, image.height or 0)
            sample = Sample(key=image.key, size=size, annotations=labels[image.key])
            stage = STAGES.get(node.entry.name)
            row = result_row(node, sample, stage(sample) if stage else Annotations())
            labels[image.key] = labels[image.key].overlaid(row.annotations)
            rows.append(row)
        state = state.with_(node.name, publish_signals(tables, node, rows, state))
    publish_round(tables, nodes[-1], state)


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


def tars_by_the_card(release: Path, cache: Path, monkeypatch: pytest.MonkeyPatch) -> Any:
    """The tars of the split `train` as the lines of the card read them."""
    import datasets

    monkeypatch.setattr(datasets.config, "HF_DATASETS_CACHE", str(cache))
    lines = (release / "README.md").read_text().split("```python\n")[1].split("```")[0]
    *before, last = lines.replace("FOLDER", str(release)).strip().splitlines()
    names: dict[str, Any] = {}
    exec("\n".join(before), names)
    return eval(last, names)["train"]
