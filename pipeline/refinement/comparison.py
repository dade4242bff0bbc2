"""The labels of one sample, sorted for the merge by kind and by the part that they play in it.

Log-probabilities are natural logarithms, as means over the tokens of a label (nats per token).
"""

from __future__ import annotations

import math
from collections.abc import Iterator, Sequence
from dataclasses import dataclass

from pipeline.refinement.matching import MATCHING, AnyKind, Match, matches
from pipeline.refinement.rules import MergeConfig, Rules, Thresholds, effective_thresholds
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
    """Kept labels of this round, by id."""

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
        return matches(self.kind, self.rules, self.likeliest_first(), self.old)

    def likeliest_first(self) -> list[Annotation]:
        """The new labels in the order in which they choose an old one."""
        return sorted(self.found, key=label_log_probability, reverse=True)


def comparisons(
    annotations: Annotations, this_round: int, config: MergeConfig
) -> Iterator[Comparison]:
    """One comparison for each kind. Dropped annotations and those of later rounds take no part."""
    for name in MATCHING:
        everything: list[Annotation] = getattr(annotations, name)
        kept = [annotation for annotation in everything if annotation.dropped is None]
        kept.sort(key=lambda annotation: annotation.id)
        rules: Rules = getattr(config, name)
        measured = config.levels.get(name, Thresholds())
        thresholds = effective_thresholds(rules, measured)
        yield Comparison(
            name=name,
            rules=rules,
            thresholds=thresholds,
            old=[annotation for annotation in kept if annotation.round < this_round],
            found=[annotation for annotation in kept if annotation.round == this_round],
        )


def label_log_probability(annotation: Annotation) -> float:
    """How likely the label is: `support`, or without it the logarithm of the score."""
    if annotation.support is not None:
        return annotation.support
    return _log_score(annotation)


def log_certainty(annotation: Annotation) -> float:
    """How certain a label is in place and name: the lower one of both log-probabilities."""
    return min(_log_score(annotation), label_log_probability(annotation))


def _log_score(annotation: Annotation) -> float:
    return math.log(max(annotation.score or 0.0, LEAST_PROBABILITY))
