"""What `fld bench decisions` measures: the stored signals, and the round that is made of them."""

from __future__ import annotations

import gc
import hashlib
import json
from collections import Counter
from dataclasses import replace
from pathlib import Path

import pytest

from pipeline.benches import decisions as bench
from pipeline.benches.stored_signals import ANNOTATIONS, SPECIALISTS, store_shard, stored_state
from pipeline.execution.loading import reads_images
from pipeline.execution.worker import Worker
from pipeline.storage import layout
from pipeline.storage.store import Store
from pipeline.storage.tars import read_tar
from stages.base import Batch, Result
from stages.filters.region import RegionFilter

SHARD = layout.shard_name(1)


@pytest.fixture
def store(tmp_path: Path) -> Store:
    made = Store(str(tmp_path))
    store_shard(made, SHARD, samples=4, image_bytes=100, seed=0)
    return made


def test_a_round_holds_all_stored_annotations_and_why_filters_dropped_some(store: Store) -> None:
    nodes = bench.decision_nodes()
    state = stored_state()
    names = [node.name for node in nodes if not state.has(node.name)]
    Worker(store.url, nodes, names)(SHARD, state)
    reasons: Counter[str | None] = Counter()
    with store.open(nodes[-1].tar(SHARD)) as file:
        for _, members in read_tar(file):
            record = json.loads(members["json"])
            labels = record["annotations"]
            assert sum(len(items) for items in labels.values()) == ANNOTATIONS
            assert record["sha256"] == hashlib.sha256(members["jpg"]).hexdigest()
            for region in labels["regions"]:
                assert region["brief"], "the later specialist revises the earlier one"
                # The filter's threshold.
                assert region["dropped"] == "low_score" or region["score"] >= 0.4
            reasons.update(item["dropped"] for items in labels.values() for item in items)
    assert reasons.keys() >= {None, "low_score", "region_dropped", "low_phrase_score"}


def test_python_does_not_search_for_garbage_while_only_records_are_handled(
    store: Store, monkeypatch: pytest.MonkeyPatch
) -> None:
    nodes = bench.decision_nodes()
    state = stored_state()
    searches = []
    decide = RegionFilter.__call__

    def watched(self: RegionFilter, batch: Batch) -> list[Result]:
        searches.append(gc.isenabled())
        return decide(self, batch)

    monkeypatch.setattr(RegionFilter, "__call__", watched)
    names = [node.name for node in nodes if not state.has(node.name)]
    Worker(store.url, nodes, names)(SHARD, state)
    assert searches == [False]
    assert gc.isenabled()


def test_the_filters_and_the_round_look_at_no_images() -> None:
    nodes = bench.decision_nodes()[-3:]
    assert not any(map(reads_images, nodes))
    assert reads_images(replace(nodes[0], entry=replace(nodes[0].entry, use="detr")))


def test_a_table_is_read_once_though_two_filters_and_the_round_need_it(
    store: Store, monkeypatch: pytest.MonkeyPatch
) -> None:
    nodes = bench.decision_nodes()
    state = stored_state()
    read: Counter[str] = Counter()
    plain_read = Store.read

    def counted(self: Store, name: str) -> bytes:
        read[name] += 1
        return plain_read(self, name)

    monkeypatch.setattr(Store, "read", counted)
    names = [node.name for node in nodes if not state.has(node.name)]
    Worker(store.url, nodes, names)(SHARD, state)
    tables = [node.table(SHARD) for node in nodes[: len(SPECIALISTS)]]
    assert {name: read[name] for name in tables} == dict.fromkeys(tables, 1)


@pytest.mark.subprocess
def test_the_bench_tells_both_rates(tmp_path: Path) -> None:
    config = bench.DecisionsBenchConfig(
        samples=8, image_bytes=100, repeats=1, earlier=False, folder=str(tmp_path)
    )
    result = bench.decisions(config)
    assert result["ratio"] == pytest.approx(
        result["samples_per_second"] / result["baseline_samples_per_second"]
    )
    assert result["earlier_samples_per_second"] is None and "4f27899" in result["without_earlier"]
    assert list(tmp_path.iterdir()) == []
