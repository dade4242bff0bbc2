"""The conditions of the rules of the merge: when a label is certain, likelier, or a duplicate.

Log-probabilities are in nats per token. All settings and thresholds are those of the comparison.
"""

from __future__ import annotations

from collections.abc import Sequence

from pipeline.refinement.comparison import Comparison, label_log_probability, log_certainty
from pipeline.refinement.matching import Match, same_label
from pipeline.schema import Annotation, Text


def is_certain(comparison: Comparison, new: Annotation) -> bool:
    """Whether place and name of a new label are certain enough for it to be added."""
    return _reaches(new, comparison.least(comparison.thresholds.add, new))


def would_be_certain(comparison: Comparison, new: Annotation) -> bool:
    """Whether a new label would be added if the second look repeated it."""
    return comparison.was_asked(new) and _reaches(new, comparison.thresholds.add.twice)


def is_likelier(comparison: Comparison, new: Annotation, old: Annotation) -> bool:
    """Whether a new name is likelier than the old one, which was judged, by the margin."""
    if old.support is None:
        return False
    return label_log_probability(new) - old.support > comparison.rules.relabel_margin


def may_rename(comparison: Comparison, new: Annotation) -> bool:
    """Whether place and name of a new label are certain enough for it to replace another name."""
    return _reaches(new, comparison.least(comparison.thresholds.rename, new))


def wins_tie(comparison: Comparison, new: Annotation, old: Annotation) -> bool:
    """Whether a new text may come in though it is not likelier than the old one (`Rules.tie`)."""
    if not (isinstance(new, Text) and isinstance(old, Text)):
        return False
    tie = comparison.rules.tie
    if tie == "longer":
        return len(new.text.split()) > len(old.text.split())
    return tie == "both"


def could_replace(comparison: Comparison, match: Match) -> bool:
    """Whether another name would take the place of the old one if it were certain enough."""
    if match.same_label or match.old.locked:
        return False
    if is_likelier(comparison, match.new, match.old):
        return True
    return comparison.rules.tie != "both" and wins_tie(comparison, match.new, match.old)


def is_unsupported(comparison: Comparison, old: Annotation) -> bool:
    """Whether the model judged an old label and believes in it less than the threshold says."""
    threshold = comparison.thresholds.drop
    if threshold is None or old.support is None:
        return False
    return old.support < threshold


def is_duplicate(
    comparison: Comparison, label: Annotation, standing: Sequence[Annotation], least: float
) -> bool:
    """Whether a label that stays says the same as `label` and overlaps it by `least` (IoU, 0 to 1).

    Texts have no place, so none is a duplicate.
    """
    kind = comparison.kind
    if kind.place is None:
        return False
    same = [other for other in standing if same_label(kind, other, label)]
    overlap = kind.overlap(same, [label])
    return bool((overlap >= least).any())


def _reaches(new: Annotation, threshold: float | None) -> bool:
    return threshold is not None and log_certainty(new) >= threshold
