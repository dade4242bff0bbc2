"""The labels of one sample, sorted for the merge by kind and by the part that they play in it.

Log-probabilities are natural logarithms, as means over the tokens of a label (nats per token).
"""

from __future__ import annotations

import math
from collections.abc import Iterator, Sequence
from dataclasses import dataclass, replace

from pipeline.refinement.matching import MATCHING, AnyKind, Match, matches, mean_place
from pipeline.refinement.rules import (
    Certainties,
    MergeConfig,
    Rules,
    Thresholds,
    effective_thresholds,
)
from pipeline.refinement.second_look import NO_LOOK, Repeats, SecondLook, repeats
from pipeline.schema import Annotation, Annotations

LEAST_PROBABILITY = 1e-9  # a score of 0 or None counts as this, so that its logarithm is finite


@dataclass(frozen=True, slots=True)
class Comparison:
    """The old and the new labels of one kind in one sample, and the rules to merge them by."""

    name: str
    """The kind: a key of `MATCHING`."""

    rules: Rules
    """The settings for this kind."""

    thresholds: Thresholds
    """The thresholds in force: measured, or fixed by the settings."""

    old: Sequence[Annotation]
    """Kept labels of earlier rounds, by id."""

    found: Sequence[Annotation]
    """Kept labels of this round, by id. The place of a repeated one is the mean of both looks."""

    repeats: Repeats | None = None
    """What the second look repeats of them; None if there was none."""

    @property
    def kind(self) -> AnyKind:
        """How annotations of this kind are compared."""
        return MATCHING[self.name]

    @property
    def trusted(self) -> bool:
        """Whether the model confirms enough of the old labels to be listened to."""
        return self.thresholds.refound >= self.rules.min_refound

    def matches(self) -> list[Match]:
        """Found and old labels of the same thing; the likeliest found labels choose first."""
        return matches(self.kind, self.rules, likeliest_first(self.found), self.old)

    def was_asked(self, new: Annotation) -> bool:
        """Whether the second look could have given a new label again."""
        return self.repeats is not None and new.id in self.repeats.asked

    def is_repeated(self, new: Annotation) -> bool:
        """Whether the second look gives a new label again."""
        return self.repeats is not None and new.id in self.repeats.again

    def is_seen_again(self, old: Annotation) -> bool:
        """Whether the second look finds something at the place of an old label."""
        return self.repeats is not None and old.id in self.repeats.seen

    def least(self, certainties: Certainties, new: Annotation) -> float | None:
        """The least log-probability of a new label, from those for both looks and for one."""
        if not self.was_asked(new):
            return certainties.unasked
        return certainties.twice if self.is_repeated(new) else certainties.once


def comparisons(
    annotations: Annotations,
    this_round: int,
    config: MergeConfig,
    look: SecondLook = NO_LOOK,
) -> Iterator[Comparison]:
    """One comparison for each kind. Dropped annotations and those of later rounds take no part."""
    for name, kind in MATCHING.items():
        everything: list[Annotation] = getattr(annotations, name)
        kept = [annotation for annotation in everything if annotation.dropped is None]
        kept.sort(key=lambda annotation: annotation.id)
        rules: Rules = getattr(config, name)
        measured = config.levels.get(name, Thresholds())
        old = [annotation for annotation in kept if annotation.round < this_round]
        found = [annotation for annotation in kept if annotation.round == this_round]
        repeated = None
        if kind.in_mirror and look.took_place:
            again = likeliest_first(getattr(look.mirrored, name))
            first = likeliest_first(found)
            repeated = repeats(kind, rules, first, old, again, look.could_repeat)
            found = [_at_mean_place(kind, new, repeated) for new in found]
        yield Comparison(
            name=name,
            rules=rules,
            thresholds=effective_thresholds(rules, measured),
            old=old,
            found=found,
            repeats=repeated,
        )


def likeliest_first(labels: Sequence[Annotation]) -> list[Annotation]:
    """Labels in the order in which they choose another one of the same thing."""
    return sorted(labels, key=label_log_probability, reverse=True)


def label_log_probability(annotation: Annotation) -> float:
    """How likely the label is: `support`, or without it the logarithm of the score."""
    if annotation.support is not None:
        return annotation.support
    return _log_score(annotation)


def log_certainty(annotation: Annotation) -> float:
    """How certain a label is in place and name: the lower one of both log-probabilities."""
    return min(_log_score(annotation), label_log_probability(annotation))


def _at_mean_place(kind: AnyKind, new: Annotation, repeated: Repeats) -> Annotation:
    """A new label at the mean of the places of both looks, if both give it."""
    other = repeated.again.get(new.id)
    return new if other is None else replace(new, **mean_place(kind, new, other, 0.5))


def _log_score(annotation: Annotation) -> float:
    return math.log(max(annotation.score or 0.0, LEAST_PROBABILITY))
