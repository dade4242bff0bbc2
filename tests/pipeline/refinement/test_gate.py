import numpy as np
import pytest

from pipeline.config.compose import compose
from pipeline.config.parse import parse
from pipeline.config.run import RunConfig
from pipeline.quality.truth import METRICS
from pipeline.refinement import gate
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
