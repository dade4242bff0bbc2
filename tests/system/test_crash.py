"""A stage of another package kills its process on one sample: the run loses that sample only."""

import json
from pathlib import Path

import pytest

from tests.system.conftest import BOXES, fld, fld_here

pytestmark = pytest.mark.ray

PLUGIN = """
import os, signal
from dataclasses import dataclass
from typing import ClassVar

from pipeline.schema import Annotations, Text


@dataclass(frozen=True, slots=True, kw_only=True)
class FragileConfig:
    deadly: str


class Fragile:
    version: ClassVar[int] = 1
    reads_images: ClassVar[bool] = True

    def __init__(self, config: FragileConfig) -> None:
        self.config = config

    def __call__(self, batch):
        if any(sample.key == self.config.deadly for sample in batch):
            os.kill(os.getpid(), signal.SIGSEGV)
        return [self.seen(sample.key) for sample in batch]

    def seen(self, key):
        return Annotations(texts=[Text(granularity="alt", text=f"seen {key}")])
"""


def test_a_segfault_on_one_sample_gives_it_a_row_with_a_reason(tmp_path: Path) -> None:
    site, work = tmp_path / "site", tmp_path / "work"
    info = site / "fragile-1.0.dist-info"
    info.mkdir(parents=True)
    (site / "fragile.py").write_text(PLUGIN)
    (info / "METADATA").write_text("Metadata-Version: 2.1\nName: fragile\nVersion: 1.0\n")
    (info / "entry_points.txt").write_text("[fld.stages]\nfragile = fragile:Fragile\n")
    done = fld(
        "run",
        f"work={work}",
        *BOXES,
        "source.count=8",
        "source.shard_size=4",
        "specialists.fragile.use=fragile",
        "specialists.fragile.group=fragile",
        "specialists.fragile.deadly=scene_000002",
        env={"PYTHONPATH": f"{site}:{Path(__file__).parents[2]}"},
    )
    assert done.returncode == 0, done.stderr[-3000:]

    stages = {
        s["stage"]: s for s in json.loads(fld_here("status", str(work), "--json").stdout)["stages"]
    }
    assert stages["0.fragile"]["samples"] == {"in": 8, "kept": 7, "failed": {"crashed": 1}}
    assert stages["0.detect"]["samples"] == {"in": 8, "kept": 8, "failed": {}}
    assert stages["0.round"]["samples"] == {"in": 8, "kept": 8, "failed": {}}
    assert (
        "FAILED crashed: StageDied: the process ended with signal 11"
        in fld_here("explain", str(work), "scene_000002").stdout
    )
    assert '"seen scene_000003"' in fld_here("explain", str(work), "scene_000003").stdout
    assert "samples failed in fragile: crashed 1" in done.stdout
