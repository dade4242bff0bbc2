"""How sure is sure enough: the settings of the merge, and the levels that it measures by.

A label that the model finds again under the same name, on a sample that it has not learned from, is *confirmed*: two
witnesses say the same. What the model gives to confirmed labels is the scale for all others: a new one comes in when
the model is surer of it than of the least sure tenth of the confirmed ones, an old one that was not found goes when the
model believes in it less than in the least believed tenth of them. So the thresholds are shares of the confirmed
labels, and hold for a model of any size after any training. Paper section 4.2 asks for thresholds and gives none.

Two limits. From the second round on the old labels hold what the earlier model said, so that agreement proves less than
in the first. And with one fold the samples that the model has learned from, of which it is surer, are judged by levels
that were measured on the others: what comes in there is somewhat more, what goes somewhat less.
"""

from __future__ import annotations

from collections.abc import Sequence
from typing import NamedTuple

import numpy as np

from pipeline.refinement.rules import Levels, Rules

FEWEST = 20  # confirmed labels: the levels of fewer are chance


class Confirmed(NamedTuple):
    """How sure the model is of a confirmed label that it found (place and name), of its name, and of the old one (None:
    a human's, which is not judged)."""

    sure: float
    name: float
    old: float | None


def measured(rules: Rules, confirmed: Sequence[Confirmed], judged: int) -> Levels:
    """The levels of a kind from its confirmed labels and the number of old ones that could be (`judged`). They are
    rounded, so that a judgement repeated on another device leads to the same ones."""
    refound = round(len(confirmed) / judged, 2) if judged else 0.0
    if len(confirmed) < FEWEST:
        return Levels(refound=refound)
    old = [each.old for each in confirmed if each.old is not None]
    return Levels(
        refound=refound,
        add=_level([each.sure for each in confirmed], rules.add_share),
        rename=_level([each.name for each in confirmed], rules.rename_share),
        drop=_level(old, rules.drop_share) if rules.drop_share else None,
    )


def _level(values: Sequence[float], share: float) -> float | None:
    """What all but `share` of the values reach."""
    return round(float(np.quantile(values, share)), 2) if len(values) >= FEWEST else None
