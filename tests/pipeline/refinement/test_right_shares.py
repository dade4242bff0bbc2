"""Shares of right labels, against simulations in which it is known which labels are right."""

import numpy as np
import pytest

from pipeline.quality.levels import BINS, PER_NAT, count_levels
from pipeline.quality.summary import Summary
from pipeline.refinement.right_shares import REPEATED_WRONG, Curve, Curves, certain_enough
from pipeline.refinement.rules import Certainties
from tests.pipeline.refinement.counted import levels


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


def test_the_shares_are_those_of_bayes() -> None:
    # 1,000 labels of which 500 are right: 400 of these are repeated, and 100 of the wrong ones.
    curve = Curve.of(levels((-0.5, 1000, 500)), right_repeated=0.8)
    at = round(0.5 * PER_NAT)
    assert curve.right[at] == pytest.approx(0.5)
    assert curve.right_twice[at] == pytest.approx(400 / 500)
    assert curve.right_once[at] == pytest.approx(100 / 500)


class Labels:
    """Simulated labels: the more certain, the more often right."""

    def __init__(self, right_repeated: float) -> None:
        rng = np.random.default_rng(0)
        size = 40_000
        self.certainty = -rng.uniform(0, 2, size)
        self.right = rng.random(size) < 1 + self.certainty / 2
        chance = np.where(self.right, right_repeated, REPEATED_WRONG)
        self.repeated = rng.random(size) < chance

    def counted(self) -> Summary:
        return {
            "all": count_levels(self.certainty),
            "repeated": count_levels(self.certainty[self.repeated]),
        }

    def share(self, which: np.ndarray, certainty: float | None) -> float:
        """The share of right labels among some whose certainty is within 0.1 nats of this one."""
        assert certainty is not None
        near = which & (np.abs(self.certainty - certainty) < 0.1)
        return float(self.right[near].mean())


@pytest.mark.parametrize("least", [0.3, 0.5, 0.7])
@pytest.mark.parametrize("right_repeated", [0.6, 0.9])
def test_at_the_certainty_that_is_asked_for_so_many_labels_are_right(
    right_repeated: float, least: float
) -> None:
    labels = Labels(right_repeated)
    asked = Curve.of(labels.counted(), right_repeated).certainties(least)
    assert labels.share(labels.repeated, asked.twice) == pytest.approx(least, abs=0.07)
    assert labels.share(~labels.repeated, asked.once) == pytest.approx(least, abs=0.07)
    everything = np.ones_like(labels.repeated)
    assert labels.share(everything, asked.unasked) == pytest.approx(least, abs=0.07)


def test_a_model_that_repeats_right_labels_no_oftener_than_wrong_ones_tells_nothing() -> None:
    curve = Curve.of(levels((-0.1, 500, 500)), right_repeated=REPEATED_WRONG)
    assert curve.certainties(0.4) == Certainties()
    assert not curve.right_twice.any()


def test_learned_samples_count_for_the_curve_but_not_for_how_often_right_labels_repeat() -> None:
    nothing = np.zeros(BINS, np.int64)
    same = levels((-0.1, 100, 90))
    none = {"all": nothing, "repeated": nothing}
    curves = Curves.of(
        {"same": same, "added": levels((-0.5, 10, 2)), "renamed": none},
        {"added": levels((-0.5, 90, 78)), "renamed": none},
    )
    assert curves.added.right_repeated == 0.9
    assert curves.added.repeated[50] == pytest.approx(0.8)
    assert same["all"].sum() == 100
