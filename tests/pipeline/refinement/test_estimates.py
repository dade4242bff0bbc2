"""Estimates without truth, against simulations in which the truth is known."""

import numpy as np
import pytest

from pipeline.quality.levels import BINS, count_levels
from pipeline.quality.summary import Summary
from pipeline.refinement.estimates import (
    Changes,
    Decision,
    Estimate,
    certain_enough,
    estimate,
    unsupported,
    wrong_labels,
)
from pipeline.refinement.rules import Thresholds


def levels(*groups: tuple[float, int, int]) -> Summary:
    """Groups of (certainty, labels, how many of them are repeated)."""
    all_ = np.zeros(BINS, np.int64)
    repeated = np.zeros(BINS, np.int64)
    for certainty, labels, again in groups:
        all_ += count_levels([certainty] * labels)
        repeated += count_levels([certainty] * again)
    return {"all": all_, "repeated": repeated}


def test_labels_are_taken_from_the_certainty_on_at_which_enough_are_repeated() -> None:
    counted = levels((-0.1, 300, 270), (-0.5, 300, 150), (-1.0, 300, 90), (-2.0, 300, 30))
    thresholds = [certain_enough(counted, least) for least in (0.8, 0.5, 0.3, 0.0)]
    assert thresholds == [-0.105, -0.505, -1.005, -2.005]
    assert certain_enough(counted, 0.95) is None


def test_a_lucky_group_does_not_lower_the_certainty_that_is_asked_for() -> None:
    # 2 of 2 are repeated below 1 of 30: together with what lies above, that is 3 of 32.
    counted = levels((-0.1, 30, 27), (-1.0, 30, 1), (-2.0, 2, 2))
    assert certain_enough(counted, 0.5) == -0.105


def test_a_share_that_may_be_luck_is_not_enough() -> None:
    # 95% Wilson intervals (a textbook's): 8 of 10: 0.490 to 0.943; 3 of 3: 0.438 to 1.
    counted = levels((-0.1, 10, 8))
    assert certain_enough(counted, 0.49) == -0.105
    assert certain_enough(counted, 0.5) is None
    assert certain_enough(levels((-0.1, 3, 3)), 0.43) == -0.105
    assert certain_enough(levels((-0.1, 3, 3)), 0.44) is None
    assert certain_enough(levels(), 0.5) is None


def test_where_luck_is_likely_only_the_most_certain_labels_are_taken() -> None:
    # Half of the less certain labels are repeated, too, but 20 of 36 may be luck (0.396).
    counted = levels((-0.1, 16, 12), (-0.5, 20, 8))
    assert certain_enough(counted, 0.4) == -0.105


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
    # Twenty labels more, of which nine are right: (2 * 9 - 20) / (2 * 100).
    assert found.gain().value == pytest.approx(-0.01)


def test_an_estimate_counts_what_the_thresholds_let_through() -> None:
    old = count_levels([-0.5] * 60 + [-3.0] * 40)
    counted = {
        "added": levels((-0.1, 30, 24), (-1.0, 30, 6)),
        "renamed": levels((-0.1, 10, 8)),
        "same": levels((-0.1, 50, 48)),
        "old": old,
        "missed": count_levels([-0.5] * 5 + [-3.0] * 30),
        "decoys": count_levels([-3.0] * 100),
    }
    found = estimate(counted, Thresholds(refound=1.0, add=-0.5, rename=None, drop=-2.0))
    assert (found.labels, found.right) == (100, 60)
    assert found.added == Decision(made=Changes(30, 24.0), refused=Changes(30, 6.0))
    assert found.renamed == Decision(made=Changes(0, 0.0), refused=Changes(10, 8.0))
    # The five that have support are found wanting by nobody: no decoy has so much.
    assert found.dropped == Decision(made=Changes(30, 30.0), refused=Changes(5, 0.0))
    assert found.recall == pytest.approx(48 / (48 + 8 + 30))
