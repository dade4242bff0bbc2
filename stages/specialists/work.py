"""What a costly stage has to do: the fresh, machine-made annotations that are sure enough to be worth it."""

from __future__ import annotations

from collections.abc import Sequence
from typing import TypeVar

from pipeline.schema import Annotation, Granularity
from stages.base import Sample

Item = TypeVar("Item", bound=Annotation)


def sureness(annotation: Annotation) -> float:
    """The score; a label without one, such as a source dataset's, is sure."""
    return 1.0 if annotation.score is None else annotation.score


def todo(sample: Sample, items: Sequence[Item], min_score: float) -> list[Item]:
    return [a for a in items if sample.fresh(a) and not a.locked and sureness(a) >= min_score]


def missing(sample: Sample, granularities: Sequence[Granularity]) -> list[Granularity]:
    """The granularities of which no machine-made text stands."""
    known = {t.granularity for t in sample.annotations.texts if not t.dropped and not t.locked}
    return [g for g in granularities if g not in known]
