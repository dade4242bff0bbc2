"""How sure is sure enough: the settings of the merge, and the levels that it measures by.

A label that the model finds again under the same name, on a sample that it has not learned from, is *confirmed*: two
witnesses that do not know of each other say the same. What the model gives to confirmed labels is the scale for all
others: a new one comes in when the model is as sure of it as of most confirmed ones, an old one that was not found
goes when the model believes in it less than in most confirmed ones. So the thresholds are shares of the confirmed
labels, and hold for a model of any size after any training. Paper section 4.2 asks for thresholds and gives none.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field, replace
from typing import Annotated, Literal, NamedTuple

import numpy as np
from pydantic import Field

Share = Annotated[float, Field(ge=0, le=1)]


class Confirmed(NamedTuple):
    """How sure the model is of a confirmed label that it found (place and name), of its name, and of the old one."""

    sure: float
    name: float
    old: float


@dataclass(frozen=True, slots=True, kw_only=True)
class Rules:
    """The thresholds for one kind of annotation.

    Two are the same thing when they overlap by `match_iou`, or by `same_iou` under one label. A new label replaces an
    old one of the same thing when it is likelier by `relabel_margin`. A new one comes in, with its place or in place of
    another label, when it is as sure as all but `add_share` of the confirmed labels. An old one that was not found
    takes the name that the model gives it when that is as sure as all but `rename_share` of the confirmed names, and
    goes when it is less likely than all but `drop_share` of the confirmed old labels. `add_above`, `rename_above` and
    `drop_below` fix those levels, in nats a token. `reshape` is the weight of the new place in the mean (0: the old one
    stays), taken where that overlaps the old place by less than `reshape_iou`. Of two likely texts `tie` keeps the old
    one, the longer one, or both. `min_refound` is the share of the round's old labels that the model must have found
    again, without having learned from them.
    """

    match_iou: Share = 0.5
    same_iou: Share = 0.3
    relabel_margin: float = 0.3
    add_share: Share = 0.15
    add_above: float | None = None
    rename_share: Share = 0.6
    rename_above: float | None = None
    drop_share: Share = 0.1
    drop_below: float | None = None
    reshape: Share = 0.6
    reshape_iou: Share = 0.95
    tie: Literal["old", "longer", "both"] = "old"
    min_refound: Share = 0.2


@dataclass(frozen=True, slots=True, kw_only=True)
class TextRules(Rules):
    """Free texts are hardly ever found again word by word: no share of them is needed, and those that are were easy
    ones, which nearly all that is to replace another must reach."""

    match_iou: Share = 1.0
    same_iou: Share = 1.0
    relabel_margin: float = 0.4
    add_share: Share = 0.02
    drop_share: Share = 0.0
    reshape: Share = 0.0
    min_refound: Share = 0.0


@dataclass(frozen=True, slots=True, kw_only=True)
class WordRules(Rules):
    """What an OCR engine read is dropped by none that reads worse."""

    drop_share: Share = 0.0


@dataclass(frozen=True, slots=True, kw_only=True)
class Levels:
    """What was measured for one kind: the share of old labels found again, and the levels of `Rules` in nats a token,
    None where nothing was confirmed: then nothing is added, renamed or dropped."""

    refound: float = 1.0
    add: float | None = None
    rename: float | None = None
    drop: float | None = None


@dataclass(frozen=True, slots=True, kw_only=True)
class MergeConfig:
    """The rules by kind. The loop fills in `levels`; kinds that it lacks are trusted, at the levels that the rules
    fix."""

    texts: TextRules = TextRules()
    regions: Rules = Rules()
    text_regions: WordRules = WordRules()
    triplets: Rules = Rules()
    levels: Mapping[str, Levels] = field(default_factory=dict)


def measured(rules: Rules, confirmed: Sequence[Confirmed], judged: int) -> Levels:
    """The levels of a kind from its confirmed labels and the number of old labels that the model has judged."""
    if not confirmed:
        return Levels(refound=0.0)
    sure, name, old = np.array(confirmed).T
    add, rename, drop = (
        round(float(np.quantile(values, share)), 3)
        for values, share in ((sure, rules.add_share), (name, rules.rename_share), (old, rules.drop_share))
    )
    return Levels(refound=round(len(confirmed) / judged, 3), add=add, rename=rename, drop=drop)


def in_force(rules: Rules, levels: Levels) -> Levels:
    """The levels that hold: those that the rules fix before those that were measured."""
    fixed = {"add": rules.add_above, "rename": rules.rename_above, "drop": rules.drop_below}
    return replace(levels, **{name: value for name, value in fixed.items() if value is not None})
