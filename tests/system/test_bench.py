"""`fld bench refinement` on 12 scenes: every control is made and measured.

The model learns nothing at this size. The run takes more than four minutes, so it is a slow drill.
"""

import json
from typing import Any

import pytest

from pipeline.benches.refinement import head_by_round, spread
from tests.system.conftest import ONE_SHARD, fld_here

CONTROLS = {
    "start_not_trained",
    "random_model",
    "trained_on_shuffled_labels",
    "from_scratch",
    "two_folds",
}


@pytest.fixture(scope="module")
def full(tmp_path_factory: pytest.TempPathFactory, local_ray: None) -> dict[str, Any]:
    work = tmp_path_factory.mktemp("bench")
    small = ",".join(f'"{setting}"' for setting in ONE_SHARD)
    sizes = (f"work={work}", "seeds=1", "control_rounds=1", f"settings=[{small}]")
    done = fld_here("bench", "refinement", "--full", "--json", *sizes)
    assert done.returncode == 0, done.stderr[-3000:]
    return dict(json.loads(done.stdout))


@pytest.mark.slow
@pytest.mark.ray
def test_every_control_is_measured_on_the_same_labels(full: dict[str, Any]) -> None:
    assert full["controls"].keys() == CONTROLS | {"model_without_merge"}
    assert full["seeds"]["count"] == 1
    first = full["f1_by_round"][0]
    assert first == full["rounds"][0]["f1"] == full["seeds"]["f1"][0]["mean"] > 0.2
    for name in CONTROLS:
        control = full["controls"][name]
        assert control["f1_by_round"][0] == first, name
        assert control["attempts"][0]["status"] == "accepted"
        assert control["attempts"][1]["model_f1"] is not None


@pytest.mark.slow
@pytest.mark.ray
def test_a_random_model_ships_the_filtered_labels(full: dict[str, Any]) -> None:
    control = full["controls"]["random_model"]
    assert control["attempts"][1]["status"] == "rejected"
    assert control["f1_by_round"] == [control["f1_by_round"][0]] * 2
    assert control["attempts"][1]["model_f1"] < 0.01


def test_a_rejected_round_ships_what_stood_before_it() -> None:
    rounds = [
        {"status": s, "f1": f} for s, f in (("accepted", 0.5), ("rejected", 0.1), ("accepted", 0.7))
    ]
    assert head_by_round(rounds, "f1") == [0.5, 0.5, 0.7]


def test_the_spread_over_seeds_is_the_sample_deviation() -> None:
    runs = [
        [{"status": "accepted", "f1": f, "f1_75": f / 2, "caption_accuracy": 1.0}]
        for f in (0.4, 0.6)
    ]
    found = spread(runs)
    assert found["f1"][0]["mean"] == pytest.approx(0.5)
    assert found["f1"][0]["deviation"] == pytest.approx(0.1414, abs=1e-4)
    assert found["caption_accuracy"][0]["deviation"] == 0
