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

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field

from pipeline.refinement.matching import AnyKind, Match, confirms, matches
from pipeline.refinement.rules import Rules
from pipeline.schema import Annotation, Annotations
from stages.florence.witness import DECOY, MIRRORED


@dataclass(frozen=True, slots=True)
class SecondLook:
    """What a model says at its second look at one sample."""

    mirrored: Annotations
    """What it found on the mirrored image, in coordinates of the original."""

    decoys: Annotations
    """Old labels at wrong places, with the support that the model gives them."""

    @classmethod
    def of(cls, annotations: Annotations) -> SecondLook:
        """The second look in the labels of the witness stage."""
        return cls(
            mirrored=annotations.where(lambda label: label.source == MIRRORED),
            decoys=annotations.where(lambda label: label.source == DECOY),
        )

    @property
    def is_empty(self) -> bool:
        """Whether the model has not looked again.

        A sample that cannot be mirrored gives nothing. Nor does one without decoys in which the
        model finds nothing, not even a text; it is taken for one that cannot be mirrored.
        """
        return not any(self.mirrored.all()) and not any(self.decoys.all())


NO_LOOK = SecondLook(Annotations(), Annotations())
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


def repeats(
    kind: AnyKind,
    rules: Rules,
    found: Sequence[Annotation],
    old: Sequence[Annotation],
    look: Sequence[Annotation],
) -> Repeats:
    """Compare the labels of one kind with those of the second look.

    Args:
        kind: how they are compared.
        rules: the settings for the kind.
        found: new labels of the first look, the likeliest first.
        old: the old labels.
        look: labels of the second look, the likeliest first.
    """
    pairs = matches(kind, rules, found, look)
    again = {}
    for pair in pairs:
        if is_repeated(kind, rules, pair):
            again[pair.new.id] = pair.old
    seen = frozenset(match.old.id for match in matches(kind, rules, look, old))
    return Repeats(pairs, again, seen)


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
