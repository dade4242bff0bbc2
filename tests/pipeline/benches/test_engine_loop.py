"""`fld bench pipeline` at sizes that take seconds: each side labels the same images."""

from __future__ import annotations

import json
import os
from collections.abc import Mapping
from dataclasses import asdict
from pathlib import Path

import pyarrow.parquet as pq
import pytest

from pipeline.benches.engine_loop import (
    SETTING,
    PipelineBenchConfig,
    Setting,
    _span,
    drive_bare,
    drive_worker,
    pipeline,
)
from pipeline.ingest.assignment import assign, list_source
from pipeline.ingest.shard import Ingest
from pipeline.plan.graph import Node
from pipeline.plan.shard_state import ShardState
from pipeline.rows import Row
from pipeline.storage import layout
from pipeline.storage.parquet import read_table
from pipeline.storage.store import Store

SHARDS, IMAGES = 2, 2
Boxes = Mapping[str, list[list[float]]]
"""The boxes that were found in each image, by its key."""


@pytest.fixture
def node(tmp_path: Path) -> Node:
    """The node that is measured, over images that have come in."""
    setting = Setting("contours", images=IMAGES, shards=SHARDS, threads=1)
    (tmp_path / SETTING).write_text(json.dumps(asdict(setting)))
    run = setting.run(tmp_path)
    store = Store(run.work)
    shards = assign(store, run.source, list_source(run.source))
    ingest = Ingest(store.url, run.source, shards)
    for shard in shards:
        ingest(shard, ShardState())
    return setting.node(run)


@pytest.fixture
def store(tmp_path: Path) -> Store:
    return Store(str(tmp_path / "work"))


def test_the_bare_loop_finds_what_the_worker_finds(
    store: Store, node: Node, tmp_path: Path
) -> None:
    drive_worker(tmp_path)
    by_worker: dict[str, list[list[float]]] = {}
    for shard in store.done(node.folder):
        for row in read_table(store, node.table(shard), Row):
            by_worker[row.key] = [list(region.box) for region in row.annotations.regions]
    assert len(by_worker) == SHARDS * IMAGES and all(by_worker.values())
    store.remove(node.folder)
    drive_bare(tmp_path)
    assert _bare_boxes(store, node) == by_worker


def _bare_boxes(store: Store, node: Node) -> Boxes:
    """What the bare loop wrote: one table for each shard, where the worker has its manifests."""
    folder = layout.manifests(node.folder)
    found = {}
    for name in store.list(folder):
        table = pq.read_table(store.path(layout.within(folder, name)))
        for row in table.to_pylist():
            regions = row["annotations"]["regions"]
            found[row["key"]] = [list(region["box"]) for region in regions]
    return found


def test_the_time_begins_with_the_end_of_the_first_shard(
    store: Store, node: Node, tmp_path: Path
) -> None:
    drive_bare(tmp_path)
    folder = layout.manifests(node.folder)
    for name, end in zip(store.list(folder), (1000.0, 1007.5), strict=True):
        os.utime(store.path(layout.within(folder, name)), (end, end))
    assert _span(store, node) == 7.5


@pytest.mark.ray
@pytest.mark.slow
def test_the_ratio_is_that_of_the_stage_on_which_the_engine_costs_more(
    local_ray: None, tmp_path: Path
) -> None:
    config = PipelineBenchConfig(
        shards=2, cheap_images=2, heavy_images=2, repeats=1, folder=str(tmp_path)
    )
    result = pipeline(config)
    ratios = []
    for setting, stage in (("cheap", "contours"), ("heavy", "rapidocr")):
        figures = result[setting]
        assert figures["stage"] == stage
        bare = figures["bare_images_per_second"]
        assert figures["ratio"] == pytest.approx(figures["engine_images_per_second"] / bare)
        assert figures["worker_ratio"] == pytest.approx(figures["worker_images_per_second"] / bare)
        ratios.append(figures["ratio"])
    assert result["ratio"] == min(ratios) > 0
    assert list(tmp_path.iterdir()) == []
