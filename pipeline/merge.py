"""Old labels and the model's new ones, merged: a pure function over the annotations of one sample, and its stage.

In: kept annotations of earlier rounds, with `support` (the mean log-probability per token that the round's model gives
to them) where the model judged them, and the model's own annotations of this round. Out: revisions only. Paper section
4.2, 'iterative data refinement'; the rules are ours, the paper gives none.

    agree         old and new overlap and say the same: the old one stays, its confidence rises; the new one is dropped
    relabel       they overlap and differ: the likelier stays, with the other as its parent when it is the new one
    unsupported   an old one that the model neither finds nor believes is dropped
    add           a new one that stands alone stays when the model is confident

Human labels are never touched, and what the model did not look at (no `support`, nothing new of its kind) stays.
"""

from __future__ import annotations

import math
from collections.abc import Callable, Sequence
from dataclasses import dataclass, replace
from typing import Any, ClassVar

import numpy as np

from pipeline.quality.geometry import box_iou, greedy_match, quad_iou
from pipeline.quality.truth import bare_phrase, letters, normalise
from pipeline.schema import Annotation, Annotations, Region, Text, Triplet
from stages.base import Batch, Result

AGREES, LESS_LIKELY, RELABELLED = "agrees", "less_likely", "relabelled"
NOT_SUPPORTED, NOT_CONFIDENT, TEXT_DROPPED = "not_supported", "not_confident", "text_dropped"


@dataclass(frozen=True, slots=True, kw_only=True)
class MergeConfig:
    """Thresholds of the rules. Likelihoods are natural logarithms, per token.

    `match_iou` is the least overlap of the same thing; a new label replaces an old one when it is likelier by
    `relabel_margin`; an old one that nothing new overlaps goes below `drop_below`; a new one comes in when its score,
    which judges its box as well as its label, is at least exp(`add_above`).
    """

    match_iou: float = 0.5
    relabel_margin: float = 2.0
    drop_below: float = -5.0
    add_above: float = -0.1


@dataclass(frozen=True, slots=True)
class _Kind:
    """How two annotations of a kind overlap, and when they say the same."""

    overlap: Callable[[Sequence[Any], Sequence[Any]], np.ndarray]
    label: Callable[[Any], Any]


def merge(annotations: Annotations, this_round: int, config: MergeConfig) -> Annotations:
    """The revisions that the rules above make; the result does not depend on the order of the input."""
    kinds = {
        "texts": _Kind(_same_granularity, lambda a: normalise(a.text)),
        "regions": _Kind(lambda a, b: box_iou([x.box for x in a], [x.box for x in b]), _region_label),
        "text_regions": _Kind(
            lambda a, b: quad_iou([x.quad for x in a], [x.quad for x in b]), lambda a: letters(a.text)
        ),
        "triplets": _Kind(_same_phrase, lambda a: bare_phrase(a.phrase)),
    }
    merged = {}
    for name, kind in kinds.items():
        everything = sorted((a for a in getattr(annotations, name) if a.dropped is None), key=lambda a: a.id)
        old = [a for a in everything if a.round < this_round]
        new = [a for a in everything if a.round == this_round]
        merged[name] = _merge_kind(old, new, kind, config)
    gone = {text.id for text in merged["texts"] if text.dropped}
    merged["triplets"] = _without_texts(
        annotations.overlaid(Annotations(**merged)).kept().triplets, gone, merged["triplets"]
    )
    return Annotations(**merged)


def likelihood(annotation: Annotation) -> float | None:
    """Natural log-probability per token: the judged one, else that of the model's own score."""
    if annotation.support is not None:
        return annotation.support
    return math.log(max(annotation.score, 1e-9)) if annotation.score is not None else None


def _merge_kind(old: Sequence[Any], new: Sequence[Any], kind: _Kind, config: MergeConfig) -> list[Any]:
    overlap = kind.overlap(new, old)
    pairs = greedy_match(overlap, [likelihood(a) or -99.0 for a in new], config.match_iou)
    revised = []
    for i, j in pairs:
        revised += _meet(old[j], new[i], kind, config)
    matched_new, matched_old = {i for i, _ in pairs}, {j for _, j in pairs}
    for i, mine in enumerate(new):
        if i not in matched_new:
            confident = math.log(max(mine.score or 0.0, 1e-9)) >= config.add_above
            revised.append(replace(mine, confidence=mine.score) if confident else replace(mine, dropped=NOT_CONFIDENT))
    for j, theirs in enumerate(old):
        unlikely = theirs.support is not None and theirs.support < config.drop_below
        if j not in matched_old and unlikely and not theirs.locked:
            revised.append(replace(theirs, dropped=NOT_SUPPORTED))
    return revised


def _meet(old: Any, new: Any, kind: _Kind, config: MergeConfig) -> list[Any]:
    """The fate of two annotations of the same thing."""
    if kind.label(old) == kind.label(new):
        risen = old if old.locked else replace(old, confidence=_either(old, new))
        return [risen, replace(new, dropped=AGREES, parents=[old.id])]
    before, after = old.support, likelihood(new)
    if old.locked or before is None or after is None or after - before <= config.relabel_margin:
        return [replace(new, dropped=LESS_LIKELY, parents=[old.id])]
    return [replace(old, dropped=RELABELLED), replace(new, parents=[old.id], confidence=new.score)]


def _either(old: Annotation, new: Annotation) -> float:
    """The probability that one of two independent witnesses is right."""
    before = old.confidence if old.confidence is not None else old.score
    return 1 - (1 - min(before or 0.0, 1.0)) * (1 - min(new.score or 0.0, 1.0))


def _region_label(region: Region) -> tuple[str, str]:
    return normalise(region.phrase), bare_phrase(region.brief or region.phrase)


def _same_granularity(a: Sequence[Text], b: Sequence[Text]) -> np.ndarray:
    return np.array([[float(x.granularity == y.granularity) for y in b] for x in a]).reshape(len(a), len(b))


def _same_phrase(a: Sequence[Triplet], b: Sequence[Triplet]) -> np.ndarray:
    """Box overlap of triplets of the same text and span, elsewhere 0."""
    same = [[(x.text_id, x.start, x.end) == (y.text_id, y.start, y.end) for y in b] for x in a]
    return box_iou([x.box for x in a], [x.box for x in b]) * np.array(same, float).reshape(len(a), len(b))


def _without_texts(kept: Sequence[Triplet], gone: set[str], revised: Sequence[Triplet]) -> list[Triplet]:
    """Triplets of a dropped text go with it."""
    dropped = {t.id: replace(t, dropped=TEXT_DROPPED) for t in kept if t.text_id in gone and not t.locked}
    return [*(t for t in revised if t.id not in dropped), *dropped.values()]


class Merge:
    version: ClassVar[int] = 1
    reads_images: ClassVar[bool] = False

    def __init__(self, config: MergeConfig) -> None:
        self.config = config

    def __call__(self, batch: Batch) -> list[Result]:
        return [merge(sample.annotations, sample.round, self.config) for sample in batch]
