"""Estimates without truth, against simulations in which the truth is known."""

from dataclasses import replace

import numpy as np
import pytest

from pipeline.quality.levels import BINS, count_levels
from pipeline.quality.summary import Summary
from pipeline.refinement.estimates import (
    Changes,
    Decision,
    Estimate,
    estimate,
    unsupported,
    wrong_labels,
)
from pipeline.refinement.right_shares import Curves
from pipeline.refinement.rules import Certainties, Thresholds
from tests.pipeline.refinement.counted import levels


@pytest.fixture(params=[0.2, 0.4, 0.6])
def supports(request: pytest.FixtureRequest) -> tuple[Summary, np.ndarray, np.ndarray]:
    """Counts of old labels and decoys; supports of right labels and of wrong ones, in nats."""
    rng = np.random.default_rng(0)
    size = 4000
    wrong = -np.abs(rng.normal(3.0, 0.8, round(size * request.param)))
    right = -np.abs(rng.normal(1.0, 0.7, size - len(wrong)))
    decoys = -np.abs(rng.normal(3.0, 0.8, size))
    old = count_levels([*right, *wrong])
    return {"old": old, "decoys": count_levels(decoys), "missed": old}, right, wrong


def test_decoys_tell_how_many_old_labels_are_wrong(
    supports: tuple[Summary, np.ndarray, np.ndarray],
) -> None:
    counted, _, wrong = supports
    assert wrong_labels(counted) == pytest.approx(len(wrong), rel=0.1)


def test_below_the_threshold_at_least_the_share_is_wrong_and_above_it_less(
    supports: tuple[Summary, np.ndarray, np.ndarray],
) -> None:
    counted, right, wrong = supports
    threshold = unsupported(counted, 0.5)
    assert threshold is not None

    def share_of_wrong(low: float, high: float) -> float:
        bad = ((wrong >= low) & (wrong < high)).sum()
        good = ((right >= low) & (right < high)).sum()
        return float(bad / (bad + good))

    assert share_of_wrong(threshold - 0.3, threshold) > 0.45
    assert share_of_wrong(threshold, threshold + 0.3) < 0.55


def test_without_decoys_nothing_is_told_of_old_labels() -> None:
    nothing = np.zeros(BINS, np.int64)
    counted = {"old": count_levels([-1.0] * 50), "decoys": nothing, "missed": nothing}
    assert wrong_labels(counted) is None
    assert unsupported(counted, 0.5) is None


def test_the_estimated_f1_is_that_of_the_counts() -> None:
    found = Estimate(
        labels=100,
        right=60.0,
        recall=0.5,
        added=Decision(made=Changes(40, 32.0)),
        renamed=Decision(made=Changes(10, 8.0)),
        dropped=Decision(made=Changes(20, 15.0)),
    )
    # 120 things. 60 + 32 + (8 - 2) - 5 = 93 of 120 labels are right.
    assert found.f1() == (pytest.approx(2 * 60 / 220), pytest.approx(2 * 93 / 240))
    gain = found.gain()
    assert gain.value == pytest.approx(93 / 120 - 60 / 110)
    assert gain.low < gain.value < gain.high


def test_labels_of_people_are_right_and_take_part_on_both_sides() -> None:
    # Each of 100 samples has a label of a person and one of a machine. All are right, the model
    # finds them again, and a third thing, which is new, in 20 samples.
    counted = {
        "added": levels((-0.1, 20, 18)),
        "renamed": levels(),
        "renamable": levels(),
        "same": levels((-0.1, 200, 180)),
        "human": 100,
        "old": count_levels([-0.5] * 100),
        "missed": count_levels([]),
        "decoys": count_levels([-3.0] * 100),
    }
    thresholds = Thresholds(refound=1.0, add=Certainties.fixed(-0.5))
    found = estimate(counted, thresholds, Curves.of(counted))
    assert (found.labels, found.right) == (200, 200)
    before, after = found.f1() or (0.0, 0.0)
    # 180 old and 18 new labels are repeated, so of 220 things 200 had a label.
    assert found.recall == pytest.approx(200 / 220)
    assert before == pytest.approx(2 * 200 / (200 + 220))
    assert after == pytest.approx(1.0)


def test_the_interval_has_a_width_where_all_changes_seem_to_be_right() -> None:
    nothing = Decision(made=Changes(0, 0.0))
    found = Estimate(
        labels=20,
        right=20.0,
        recall=0.6,
        added=Decision(made=Changes(13, 13.0)),
        renamed=nothing,
        dropped=nothing,
    )
    gain = found.gain()
    # Agresti and Coull: a share of 15 / 17 of 13 labels; F1 has 33 labels and 33.3 things.
    deviation = (13 * 15 / 17 * 2 / 17) ** 0.5
    assert gain.high - gain.value == pytest.approx(1.96 * 2 * deviation / (33 + 20 / 0.6))


def test_all_labels_without_support_are_below_a_threshold_above_zero() -> None:
    counted = {
        "added": levels(),
        "renamed": levels(),
        "renamable": levels(),
        "same": levels(),
        "human": 0,
        "old": count_levels([0.0] * 40),
        "missed": count_levels([0.0] * 40),
        "decoys": count_levels([0.0] * 40),
    }
    drop = unsupported(counted, 0.5)
    assert drop is not None and drop > 0
    found = estimate(counted, Thresholds(refound=1.0, drop=drop), Curves.of(counted))
    assert (found.dropped.made.labels, found.dropped.refused.labels) == (40, 0)


def test_where_old_labels_cannot_be_judged_the_gain_is_estimated_as_if_all_were_right() -> None:
    nothing = Decision(made=Changes(0, 0.0))
    found = Estimate(
        labels=100,
        right=None,
        recall=None,
        added=Decision(made=Changes(20, 9.0)),
        renamed=nothing,
        dropped=nothing,
    )
    assert found.f1() is None
    # 100 labels of 100 things, all right; then twenty labels more, of which nine are right.
    assert found.gain().value == pytest.approx(2 * 109 / (120 + 100) - 1)
    # If these are half of all things, the same labels are worth something.
    assert replace(found, recall=0.5).gain().value == pytest.approx(2 * 109 / 320 - 2 * 100 / 300)


def test_an_estimate_counts_what_the_thresholds_let_through() -> None:
    counted = {
        "added": levels((-0.1, 100, 80), (-1.0, 100, 20)),
        "renamed": levels((-0.1, 10, 8)),
        "renamable": levels((-0.1, 10, 8)),
        "human": 0,
        "same": levels((-0.1, 50, 45)),
        "old": count_levels([-0.5] * 60 + [-3.0] * 40),
        "missed": count_levels([-0.5] * 5 + [-3.0] * 30),
        "decoys": count_levels([-3.0] * 100),
    }
    add = Certainties(twice=-0.5, once=-0.05)
    thresholds = Thresholds(refound=1.0, add=add, drop=-2.0)
    found = estimate(counted, thresholds, Curves.of(counted))
    assert (found.labels, found.right) == (100, 60)
    # 90% of the right labels are repeated and 20% of the wrong ones. So of 100 labels of which 80
    # are repeated 600 / 7 are right, 90% of them among the repeated ones; of 100 of which 20 are
    # repeated none is right.
    right = 600 / 7
    assert found.added.made == Changes(80, pytest.approx(0.9 * right))
    assert found.added.refused == Changes(120, pytest.approx(0.1 * right))
    assert found.renamed.made == Changes(0, 0.0)
    assert found.renamed.refused == Changes(10, pytest.approx(right / 10))
    # The five that have support are found wanting by nobody: no decoy has so much.
    assert found.dropped == Decision(made=Changes(30, 30.0), refused=Changes(5, 0.0))
    assert found.recall == pytest.approx(45 / (45 + 0.9 * right + 0.9 * right / 10))
