"""What both looks of a model tell of the labels of one sample, counted.

`thresholds` and `estimates` read the sums over all samples.
"""

from __future__ import annotations

from collections.abc import Sequence

from pipeline.quality.levels import count_levels
from pipeline.quality.summary import Summary
from pipeline.refinement.comparison import Comparison, log_certainty
from pipeline.refinement.conditions import could_replace
from pipeline.refinement.matching import Match, confirms
from pipeline.refinement.places import count_places
from pipeline.refinement.second_look import SecondLook
from pipeline.schema import Annotation


def count_changes(comparison: Comparison) -> Summary:
    """How many labels of one kind are new, and how many of them are repeated, as a part of a
    summary.

    `added` counts labels where no old one is, and `renamed` those with another name than the old
    one. Without a second look there are none.
    """
    matched = comparison.matches()
    of_old = {match.new.id for match in matched}
    return {
        "added": _count(comparison, [new for new in comparison.found if new.id not in of_old]),
        "renamed": _count(comparison, [match.new for match in matched if not match.same_label]),
    }


def count_second_look(comparison: Comparison, look: SecondLook) -> Summary:
    """What both looks tell of one kind of labels of a sample that the model has not learned from,
    as a part of a summary.

    `same` counts new labels that confirm old ones; `renamable` those of `renamed` that the merge
    takes if they are certain enough; `human` old labels of people; `old` the old labels that the
    model judged, by their support, and `missed` those of them that neither look found.
    """
    matched = comparison.matches()
    confirming = [match.new for match in matched if match.same_label and _agrees(comparison, match)]
    renamable = [match.new for match in matched if could_replace(comparison, match)]
    seen = {match.old.id for match in matched}
    missed = []
    for old in comparison.old:
        if old.id not in seen and not comparison.is_seen_again(old):
            missed.append(old)
    decoys: Sequence[Annotation] = getattr(look.decoys, comparison.name)
    return {
        **count_changes(comparison),
        "same": _count(comparison, confirming),
        "renamable": _count(comparison, renamable),
        "human": sum(old.locked for old in comparison.old),
        "old": count_levels(_supports(comparison.old)),
        "missed": count_levels(_supports(missed)),
        "decoys": count_levels(_supports(decoys)),
        "places": count_places(matched, comparison.repeats),
    }


def _count(comparison: Comparison, labels: Sequence[Annotation]) -> Summary:
    """How many labels there are at each certainty that the second look could have given again, and
    how many of them it has."""
    asked = [new for new in labels if comparison.was_asked(new)]
    repeated = [new for new in asked if comparison.is_repeated(new)]
    return {
        "all": count_levels([log_certainty(new) for new in asked]),
        "repeated": count_levels([log_certainty(new) for new in repeated]),
    }


def _agrees(comparison: Comparison, match: Match) -> bool:
    """Whether a found label confirms an old one: an equal name alone does not if it was given."""
    return confirms(comparison.kind, comparison.rules, match.new, match.old)


def _supports(labels: Sequence[Annotation]) -> list[float]:
    return [label.support for label in labels if label.support is not None]
