"""The settings of the merge: one set of rules for each kind of annotation.

A log-probability is the natural logarithm of a probability, as the mean over the tokens of a label
(nats per token, at most 0). An overlap is an intersection over union (IoU, 0 to 1); for texts see
`matching.text_overlap`.
"""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from dataclasses import dataclass, field
from typing import Literal

from stages.base import no_effect
from stages.ranges import LogProbability, Share


@dataclass(frozen=True, slots=True, kw_only=True)
class Rules:
    """The rules for one kind of annotation; the defaults are those for regions.

    Where a change is likely enough to be right is measured (`least_precision`). `add_above`,
    `rename_above`, `drop_below` and `reshape` fix it instead.
    """

    match_iou: Share = 0.5
    """Least overlap of two annotations with different labels that are the same thing."""

    same_iou: Share = 0.3
    """Least overlap of two annotations with the same label that are the same thing."""

    least_precision: Share = 0.4
    """Least estimated share of changes that are right. New labels are added, and names replaced,
    from the certainty on at which so many are right; labels that both looks of the model give, from
    a lower one. Old labels that neither look found are dropped up to the support at which so many
    of all old labels are wrong; of those that were not found, more are. A change raises F1 if more
    than F1 / 2 of its kind are right; a drop, if more than 1 - F1 / 2 are."""

    relabel_margin: float = 0.3
    """How much more likely a new label must be than the old one that it replaces, in nats per
    token."""

    add_above: LogProbability | None = None
    """Fixed threshold for new labels, in nats per token; null: it is measured."""

    rename_above: LogProbability | None = None
    """Fixed threshold for another name, in nats per token; null: it is measured."""

    drop_below: LogProbability | None = None
    """Fixed threshold under which old labels that were not found are dropped, in nats per token;
    null: it is measured."""

    reshape: Share | None = None
    """Fixed weight of the new place in the mean of both places; null: it is measured; 0: an old
    label stays where it is."""

    reshape_iou: Share = 0.95
    """An old label keeps its place if its overlap with the mean place is at least this large."""

    tie: Literal["old", "longer", "both"] = "old"
    """Which of two likely texts is kept: the old one, the one with more words, or both."""

    agree: Share = 1.0
    """Least share of words (Dice coefficient) by which two labels of the same thing confirm each
    other; 1: only equal labels do."""

    min_refound: Share = 0.1
    """Least share of the old labels that a model must confirm. Below it, all that the model says of
    this kind is ignored."""

    def without_effect(self) -> Iterator[str]:
        fixed = (self.add_above, self.rename_above, self.drop_below)
        if None not in fixed:
            reason = "add_above, rename_above and drop_below fix all thresholds; leave one out"
            yield from no_effect(self, ("least_precision",), reason)
        if self.reshape == 0:
            reason = "reshape=0 moves no label; raise reshape"
            yield from no_effect(self, ("reshape_iou",), reason)


@dataclass(frozen=True, slots=True, kw_only=True)
class TextRules(Rules):
    """The rules for texts.

    A model hardly ever writes the same text again, so half of the words are enough for a
    confirmation. A new text needs a larger margin. A text is never dropped without a replacement.
    """

    match_iou: Share = 1.0
    same_iou: Share = 1.0
    relabel_margin: float = 0.4
    reshape: Share | None = 0.0
    agree: Share = 0.5
    min_refound: Share = 0.0


@dataclass(frozen=True, slots=True, kw_only=True)
class WordRules(Rules):
    """The rules for text regions.

    Words cannot be read in a mirror, so nothing is measured for them: the model changes no word
    unless thresholds are fixed. A word keeps its corners, because an OCR engine finds them more
    exactly than the model.
    """

    reshape: Share | None = 0.0


@dataclass(frozen=True, slots=True, kw_only=True)
class PhraseRules(Rules):
    """The rules for triplets.

    The model is given the phrase and answers only with its place. A model that has learned nothing
    still finds up to a quarter of the places by chance (measured on the rendered scenes of
    `experiment=refinement`), so more must be confirmed than for other kinds.
    """

    min_refound: Share = 0.4


@dataclass(frozen=True, slots=True, kw_only=True)
class Certainties:
    """From which certainty on new labels are taken, as log-probabilities in nats per token.

    The certainty is the lower one of the log-probabilities of place and label. None: no labels are
    likely enough to be right, or too few were counted to tell; then none is taken.
    """

    twice: float | None = None
    """For labels that the second look of the model repeats."""

    once: float | None = None
    """For labels that it does not repeat."""

    unasked: float | None = None
    """For labels that the second look could not repeat: a label that names a side, or any label of
    a sample that cannot be mirrored."""

    @classmethod
    def fixed(cls, certainty: float) -> Certainties:
        """The same for all labels."""
        return cls(twice=certainty, once=certainty, unasked=certainty)


@dataclass(frozen=True, slots=True, kw_only=True)
class Thresholds:
    """What was measured for one kind of annotation, on samples that the model was not trained on.

    Where a threshold is None, the merge does not make the change that it is for.
    """

    refound: float = 0.0
    """Share of the old labels that the model confirms, 0 to 1."""

    add: Certainties = Certainties()
    """From which certainty on new labels are added."""

    rename: Certainties = Certainties()
    """From which certainty on labels with another name replace old ones."""

    drop: float | None = None
    """An old label that was not found is dropped if its `support` is below this, in nats per
    token."""

    reshape: float = 0.0
    """Weight of the new place in the mean of both places, 0 to 1."""


@dataclass(frozen=True, slots=True, kw_only=True)
class MergeConfig:
    """The settings of the `merge` stage."""

    texts: TextRules = TextRules()
    """Rules for texts."""

    regions: Rules = Rules()
    """Rules for regions."""

    text_regions: WordRules = WordRules()
    """Rules for text regions (words that OCR has read)."""

    triplets: PhraseRules = PhraseRules()
    """Rules for triplets (phrases with a box)."""

    levels: Mapping[str, Thresholds] = field(default_factory=dict)
    """Measured thresholds by kind. This is no setting: the loop fills it in for each round."""

    def without_effect(self) -> Iterator[str]:
        for kind in ("texts", "regions", "text_regions", "triplets"):
            rules: Rules = getattr(self, kind)
            found = [*_unused_rules(kind, rules), *rules.without_effect()]
            # A setting may have no effect for several reasons; the first one is enough.
            by_setting: dict[str, str] = {}
            for message in found:
                by_setting.setdefault(message.partition("=")[0], message)
            for message in by_setting.values():
                yield f"{kind}.{message}"


def effective_thresholds(rules: Rules, measured: Thresholds) -> Thresholds:
    """The thresholds to apply: a fixed one of `rules` takes precedence over the measured one."""
    return Thresholds(
        refound=measured.refound,
        add=measured.add if rules.add_above is None else Certainties.fixed(rules.add_above),
        rename=(
            measured.rename if rules.rename_above is None else Certainties.fixed(rules.rename_above)
        ),
        drop=measured.drop if rules.drop_below is None else rules.drop_below,
        reshape=measured.reshape if rules.reshape is None else rules.reshape,
    )


def _unused_rules(kind: str, rules: Rules) -> Iterator[str]:
    """A warning for each rule that is not at its default though its kind has no use for it."""
    if kind != "texts":
        yield from no_effect(rules, ("tie",), "only texts can tie")
    if kind == "texts":
        yield from no_effect(rules, ("reshape", "reshape_iou"), "a text has no place")
        # Texts of one granularity overlap by 1 or more, all others by 0.
        for name in ("match_iou", "same_iou"):
            if getattr(rules, name) > 0:
                reason = "texts are matched by their granularity; leave it out"
                yield from no_effect(rules, (name,), reason)
    if kind == "text_regions" and rules.agree > 0:
        reason = "a word that is read is compared as a whole; leave it out"
        yield from no_effect(rules, ("agree",), reason)
        reason = "words cannot be read in a mirror, so nothing is measured; leave it out"
        yield from no_effect(rules, ("least_precision",), reason)
        if rules.rename_above is None:
            reason = "no word is renamed unless rename_above is set; set it"
            yield from no_effect(rules, ("relabel_margin",), reason)
    if kind == "triplets":
        unused = ("relabel_margin", "rename_above", "agree")
        yield from no_effect(
            rules, unused, "the model is given the phrase, so it has no other name"
        )
