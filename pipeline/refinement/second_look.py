"""What a second look of a model tells of its new labels and of the old ones, counted.

The round's model looks a second time at samples that no model was trained on: at their mirrored
images (`stages.florence.witness`). Three things are counted, from which `estimates` tells how often
changes are right, without truth:

repeated  A new label that the model gives again, at the mirrored place and under the same name. On
          rendered scenes the share of new labels that are repeated is close to the share that are
          right, at every certainty, for weak and for well trained models.
decoys    The old boxes on the mirrored image, where nothing of the kind is. They are known to be
          wrong, so what support the model gives them is what it gives to wrong labels. This is the
          target-decoy method of proteomics (Elias and Gygi 2007, Nature Methods 4:207).
places    How far both looks lie apart, and how far from the old box (`places`).

A mistake that the model makes at both looks is not seen. Such are the mistakes that specialists
make always and that the model has learned from them; only people see those.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass

from pipeline.quality.levels import count_levels
from pipeline.quality.summary import Summary
from pipeline.refinement.comparison import Comparison, log_certainty
from pipeline.refinement.matching import Match, confirms, matches
from pipeline.refinement.places import count_places
from pipeline.schema import Annotation, Annotations
from stages.florence.witness import DECOY, MIRRORED


@dataclass(frozen=True, slots=True)
class SecondLook:
    """A model's second look at one sample."""

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
        """Whether the model has not looked again."""
        return not any(self.mirrored.all()) and not any(self.decoys.all())


NO_LOOK = SecondLook(Annotations(), Annotations())
"""Of a sample that a model has looked at once only."""


def count_second_look(comparison: Comparison, look: SecondLook) -> Summary:
    """What a second look tells of one kind of labels of one sample, as a part of a summary."""
    mirrored: Sequence[Annotation] = getattr(look.mirrored, comparison.name)
    decoys: Sequence[Annotation] = getattr(look.decoys, comparison.name)
    found = comparison.matches()
    second = second_places(comparison, mirrored)
    same = [match.new for match in found if match.same_label]
    renamed = [match.new for match in found if not match.same_label]
    matched = {match.new.id for match in found}
    added = [new for new in comparison.found if new.id not in matched]
    old_matched = {match.old.id for match in found}
    missed = [old for old in comparison.old if old.id not in old_matched]
    repeated = {match.new.id for match in second if is_repeated(comparison, match)}
    return {
        "added": _count(added, repeated),
        "renamed": _count(renamed, repeated),
        "same": _count(same, repeated),
        "old": count_levels(_supports(comparison.old)),
        "missed": count_levels(_supports(missed)),
        "decoys": count_levels(_supports(decoys)),
        "places": count_places(found, second),
    }


def second_places(comparison: Comparison, mirrored: Sequence[Annotation]) -> list[Match]:
    """Pairs of a new label (`new`) and one that was found on the mirrored image (`old`)."""
    return matches(comparison.kind, comparison.rules, comparison.likeliest_first(), mirrored)


def is_repeated(comparison: Comparison, match: Match) -> bool:
    """Whether both looks give the same label to the same place.

    Texts must be equal: half of the words (`Rules.agree`) are easily the same, whatever is shown.
    """
    kind = comparison.kind
    if kind.place is None:
        return match.same_label
    if not confirms(kind, comparison.rules, match.new, match.old):
        return False
    overlap = kind.overlap([match.new], [match.old])
    return bool(overlap[0, 0] >= comparison.rules.match_iou)


def _count(labels: Sequence[Annotation], repeated: set[str]) -> Summary:
    """How many labels there are at each certainty, and how many of them are repeated."""
    certain = [log_certainty(label) for label in labels if label.id in repeated]
    return {
        "all": count_levels([log_certainty(label) for label in labels]),
        "repeated": count_levels(certain),
    }


def _supports(labels: Sequence[Annotation]) -> list[float]:
    return [label.support for label in labels if label.support is not None]
