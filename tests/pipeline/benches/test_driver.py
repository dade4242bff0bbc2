"""What the driver does for a finished run of simulated shards."""

from __future__ import annotations

from pathlib import Path

import pytest

from pipeline.benches.driver import DriverBenchConfig, drive, driver
from pipeline.benches.simulated import SimulatedExecutor, publish_source, simulated_run
from pipeline.errors import RunFailed
from pipeline.ingest.assignment import list_sources
from pipeline.refinement.loop import Loop
from pipeline.storage import layout, layout_journal
from pipeline.storage.rounds import read_head, read_round_state
from pipeline.storage.store import Store


@pytest.fixture
def store(tmp_path: Path) -> Store:
    """A run of three shards whose sums are not kept."""
    publish_source(tmp_path, 3)
    run = simulated_run(tmp_path)
    store = Store(run.work)
    loop = Loop(store, run, SimulatedExecutor(store, run, images=30))
    loop.rounds(list_sources(run))
    store.remove(layout_journal.MEASURED)
    return store


def test_the_driver_finishes_a_run_from_its_summaries_alone(store: Store, tmp_path: Path) -> None:
    head = read_head(store)
    assert head is not None
    rounds = [layout.named_round(attempt.round) for attempt in head.attempts]
    states = [read_round_state(store, folder) for folder in rounds]
    for folder in (*rounds, layout.IMAGES):
        for file in store.list(folder):
            if file.endswith((".json", ".parquet")):
                store.remove(layout.within(folder, file))
    store.remove(layout.HEAD)
    drive(tmp_path)
    assert read_head(store) == head
    assert [read_round_state(store, folder) for folder in rounds] == states
    metrics = store.read_json(layout.round_metrics(rounds[1]))
    assert metrics["samples"] == 90 and metrics["kept"]["regions"] == 450
    assert store.read_json(layout.round_statistics(rounds[0]))["images"] == 90


def test_a_summary_that_is_not_the_one_that_was_written_is_told(
    store: Store, tmp_path: Path
) -> None:
    (judged,) = [name for name in store.list(layout.SUMMARIES) if name.startswith("judgements")]
    name = layout.summary(layout.within(layout.SUMMARIES, judged), "shard-000001")
    store.publish(name, store.read(name).replace(b'"samples":30', b'"samples":31'))
    with pytest.raises(RunFailed, match="not the file that was written"):
        drive(tmp_path)


@pytest.mark.subprocess
def test_the_bench_tells_time_and_memory(tmp_path: Path) -> None:
    result = driver(DriverBenchConfig(shards=2, images=20, folder=str(tmp_path)))
    assert result["shards"] == 2 and result["images"] == 40
    assert result["seconds"] > 0 and 0.05 < result["peak_gb"] < 1
    assert list(tmp_path.iterdir()) == []
