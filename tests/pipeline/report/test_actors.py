"""What `fld status` says of actors, from what they have written."""

import time
from pathlib import Path
from typing import Any

import pytest

from pipeline.execution import activity, attempts
from pipeline.execution.clock import Clock, StageTime
from pipeline.report.actors import bottleneck, group_states
from pipeline.report.status import status
from pipeline.report.terminal import status_text
from pipeline.report.times import times_table
from pipeline.storage import layout_journal, lease
from pipeline.storage.process import this_process
from pipeline.storage.store import Store


def actor(store: Store, name: str, group: str, **values: Any) -> None:
    """Publish what an actor says of itself; it has lived for 100 seconds."""
    now = time.time()
    driver = lease.holder(store)
    state = {
        **this_process(),
        "group": group,
        "since": now - 100,
        "beat": now,
        "busy": 0.0,
        "shards": 0,
        "shard": "",
        "stage": "",
        "stages": {},
        "run": lease.process_of(driver) if driver else None,
        **values,
    }
    store.publish_json(layout_journal.actor(group, name), state)


def spent(shards: int, samples: int, seconds: float) -> dict[str, float]:
    return {"shards": shards, "samples": samples, "seconds": seconds}


def two_groups(store: Store) -> None:
    look = {"detect": spent(4, 40, 8.0), "ocr": spent(4, 40, 72.0)}
    actor(store, "a", "look", busy=90.0, shards=4, shard="shard-000007", stage="ocr", stages=look)
    actor(store, "b", "look", busy=70.0, shards=4, stages=look)
    actor(store, "c", "filters", busy=5.0, shards=8, stages={"round": spent(8, 0, 5.0)})


def test_the_busiest_group_and_its_slowest_stage_are_the_bottleneck(tmp_path: Path) -> None:
    store = Store(str(tmp_path))
    with lease.held(store):
        two_groups(store)
        state = status(store, 0)
    found = {group["group"]: group for group in state["groups"]}
    assert (found["look"]["actors"], found["look"]["shards"]) == (2, 8)
    assert abs(found["look"]["busy"] - 0.8) < 1e-6
    assert found["look"]["working_on"] == ["shard-000007 ocr"]
    rates = {rate["stage"]: rate for rate in found["look"]["stages"]}
    assert abs((rates["ocr"]["samples_per_second"] or 0) - 80 / 144) < 1e-9
    assert abs(rates["ocr"]["share"] - 0.9) < 1e-9
    assert found["filters"]["stages"][0]["samples_per_second"] is None
    assert state["bottleneck"] is not None
    assert (state["bottleneck"]["group"], state["bottleneck"]["stage"]) == ("look", "ocr")
    assert (
        "bottleneck: stage ocr of group look, whose actors are 80% busy; it takes 90% of that"
        in status_text(state)
    )


def test_after_a_crash_the_actors_of_the_last_run_are_still_there(tmp_path: Path) -> None:
    store = Store(str(tmp_path))
    with lease.held(store):
        two_groups(store)
    actor(store, "d", "older", run=None, busy=100.0, stages={"x": spent(1, 1, 100.0)})
    groups = group_states(store, running=False)
    assert [group["group"] for group in groups] == ["look", "filters"]
    assert all(group["working_on"] == [] for group in groups)
    assert bottleneck([]) is None


def test_an_actor_that_gives_no_sign_counts_as_gone(tmp_path: Path) -> None:
    store = Store(str(tmp_path))
    elsewhere = {"host": "elsewhere", "boot": "b", "pid": 7, "started": "1"}
    with lease.held(store):
        long_ago = time.time() - activity.SILENT_SECONDS - 5
        actor(store, "a", "look", **elsewhere, beat=long_ago)
        actor(store, "b", "look", **{**elsewhere, "pid": 8})
        for pid in (7, 8):
            mark = {**elsewhere, "pid": pid, "since": long_ago, "run": None}
            store.publish_json(layout_journal.attempt("ocr-1", f"shard-00000{pid}", "x.json"), mark)
        workers = attempts.workers(store, running=True)
        assert workers["alive"] == 1
        assert [stale["shard"] for stale in workers["stale"]] == ["shard-000007"]
        assert group_states(store, running=True)[0]["actors"] == 1


def test_times_of_earlier_runs_are_added_up_and_kept(tmp_path: Path) -> None:
    store = Store(str(tmp_path))
    for _ in range(2):
        two_groups(store)
        activity.tidy(store)
        assert store.list(layout_journal.ACTORS) == []
    two_groups(store)
    assert activity.stage_times(store)["ocr"] == StageTime(24, 240, 432.0)


def test_a_clock_leaves_out_the_loading_of_models() -> None:
    clock = Clock()
    with clock.running("detect", samples=3), clock.loading():
        time.sleep(0.05)
    assert clock.stages["detect"].samples == 3
    assert clock.stages["detect"].seconds < 0.04
    clock.add_whole("ingest", 1.0)
    assert "ingest" not in clock.stages
    other = Clock()
    other.add_whole("ingest", 1.0)
    assert other.stages == {"ingest": StageTime(1, 0, 1.0)}


def test_the_times_of_an_image_are_the_seconds_of_all_actors_by_the_images(tmp_path: Path) -> None:
    store = Store(str(tmp_path))
    with lease.held(store):
        two_groups(store)
        groups = group_states(store, running=False)
    # Two actors with 40 images each: 144 s for 80 images are 1,800 ms. Writing counts no images.
    assert times_table(groups) == (
        "stage   images  ms an image\n"
        "ocr         80      1,800.0\n"
        "detect      80        200.0\n"
        "all                 2,000.0"
    )


def test_a_run_that_found_everything_done_has_no_times() -> None:
    with pytest.raises(ValueError, match="worked on no image"):
        times_table([])
