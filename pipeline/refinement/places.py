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
from pipeline.refinement.second_look import Repeats
from pipeline.schema import Annotation, Box, Region

SHARED = 0.4
"""The correlation of the mistakes in the boxes of both looks. Measured on rendered scenes, with
models of 400 to 1,700 training steps, in rounds 1 to 3: 0.27 to 0.63."""
LIKE_AN_EARLIER_MODEL = 0.5
"""The correlation of the mistakes in a new box and in an old one that a model of an earlier round
has placed. Measured on rendered scenes, in rounds 2 and 3 of `experiment=refinement`: 0.47 and
0.73. With a box of a specialist there is none (0.05)."""
MIN_PAIRS = 20
"""Fewer pairs of boxes tell little."""


def count_places(found: Sequence[Match], repeats: Repeats | None) -> Summary:
    """Squared distances between boxes, summed up, as a part of a summary.

    Args:
        found: pairs of a new and an old label. Those with a box that both looks give count; that of
            the new label is the mean of both looks.
        repeats: what the second look repeats.

    Returns:
        `pairs`, their number; `earlier`, how many of their old labels a model of an earlier round
        has placed; `from_old`, the sum of the squared distances of the new box from the old one;
        `from_look`, that of the boxes of both looks.
    """
    looks = {pair.new.id: pair for pair in repeats.pairs} if repeats else {}
    pairs = 0
    earlier = 0
    from_old = 0.0
    from_look = 0.0
    for match in found:
        if repeats is None or match.new.id not in repeats.again:
            continue
        # A box of a person stays where it is.
        if match.old.locked or not hasattr(match.new, "box"):
            continue
        pairs += 1
        earlier += match.old.round > 0
        from_old += squared_distance(_box(match.new), _box(match.old))
        look = looks[match.new.id]
        from_look += squared_distance(_box(look.new), _box(look.old))
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

    The new box is itself the mean of both looks.

    It is that of the best linear estimate from two correlated measurements (Gauss-Markov).

    Args:
        counted: what `count_places` has counted.
    """
    pairs = counted["pairs"]
    if pairs < MIN_PAIRS:
        return 0.0
    one_look = from_fixed_point(counted["from_look"]) / pairs / (2 * (1 - SHARED))
    new = one_look * (1 + SHARED) / 2
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
