"""How exact the places of old and new boxes are, estimated without truth.

In: where the round's model found things at both looks (`second_look`), on samples that it was not
trained on, and where the old labels have them. Boxes are xyxy in absolute pixels. A distance is
that of an edge, as a share of the side of the box that lies across it.
"""

from __future__ import annotations

import math
from collections.abc import Sequence

import numpy as np

from pipeline.quality.summary import Summary, fixed_point, from_fixed_point
from pipeline.refinement.matching import Match
from pipeline.schema import Annotation, Box, Region

SHARED = 0.3
"""How much of the variance of a new box both looks share. So much was measured on rendered scenes,
with models of 400 and of 1,000 training steps and two levels of mistakes (0.27 to 0.36)."""
LIKE_AN_EARLIER_MODEL = 0.5
"""The correlation of the mistakes in a new box and in an old one that a model of an earlier round
has placed. Measured on rendered scenes, in round 2 of `experiment=refinement`: 0.49. With a box of
a specialist there is none (0.03)."""
MIN_PAIRS = 20
"""Fewer pairs of boxes tell little."""


def count_places(found: Sequence[Match], second: Sequence[Match]) -> Summary:
    """Squared distances between boxes, summed up, as a part of a summary.

    Args:
        found: pairs of a new and an old label. Only those with a box and a second look count.
        second: pairs of a new label (`new`) and that of the other look (`old`).

    Returns:
        `pairs`, their number; `earlier`, how many of their old labels a model of an earlier round
        has placed; `from_old` and `from_look`, the sums of the squared distances of the new box
        from the old one and from that of the other look.
    """
    other = {match.new.id: match.old for match in second}
    pairs = 0
    earlier = 0
    from_old = 0.0
    from_look = 0.0
    for match in found:
        again = other.get(match.new.id)
        if again is None or not hasattr(match.new, "box"):
            continue
        box = _box(match.new)
        pairs += 1
        earlier += match.old.round > 0
        from_old += squared_distance(box, _box(match.old))
        from_look += squared_distance(box, _box(again))
    return {
        "pairs": pairs,
        "earlier": earlier,
        "from_old": fixed_point(from_old),
        "from_look": fixed_point(from_look),
    }


def squared_distance(box: Box, other: Box) -> float:
    """The mean squared distance of the four edges, each as a share of the side of `box`.

    A side counts as one pixel at least.
    """
    x0, y0, x1, y1 = box
    width = max(x1 - x0, 1.0)
    height = max(y1 - y0, 1.0)
    sides = np.array([width, height, width, height])
    shares = (np.array(box) - np.array(other)) / sides
    return float(np.mean(shares**2))


def weight_of_new_place(counted: Summary) -> float:
    """The weight of the new box in the mean of both boxes that makes the mean most exact, 0 to 1.

    It is that of the best linear estimate from two correlated measurements (Gauss-Markov).

    Args:
        counted: what `count_places` has counted.
    """
    pairs = counted["pairs"]
    if pairs < MIN_PAIRS:
        return 0.0
    new = from_fixed_point(counted["from_look"]) / pairs / (2 * (1 - SHARED))
    apart = from_fixed_point(counted["from_old"]) / pairs
    correlation = LIKE_AN_EARLIER_MODEL * counted["earlier"] / pairs
    old = _variance_of_old(apart, new, correlation)
    common = correlation * math.sqrt(old * new)
    # Nothing lies apart only if both are the same box.
    weight = (old - common) / (old + new - 2 * common) if old > common else 0.0
    return round(min(weight, 1.0), 2)


def _variance_of_old(apart: float, new: float, correlation: float) -> float:
    """The variance of old boxes, from the mean squared distance of old and new ones.

    The distance is old + new - 2 * correlation * sqrt(old * new), a quadratic equation of sqrt(old)
    whose larger solution counts; 0 if there is none.
    """
    below_root = apart - new * (1 - correlation**2)
    if below_root < 0:
        return 0.0
    root = correlation * math.sqrt(new) + math.sqrt(below_root)
    return root**2


def _box(label: Annotation) -> Box:
    assert isinstance(label, Region) or hasattr(label, "box")
    box: Box = label.box
    return box
