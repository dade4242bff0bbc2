"""Selects the annotations that a specialist works on.

A specialist works on what was made in this round, so that a later round completes only what has
changed. Human labels are left alone. So are annotations with a low score, because they are rarely
worth the cost.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import replace
from typing import TypeVar

from pipeline.schema import Annotation, Granularity, Region
from stages.base import Sample
from stages.links import REGION_DROPPED

Item = TypeVar("Item", bound=Annotation)


def effective_score(annotation: Annotation) -> float:
    """The score of an annotation, 0 to 1.

    A label without a score, such as one of a source data set, counts as certain.
    """
    return 1.0 if annotation.score is None else annotation.score


def select_fresh(sample: Sample, items: Sequence[Item], min_score: float) -> list[Item]:
    """The kept machine labels of this round with at least `min_score`, in their order."""
    selected = []
    for item in items:
        is_machine_label = sample.fresh(item) and not item.locked
        if is_machine_label and effective_score(item) >= min_score:
            selected.append(item)
    return selected


def missing_granularities(
    sample: Sample, granularities: Sequence[Granularity]
) -> list[Granularity]:
    """The granularities for which the sample has no kept text by a machine."""
    present = set()
    for text in sample.annotations.texts:
        if not text.dropped and not text.locked:
            present.add(text.granularity)
    return [granularity for granularity in granularities if granularity not in present]


def was_rejected(sample: Sample, granularity: Granularity, words: str) -> bool:
    """Whether a text with these words was dropped for what it says.

    A filter or a merge has decided so, and would have to do it again. A text that was dropped with
    a region may be right again.
    """
    for text in sample.annotations.texts:
        is_judged = text.dropped is not None and text.dropped != REGION_DROPPED
        if is_judged and text.granularity == granularity and text.text == words:
            return True
    return False


def needs_choice(sample: Sample, min_score: float) -> list[Region]:
    """The fresh regions that have candidate texts, but no chosen one."""
    regions = select_fresh(sample, sample.annotations.regions, min_score)
    return [region for region in regions if region.candidates and region.brief is None]


def choose_candidate(region: Region, scores: Sequence[float]) -> Region:
    """The region with one score per candidate, and with the best candidate as its brief text.

    The first candidate wins a tie.
    """
    scored = []
    for candidate, score in zip(region.candidates, scores, strict=True):
        scored.append(replace(candidate, score=score))
    best = max(scored, key=lambda candidate: candidate.score or 0.0)
    return replace(region, candidates=scored, brief=best.text, brief_kind=best.kind)


def best_described(regions: Sequence[Region]) -> Region | None:
    """The region whose brief text has the most support among regions of one thing; None if none
    has one.

    The support of a text is the sum of the scores of the regions that have it.
    """
    support: dict[str, float] = {}
    for region in regions:
        if region.brief is not None:
            support.setdefault(region.brief, 0.0)
            support[region.brief] += effective_score(region)
    described = [region for region in regions if region.brief is not None]
    # Of equally good texts the first one, so that the order of the regions decides.
    return max(described, key=lambda region: support[region.brief or ""], default=None)
