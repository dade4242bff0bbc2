"""A second look of a model at a sample, and what it repeats of the first one.

The round's model looks twice: at the image, and at the mirrored image (`stages.florence.witness`).
What it says at the second look enters no round. It tells three things:

repeated  A new label that the model gives again, at the mirrored place and under the same name, is
          much more often right than one that it gives only once (`right_shares`).
places    The mean of both places is more exact than either.
decoys    The old boxes on the mirrored image of a held-out sample, where nothing of the kind is.
          They are known to be wrong, so the support that the model gives them is what it gives to
          wrong labels. This is the target-decoy method of proteomics (Elias and Gygi 2007, Nature
          Methods 4:207).

A mistake that the model makes at both looks is not seen. Such are the mistakes that specialists
make always and that the model has learned from them; only people see those.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, field

from pipeline.refinement.matching import AnyKind, Match, confirms, matches
from pipeline.refinement.rules import Rules
from pipeline.schema import Annotation, Annotations, Triplet
from stages.florence.witness import DECOY, LOOKED, MIRRORED, shown_in_mirror, stays_true


@dataclass(frozen=True, slots=True)
class SecondLook:
    """What a model says at its second look at one sample."""

    mirrored: Annotations
    """What it found on the mirrored image, in coordinates of the original."""

    decoys: Annotations
    """Old labels at wrong places, with the support that the model gives them."""

    grounded: frozenset[str] = frozenset()
    """Ids of the shown texts whose phrases it looked for."""

    took_place: bool = True
    """Whether the model has looked again; it may have found nothing."""

    @classmethod
    def of(cls, said: Annotations, labels: Annotations, this_round: int) -> SecondLook:
        """The second look at a sample.

        Args:
            said: what the witness stage gives, or more.
            labels: the labels of the sample, or more; those of earlier rounds were shown.
            this_round: the number of the model's round.
        """
        shown = shown_in_mirror(labels.where(lambda label: label.round < this_round))
        has_looked = any(text.source == LOOKED for text in said.texts)
        if shown is None or not has_looked:
            return NO_LOOK
        return cls(
            mirrored=said.where(lambda label: label.source == MIRRORED),
            decoys=said.where(lambda label: label.source == DECOY),
            grounded=frozenset(text.id for text in shown.texts),
        )

    def could_repeat(self, new: Annotation) -> bool:
        """Whether the second look would have given a label of the first look again.

        A label that names a side is wrong in a mirror, and phrases of a text that names one, or
        that quotes a word of the image, are not looked for.
        """
        if isinstance(new, Triplet):
            return new.text_id in self.grounded
        return stays_true(new)


NO_LOOK = SecondLook(Annotations(), Annotations(), took_place=False)
"""Of a sample that a model has looked at once only."""


@dataclass(frozen=True, slots=True)
class Repeats:
    """What the second look says of the labels of one kind in one sample."""

    pairs: Sequence[Match]
    """Pairs of a new label (`new`) and what the second look gives at its place (`old`)."""

    again: Mapping[str, Annotation] = field(default_factory=dict)
    """By the id of each repeated label, the label of the second look."""

    seen: frozenset[str] = frozenset()
    """Ids of the old labels at whose place the second look finds something."""

    asked: frozenset[str] = frozenset()
    """Ids of the new labels that the second look could have given again."""


def repeats(
    kind: AnyKind,
    rules: Rules,
    found: Sequence[Annotation],
    old: Sequence[Annotation],
    look: Sequence[Annotation],
    could_repeat: Callable[[Annotation], bool],
) -> Repeats:
    """Compare the labels of one kind with those of the second look.

    Args:
        kind: how they are compared.
        rules: the settings for the kind.
        found: new labels of the first look, the likeliest first.
        old: the old labels.
        look: labels of the second look, the likeliest first.
        could_repeat: `SecondLook.could_repeat`.
    """
    pairs = matches(kind, rules, found, look)
    again = {}
    for pair in pairs:
        if is_repeated(kind, rules, pair):
            again[pair.new.id] = pair.old
    seen = frozenset(match.old.id for match in matches(kind, rules, look, old))
    asked = frozenset(new.id for new in found if could_repeat(new))
    return Repeats(pairs, again, seen, asked)


def is_repeated(kind: AnyKind, rules: Rules, pair: Match) -> bool:
    """Whether both looks give the same label to the same place.

    Texts must be equal: half of the words (`Rules.agree`) are easily the same, whatever is shown.
    """
    if kind.place is None:
        return pair.same_label
    if not confirms(kind, rules, pair.new, pair.old):
        return False
    overlap = kind.overlap([pair.new], [pair.old])
    return bool(overlap[0, 0] >= rules.match_iou)
