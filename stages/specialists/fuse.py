"""Fuses the annotations of several models that have one task.

In: annotations. Out: fused ones; the members are dropped.

Paper section 1 speaks of specialists that reach a consensus ("wisdom of crowds"). For boxes this is
weighted boxes fusion (Solovyev et al., 2021): regions of one category, text regions of one string,
and triplets of one phrase form a cluster if they overlap. The box of a cluster is the mean of its
members' boxes, weighted by score. Its score is the members' mean times the share of the sources
that agree. Of several texts of one granularity, the one that shares most words with the others is
kept.

`agreement` holds the share of the sources that agree (for a text: the share of its words), and
`parents` the members. Filters can ask for a minimum agreement.
"""

from __future__ import annotations

from collections import Counter
from collections.abc import Hashable, Sequence
from dataclasses import dataclass, replace
from typing import ClassVar, TypeVar

import numpy as np

from pipeline.schema import Annotation, Annotations, Region, Text, TextRegion, Triplet
from stages.base import Batch, Result, Sample, StageError
from stages.geometry import bounds, box_iou
from stages.links import FUSED
from stages.ranges import Share
from stages.specialists.selection import best_described, effective_score, select_fresh

Item = TypeVar("Item", bound=Annotation)
Placed = TypeVar("Placed", Region, TextRegion, Triplet)
"""An annotation with a place in the image."""


@dataclass(frozen=True, slots=True, kw_only=True)
class FuseConfig:
    """Settings of `fuse`."""

    sources: tuple[str, ...]
    """Names of the stages whose annotations are fused; one that finds nothing does not agree."""

    iou: Share = 0.55
    """IoU above which two boxes are the same object."""

    min_score: Share = 0.05
    """Annotations with a lower score take no part, and stay as they are."""


def fusion_key(item: Region | TextRegion | Triplet) -> Hashable:
    """What two annotations must have in common to be the same object, besides their place."""
    if isinstance(item, Triplet):
        return item.text_id, item.start, item.end
    if isinstance(item, Region):
        return item.phrase
    # Case and spaces of a read text often differ between OCR models.
    return "".join(item.text.split()).casefold()


def mean_place(members: Sequence[Placed]) -> tuple[float, ...]:
    """The mean of the members' places, weighted by score.

    It is a box (xyxy in pixels), or for text regions a quad: the same kind as the members have.
    """
    places: list[Sequence[float]] = []
    for member in members:
        if isinstance(member, TextRegion):
            places.append(member.quad)
        else:
            places.append(member.box)
    # The small constant keeps the weights from summing to zero.
    weights = [effective_score(member) + 1e-9 for member in members]
    mean = np.average(np.array(places), axis=0, weights=weights)
    return tuple(mean.tolist())


def find_clusters(items: Sequence[Placed], threshold: float) -> list[list[Placed]]:
    """Groups of items with one key that overlap more than the IoU `threshold`.

    Each item, best first, joins the cluster whose mean box it overlaps most, or starts a new one.
    """
    clusters: list[list[Placed]] = []
    # The mean box of each cluster.
    boxes: list[Sequence[float]] = []
    best_first = sorted(items, key=lambda item: (-effective_score(item), item.id))
    for item in best_first:
        nearest = _nearest_cluster(item, clusters, boxes, threshold)
        if nearest is None:
            clusters.append([item])
            boxes.append(bounds(item))
        else:
            members = clusters[nearest]
            members.append(item)
            boxes[nearest] = bounds(_at_mean_place(members))
    return clusters


def _nearest_cluster(
    item: Placed,
    clusters: Sequence[Sequence[Placed]],
    boxes: Sequence[Sequence[float]],
    threshold: float,
) -> int | None:
    """Index of the cluster that the item joins.

    Args:
        item: an annotation that is in no cluster yet.
        clusters: those so far.
        boxes: their mean boxes.
        threshold: the IoU that the overlap must exceed.

    Returns:
        The cluster with the item's key that the item overlaps most; None if there is none.
    """
    if not clusters:
        return None
    key = fusion_key(item)
    (overlap,) = box_iou([bounds(item)], boxes)
    # Other things in the same place are no candidates.
    for index, members in enumerate(clusters):
        if fusion_key(members[0]) != key:
            overlap[index] = 0.0
    nearest = int(overlap.argmax())
    return nearest if overlap[nearest] > threshold else None


def fuse_cluster(members: Sequence[Placed], source_count: int) -> Placed:
    """One new annotation for a cluster.

    What was made for a member's own box (mask, candidates) is left out. A region has the brief text
    that the members agree on most (`best_described`), if any has one.
    """
    sources = {member.source for member in members}
    agreement = len(sources) / source_count
    scores = [effective_score(member) for member in members]
    mean_score = float(np.mean(scores))
    fused = replace(
        _at_mean_place(members),
        id="",
        source="",
        model="",
        revision="",
        agreement=agreement,
        score=mean_score * agreement,
        parents=[member.id for member in members],
    )
    if isinstance(fused, Triplet):
        phrase_score = _mean_phrase_score(members)
        return replace(fused, mask=None, phrase_score=phrase_score)
    if isinstance(fused, Region):
        named = best_described([member for member in members if isinstance(member, Region)])
        return replace(
            fused,
            mask=None,
            candidates=[],
            brief=named.brief if named else None,
            brief_kind=named.brief_kind if named else None,
        )
    return fused


def _mean_phrase_score(members: Sequence[Region | TextRegion | Triplet]) -> float | None:
    """The mean phrase score of the members that have one; None if none has."""
    scores = []
    for member in members:
        if isinstance(member, Triplet) and member.phrase_score is not None:
            scores.append(member.phrase_score)
    if not scores:
        return None
    return float(np.mean(scores))


def _at_mean_place(members: Sequence[Placed]) -> Placed:
    """The first member, moved to the mean place of all members."""
    first = members[0]
    place = mean_place(members)
    if isinstance(first, TextRegion):
        x1, y1, x2, y2, x3, y3, x4, y4 = place
        return replace(first, quad=(x1, y1, x2, y2, x3, y3, x4, y4))
    left, top, right, bottom = place
    return replace(first, box=(left, top, right, bottom))


def find_consensus(texts: Sequence[Text], source_count: int) -> list[Text]:
    """The texts with all but the best of each granularity dropped.

    The agreement of a text is the mean share of words that it has in common with the text of each
    source. It fully agrees with its own source, and not at all with a source that has no text.
    """
    by_granularity: dict[str, list[Text]] = {}
    for text in texts:
        by_granularity.setdefault(text.granularity, []).append(text)
    judged: list[Text] = []
    for rivals in by_granularity.values():
        judged += _keep_best(rivals, source_count)
    return judged


def _keep_best(texts: Sequence[Text], source_count: int) -> list[Text]:
    """Texts of one granularity, all dropped but the one with the highest agreement."""
    agreements = _word_agreements(texts, source_count)

    def rank(index: int) -> tuple[float, float, str]:
        """Sort key: agreement, then score; the id makes the choice independent of the order."""
        text = texts[index]
        return agreements[index], effective_score(text), text.id

    best = max(range(len(texts)), key=rank)
    judged = []
    for index, text in enumerate(texts):
        if index == best:
            judged.append(replace(text, agreement=agreements[index]))
        else:
            judged.append(replace(text, dropped=FUSED))
    return judged


def _word_agreements(texts: Sequence[Text], source_count: int) -> list[float]:
    """For each text, the mean share of words that it has in common with the text of each source."""
    words = [_word_counts(text.text) for text in texts]
    pairs = list(zip(texts, words, strict=True))
    agreements = []
    for text, text_words in pairs:
        shares = []
        for other, other_words in pairs:
            if other.source != text.source:
                shares.append(_shared_words(text_words, other_words))
        # The text itself stands for its own source.
        total = 1 + sum(shares)
        count = max(source_count, 1 + len(shares))
        agreements.append(total / count)
    return agreements


def _word_counts(text: str) -> Counter[str]:
    """The words of a text and how often each occurs; case and full stops do not count."""
    folded = text.casefold()
    without_stops = folded.replace(".", " ").replace(",", " ")
    return Counter(without_stops.split())


def _shared_words(first: Counter[str], second: Counter[str]) -> float:
    """Dice's coefficient of two bags of words, 0 to 1.

    It is 0 if both are empty.
    """
    total = first.total() + second.total()
    if not total:
        return 0.0
    common = first & second
    return 2 * common.total() / total


class Fuse:
    """Fuses the fresh annotations of the configured sources."""

    version: ClassVar[int] = 3
    reads_images: ClassVar[bool] = False
    gives: ClassVar[tuple[str, ...]] = ()
    revises: ClassVar[tuple[str, ...]] = ("regions",)

    def __init__(self, config: FuseConfig) -> None:
        """Checks the sources.

        Raises:
            StageError: there are fewer than two.
        """
        if len(set(config.sources)) < 2:
            raise StageError(
                f"sources={list(config.sources)}: name at least two stages, or leave `fuse` out"
            )
        self.config = config

    def __call__(self, batch: Batch) -> list[Result]:
        return [self.fuse(sample) for sample in batch]

    def fuse(self, sample: Sample) -> Annotations:
        """The fused annotations of one sample, and their dropped members."""
        annotations = sample.annotations
        texts = self._members(sample, annotations.texts)
        source_count = len(self.config.sources)
        return Annotations(
            texts=find_consensus(texts, source_count),
            regions=self._fuse_placed(sample, annotations.regions),
            text_regions=self._fuse_placed(sample, annotations.text_regions),
            triplets=self._fuse_placed(sample, annotations.triplets),
        )

    def _members(self, sample: Sample, items: Sequence[Item]) -> list[Item]:
        """The fresh items that come from the configured sources."""
        fresh = select_fresh(sample, items, self.config.min_score)
        return [item for item in fresh if item.source in self.config.sources]

    def _fuse_placed(self, sample: Sample, items: Sequence[Placed]) -> list[Placed]:
        """The dropped members, then the fused annotations, best first."""
        members = self._members(sample, items)
        dropped = [replace(member, dropped=FUSED) for member in members]
        fused = []
        source_count = len(self.config.sources)
        for cluster in find_clusters(members, self.config.iou):
            fused.append(fuse_cluster(cluster, source_count))
        fused.sort(key=lambda item: -effective_score(item))
        return dropped + fused
