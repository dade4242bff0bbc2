from dataclasses import replace
from typing import Any

import numpy as np
import pytest

from pipeline.config.compose import compose
from pipeline.config.parse import parse
from pipeline.config.run import GateConfig, RunConfig
from pipeline.quality.levels import BINS, count_levels
from pipeline.quality.summary import Summary
from pipeline.quality.truth import METRICS
from pipeline.refinement import gate
from pipeline.refinement.estimates import NO_CHANGES, Changes, Decision, Estimate
from pipeline.refinement.judgements import Measured
from pipeline.refinement.rules import MergeConfig
from pipeline.refinement.thresholds import curves_of, thresholds_of
from pipeline.schema import Annotations
from pipeline.training.selection import held_out

REGIONS = METRICS.index("region_attributes")


def run(*overrides: str) -> RunConfig:
    return parse(compose(list(overrides)))


def counts(matched: list[int], labels: int = 10, truth: int = 10) -> np.ndarray:
    """Samples of which so many of ten labels match ten true regions."""
    array = np.zeros((len(matched), len(METRICS), 3), np.int64)
    array[:, REGIONS] = [[m, labels, truth] for m in matched]
    return array


def by_truth(new: np.ndarray, old: np.ndarray, *overrides: str) -> gate.Verdict:
    config = run(*overrides)
    paired = gate.PairedScores(samples=len(new), new=new, old=old)
    return gate.by_truth(paired, config.refine.gate, config.seed)


def test_a_round_that_is_better_on_held_out_samples_is_accepted_with_the_numbers() -> None:
    verdict = by_truth(counts([8] * 30), counts([6] * 30))
    assert verdict.status == "accepted"
    assert verdict.reason.startswith(
        "better: mean F1 on 30 held-out samples 0.600 -> 0.800 (difference +0.200"
    )
    assert verdict.evidence["differences"]["score"]["value"] == pytest.approx(0.2)


def test_a_round_that_is_surely_worse_is_rejected() -> None:
    verdict = by_truth(counts([5] * 30), counts([6] * 30))
    assert (verdict.status, verdict.reason.split(":")[0]) == ("rejected", "worse")


def test_a_round_that_changes_nothing_is_rejected_as_no_gain() -> None:
    same = counts([5, 7] * 15)
    verdict = by_truth(same, same)
    assert (verdict.status, verdict.reason.split(":")[0]) == ("rejected", "no gain")


def test_a_tolerance_lets_a_small_loss_count_as_no_gain() -> None:
    verdict = by_truth(counts([5] * 30), counts([6] * 30), "refine.gate.tolerance=0.2")
    assert verdict.reason.startswith("no gain")


def test_the_share_of_samples_that_is_held_out_is_the_one_asked_for_and_stable() -> None:
    keys = [f"scene_{i:06d}" for i in range(20_000)]
    chosen = {key for key in keys if held_out(key, 0.1)}
    assert 0.09 < len(chosen) / len(keys) < 0.11
    assert chosen < {key for key in keys if held_out(key, 0.3)}


def judged(added_right: int, wrong: int = 40) -> Summary:
    """Second looks at 100 old labels, of which so many are wrong; 50 labels could be added."""
    nothing = np.zeros(BINS, np.int64)
    empty = {"all": nothing, "repeated": nothing}
    regions = {
        "asked": 1,
        "confirmed": 50,
        "possible": 100,
        "added": {
            "all": count_levels([-0.1] * 50),
            "repeated": count_levels([-0.1] * added_right),
        },
        "renamed": empty,
        "renamable": empty,
        "human": 0,
        "same": {"all": count_levels([-0.1] * 50), "repeated": count_levels([-0.1] * 40)},
        "old": count_levels([-0.5] * (100 - wrong) + [-3.0] * wrong),
        "missed": count_levels([-3.0] * wrong),
        "decoys": count_levels([-3.0] * 100),
        "places": {"pairs": 0, "earlier": 0, "from_old": 0, "from_look": 0},
    }
    return {"held_out": {"labels": 0, "support": 0, "kinds": {"regions": regions}}}


DEFAULTS = MergeConfig()


def estimated(counted: Any, config: MergeConfig = DEFAULTS) -> gate.Verdict:
    held_out = counted["held_out"]
    curves = curves_of(held_out)
    measured = Measured(thresholds_of(held_out, config, curves), curves)
    estimates = gate.estimates_by_kind(held_out, measured, config)
    return gate.by_estimate(estimates, GateConfig())


def test_without_truth_the_second_look_decides_and_the_numbers_are_told() -> None:
    verdict = estimated(judged(45))
    assert verdict.status == "accepted"
    # 80% of right labels are repeated. So of the 50 others, 40 of the repeated ones are right and
    # all that are not. 60 of 100 old labels are right, and they have half of the right ones: 120
    # things. Then 60 + 45 of 100 + 50 - 40 labels are right.
    assert "regions 0.55 -> 0.91, 50 added (90% right), 40 dropped (100% right)" in verdict.reason
    assert "an estimate without truth" in verdict.reason
    gain = 2 * 105 / (110 + 120) - 2 * 60 / (100 + 120)
    assert verdict.evidence["score"]["value"] == pytest.approx(gain)


def test_a_gain_that_may_be_chance_is_not_accepted() -> None:
    few = Estimate(
        labels=100,
        right=60.0,
        recall=0.5,
        added=Decision(made=Changes(10, 5.0)),
        renamed=Decision(made=NO_CHANGES),
        dropped=Decision(made=NO_CHANGES),
    )
    verdict = gate.by_estimate({"regions": few}, GateConfig())
    assert (verdict.status, verdict.reason.split(":")[0]) == ("rejected", "no sure gain")
    assert "the interval reaches below zero" in verdict.reason
    assert "min_gain" not in verdict.reason  # it is reached
    many = replace(few, added=Decision(made=Changes(40, 20.0)))
    assert gate.by_estimate({"regions": many}, GateConfig()).status == "accepted"


def test_labels_that_are_seldom_repeated_are_not_added() -> None:
    verdict = estimated(judged(16, wrong=0))
    assert (verdict.status, verdict.reason.split(":")[0]) == ("rejected", "no estimate")


def test_a_kind_that_is_not_changed_counts_in_the_score_as_it_does_with_truth() -> None:
    added = Decision(made=Changes(40, 36.0))
    none = Decision(made=NO_CHANGES)
    changed = Estimate(labels=100, right=60.0, recall=0.5, added=added, renamed=none, dropped=none)
    unchanged = replace(changed, added=none)
    verdict = gate.by_estimate({"regions": changed, "texts": unchanged}, GateConfig())
    gain = 2 * 96 / (140 + 120) - 2 * 60 / (100 + 120)
    assert verdict.evidence["score"]["value"] == pytest.approx(gain / 2)
    assert "texts" not in verdict.reason


def test_samples_without_anything_in_truth_and_labels_are_no_evidence() -> None:
    counts = gate.PairedCounts()
    counts.add("a", Annotations(), Annotations(), Annotations())
    assert gate.PairedScores.of(counts.summary()) is None


def test_without_a_second_look_a_round_is_not_accepted() -> None:
    empty = {"held_out": {"labels": 0, "support": 0, "kinds": {}}}
    verdict = estimated(empty)
    assert verdict.status == "rejected" and "no estimate" in verdict.reason
