"""The settings of the merge: rules by kind of annotation."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, field, replace
from typing import Annotated, Literal

from pydantic import Field

Share = Annotated[float, Field(ge=0, le=1)]


@dataclass(frozen=True, slots=True, kw_only=True)
class Rules:
    """The thresholds for one kind of annotation.

    Two are the same thing when they overlap by `match_iou`, or by `same_iou` under one label. A new label replaces an
    old one of the same thing when it is likelier by `relabel_margin` and sure enough to come in. It is that when it
    reaches the level that all but `add_share` of the confirmed labels reach. An old one that was not found takes the
    name that the model gives it when that reaches the level of all but `rename_share` of the confirmed names, and goes
    when it stays below that of all but `drop_share` of the confirmed old labels (0: none goes). `add_above`,
    `rename_above` and `drop_below` fix these levels instead, in nats a token. `reshape` is the weight of the new place
    in the mean (0: the old one stays), taken where the new label is sure enough and the mean overlaps the old place by
    less than `reshape_iou`. Of two likely texts `tie` keeps the old one, the longer one, or both. `agree` is the share
    of words that two labels have in common when they confirm each other (1: they are the same). `min_refound` is the
    share of the old labels that must be confirmed before any of this is done.
    """

    match_iou: Share = 0.5
    same_iou: Share = 0.3
    relabel_margin: float = 0.3
    add_share: Share = 0.1
    add_above: float | None = None
    rename_share: Share = 0.6
    rename_above: float | None = None
    drop_share: Share = 0.1
    drop_below: float | None = None
    reshape: Share = 0.6
    reshape_iou: Share = 0.95
    tie: Literal["old", "longer", "both"] = "old"
    agree: Share = 1.0
    min_refound: Share = 0.2


@dataclass(frozen=True, slots=True, kw_only=True)
class TextRules(Rules):
    """Free texts are hardly ever found again word by word: half of the words will do. What replaces a text is likelier
    by more and only surer than the least sure fiftieth; none goes without another in its place."""

    match_iou: Share = 1.0
    same_iou: Share = 1.0
    relabel_margin: float = 0.4
    add_share: Share = 0.02
    drop_share: Share = 0.0
    reshape: Share = 0.0
    agree: Share = 0.5
    min_refound: Share = 0.0


@dataclass(frozen=True, slots=True, kw_only=True)
class WordRules(Rules):
    """What an OCR engine has read does not go because the model cannot read it, and its corners are the better ones."""

    drop_share: Share = 0.0
    reshape: Share = 0.0


@dataclass(frozen=True, slots=True, kw_only=True)
class PhraseRules(Rules):
    """The model is told the phrase and only asked where it is: of a model that has learned nothing up to a quarter of
    the answers lie on the right place by chance (in the scenes of `experiment=refinement`)."""

    min_refound: Share = 0.4


@dataclass(frozen=True, slots=True, kw_only=True)
class Levels:
    """What was measured for one kind: the share of the old labels that are confirmed, and the levels of `Rules` in nats
    a token, None where too few are: then nothing is added, renamed or dropped (nor with a `drop_share` of 0)."""

    refound: float = 0.0
    add: float | None = None
    rename: float | None = None
    drop: float | None = None


@dataclass(frozen=True, slots=True, kw_only=True)
class MergeConfig:
    """The rules by kind. `levels` is no setting: the loop fills it in."""

    texts: TextRules = TextRules()
    regions: Rules = Rules()
    text_regions: WordRules = WordRules()
    triplets: PhraseRules = PhraseRules()
    levels: Mapping[str, Levels] = field(default_factory=dict)


def in_force(rules: Rules, levels: Levels) -> Levels:
    """The levels that hold: those that the rules fix before those that were measured."""
    fixed = {"add": rules.add_above, "rename": rules.rename_above, "drop": rules.drop_below}
    return replace(levels, **{name: value for name, value in fixed.items() if value is not None})
