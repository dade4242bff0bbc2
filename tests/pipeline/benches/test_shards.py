"""The bench of shards at a size that takes a second, and the machine that a figure names."""

from __future__ import annotations

from pathlib import Path

import pytest

from pipeline.benches.machine import machine
from pipeline.benches.shards import ShardsBenchConfig, shards


def test_both_sides_are_timed_and_nothing_is_left(tmp_path: Path) -> None:
    config = ShardsBenchConfig(
        images=6, shard_size=4, repeats=1, ingest=False, folder=str(tmp_path)
    )
    result = shards(config)
    assert result["name"] == "shards" and result["settings"]["images"] == 6
    rates = result["images_per_second"] / result["webdataset_images_per_second"]
    assert result["ratio"] == pytest.approx(rates) and rates > 0
    # Six images of about 100 KB.
    assert result["megabytes"] == pytest.approx(0.6, rel=0.05)
    assert not list(tmp_path.iterdir())


def test_the_machine_is_named_with_its_cores() -> None:
    assert machine()["cores"] >= 1
    assert machine()["python"].count(".") == 2
