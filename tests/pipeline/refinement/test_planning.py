"""`fld plan` names the folders that `fld run` makes."""

from pathlib import Path
from typing import Any

import pytest

from pipeline.config.compose import compose
from pipeline.config.parse import parse
from pipeline.quality.levels import count_levels
from pipeline.refinement import executor, planning
from pipeline.storage.store import Store
from tests.pipeline.refinement.counted import levels

REGIONS = {
    "asked": 1,
    "confirmed": 50,
    "possible": 100,
    "added": levels((-0.5, 10, 5)),
    "renamed": levels(),
    "same": levels((-0.1, 50, 45)),
    "old": count_levels([-0.5] * 100),
    "missed": count_levels([]),
    "decoys": count_levels([-3.0] * 100),
    "places": {"pairs": 0},
}
LEARNED = {"kinds": {"regions": {"added": levels((-0.5, 90, 75)), "renamed": levels()}}}
COUNTED = {"held_out": {"labels": 0, "support": 0, "kinds": {"regions": REGIONS}}}


def test_a_plan_measures_the_thresholds_of_the_merge_as_the_run_does(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    run = parse(compose(["experiment=refinement", f"work={tmp_path}"]))
    store = Store(run.work)
    counted: dict[str, Any] = {**COUNTED, "learned": LEARNED}
    for module in (executor, planning):
        monkeypatch.setattr(module, "total", lambda *args, **kwargs: counted)
    node: Any = None  # only the sum is read
    measured = executor.RunExecutor(store, run).thresholds(node, {})
    # Ten labels that no model has learned from tell too little; the learned ones are counted, too.
    assert measured["regions"].add.twice == -0.505
    assert planning.Recorder(store, run).thresholds(node, {}) == measured
