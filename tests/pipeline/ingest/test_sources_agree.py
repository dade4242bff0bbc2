"""The same pictures through every source give equal shards, signals and rounds; names differ."""

import hashlib
from dataclasses import replace
from pathlib import Path

import pytest

from pipeline.config.compose import compose
from pipeline.config.parse import parse
from pipeline.execution.reading import read_rows
from pipeline.execution.worker import Worker
from pipeline.ingest.assignment import assign, list_source
from pipeline.ingest.shard import Ingest
from pipeline.plan import graph
from pipeline.plan.shard_state import ShardState
from pipeline.rows import Record
from pipeline.storage.store import Store
from tests.pipeline.execution.test_given import ONLY
from tests.stages.sources.forms import pictures, write_forms

SOURCES = {
    "folder": ["source.path={}/folder", "source.shard_size=3"],
    "webdataset": ["source.path={}/webdataset", "source.unique_keys=true"],
    "img2dataset": ["source.path={}/img2dataset"],
    "parquet": ["source.path={}/train.parquet", "source.key=image.path"],
    "coco": ["source.path={}/folder", "source.instances={}/instances.json", "source.shard_size=3"],
}


@pytest.fixture(scope="module")
def forms(tmp_path_factory: pytest.TempPathFactory) -> Path:
    folder: Path = tmp_path_factory.mktemp("forms")
    write_forms(folder, pictures(6), 3)
    return folder


def made(forms: Path, source: str, work: Path) -> tuple[dict[str, str], list[Record]]:
    """sha256 of the shards and signals, and the records of round 0 without the names."""
    overrides = [setting.format(forms) for setting in SOURCES[source]]
    run = parse(compose([f"source={source}", *overrides, *ONLY]))
    store = Store(str(work / source))
    listing = assign(store, run.source, list_source(run.source))
    nodes = graph.round_zero(run)
    ingest, worker = (
        Ingest(store.url, run.source, listing),
        Worker(store.url, nodes, [node.name for node in nodes]),
    )
    records: list[Record] = []
    for shard in listing:
        worker(shard, ingest(shard, ShardState()))
        records += [replace(record, name="") for record in read_rows(store, nodes[-1], shard)]
    files = [*(work / source).glob("images/*.tar"), *(work / source).glob("signals/*/*.parquet")]
    return {
        str(f.relative_to(work / source)): hashlib.sha256(f.read_bytes()).hexdigest() for f in files
    }, records


def test_the_same_pictures_are_the_same_run_whatever_the_source(
    forms: Path, tmp_path: Path
) -> None:
    files, records = made(forms, "folder", tmp_path)
    assert len(records) == 6 and len([name for name in files if name.endswith(".tar")]) == 2
    for source in SOURCES.keys() - {"folder"}:
        assert made(forms, source, tmp_path) == (files, records), source
