"""The benches of rounds that are judged with truth and without."""

from __future__ import annotations

from pathlib import Path

import pytest
from PIL import Image

from pipeline.benches.gate import GateBenchConfig, gate
from pipeline.benches.judged_rounds import COMPARED, JudgedRound, same_decision, worst_change


def judged(with_truth: str, without_truth: str, **after: float) -> JudgedRound:
    """A round whose labels have an F1 of 0.5 before, and after where nothing else is given."""
    before = dict.fromkeys(COMPARED, 0.5)
    return {
        "noise": "low",
        "model": "weak",
        "steps": 50,
        "before": before,
        "after": before | after,
        "with_truth": with_truth,
        "without_truth": without_truth,
        "gain": None,
        "estimated_gain": None,
        "reason": "",
    }


def test_the_worst_change_is_that_of_the_worst_metric_in_the_worst_round() -> None:
    better = judged("accepted", "accepted", region_attributes=0.9, triplets=0.48)
    worse = judged("rejected", "accepted", region_attributes_75=0.4, text_tokens=0.6)
    assert worst_change([better]) == pytest.approx(-0.02)
    assert worst_change([better, worse]) == pytest.approx(-0.1)
    assert same_decision([better, worse]) == 0.5


@pytest.mark.ray
@pytest.mark.slow
def test_the_gate_judges_each_round_twice_and_the_plot_is_a_picture(tmp_path: Path) -> None:
    plot = tmp_path / "gate.png"
    config = GateBenchConfig(
        models=("weak", "sabotaged", "overfitted"),
        noise=("systematic",),
        scenes=40,
        work=str(tmp_path / "work"),
        plot=str(plot),
        # A model of two steps knows nothing, so it changes nothing.
        settings=("train.stages=[[64,2]]", "source.shard_size=20"),
    )
    result = gate(config)
    rows = result["rows"]
    assert [row["model"] for row in rows] == ["weak", "sabotaged", "overfitted"]
    for row in rows:
        assert row["with_truth"] == row["without_truth"] == "rejected"
        assert row["before"] == row["after"] and row["gain"] is None
    assert (result["same_decision"], result["accepted"]) == (1.0, 0)
    assert result["worst_accepted"] is None
    with Image.open(plot) as picture:
        assert picture.size == (550, 495)
