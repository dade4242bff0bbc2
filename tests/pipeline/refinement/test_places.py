"""The weight of new boxes, against simulations in which the true places are known."""

import math

import numpy as np
import pytest

from pipeline.quality.summary import Summary, fixed_point
from pipeline.refinement.matching import Match
from pipeline.refinement.places import (
    LIKE_AN_EARLIER_MODEL,
    SHARED,
    count_places,
    squared_distance,
    weight_of_new_place,
)
from pipeline.refinement.second_look import Repeats
from tests.pipeline.labels import HERE, new, old

SIZE = 100_000


def edges(model: float, label: float, correlation: float = 0.0) -> tuple[Summary, np.ndarray]:
    """Simulated distances of edges from their true places, with these standard deviations.

    Both looks of the model share a part of its variance. The label's mistakes have a correlation
    with those of the mean of both looks.

    Returns:
        What `count_places` would count, and (SIZE, 2) distances of that mean and of the label.
    """
    rng = np.random.default_rng(1)
    common = rng.normal(0, model * SHARED**0.5, SIZE)
    own = model * (1 - SHARED) ** 0.5
    first = common + rng.normal(0, own, SIZE)
    second = common + rng.normal(0, own, SIZE)
    mean = (first + second) / 2
    alike = correlation * mean * label / mean.std()
    old_edges = alike + rng.normal(0, label * math.sqrt(1 - correlation**2), SIZE)
    counted = {
        "pairs": SIZE,
        "earlier": SIZE if correlation else 0,
        "from_look": fixed_point(float(((first - second) ** 2).sum())),
        "from_old": fixed_point(float(((mean - old_edges) ** 2).sum())),
    }
    return counted, np.stack([mean, old_edges], axis=1)


def best_weight(distances: np.ndarray) -> float:
    """The weight of the new place whose mean lies nearest to the true place (least squares)."""
    first, label = distances.T
    best = np.linalg.lstsq((label - first)[:, None], label, rcond=None)[0][0]
    return float(np.clip(best, 0, 1))


@pytest.mark.parametrize("correlation", [0.0, LIKE_AN_EARLIER_MODEL])
@pytest.mark.parametrize(
    ("model", "label"), [(0.1, 0.15), (0.15, 0.15), (0.08, 0.1), (0.05, 0.2), (0.2, 0.15)]
)
def test_the_weight_of_a_new_place_is_that_of_the_most_exact_mean(
    model: float, label: float, correlation: float
) -> None:
    counted, distances = edges(model, label, correlation)
    assert weight_of_new_place(counted) == pytest.approx(best_weight(distances), abs=0.02)


def test_where_some_places_are_of_an_earlier_model_the_weight_lies_between() -> None:
    counted, _ = edges(0.1, 0.12)
    weights = []
    for share in (0.0, 0.5, 1.0):
        weights.append(weight_of_new_place({**counted, "earlier": int(share * SIZE)}))
    assert weights == sorted(weights)
    assert weights[0] < weights[1] < weights[2]


def test_places_of_an_earlier_model_are_counted() -> None:
    label = new(box=HERE)
    pairs = [Match(old(box=HERE, round=round_), label, True) for round_ in (0, 1, 2)]
    counted = count_places(pairs, Repeats([Match(label, label, True)], {label.id: label}))
    assert (counted["pairs"], counted["earlier"]) == (3, 2)


def test_a_new_place_like_the_old_one_moves_nothing() -> None:
    none = {"pairs": 50, "earlier": 50, "from_look": fixed_point(1.0), "from_old": 0}
    assert weight_of_new_place(none) == 0


def test_too_few_places_move_no_label() -> None:
    few = {"pairs": 19, "earlier": 0, "from_look": 0, "from_old": fixed_point(9.0)}
    assert weight_of_new_place(few) == 0
    assert weight_of_new_place({**few, "pairs": 20}) == 1


def test_distances_are_shares_of_the_side() -> None:
    assert squared_distance((0, 0, 10, 20), (1, 0, 10, 18)) == pytest.approx((0.01 + 0.01) / 4)
    assert squared_distance((0, 0, 0, 0), (1, 0, 0, 0)) == pytest.approx(1 / 4)
