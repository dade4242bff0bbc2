"""Ties noun phrases to detections by their words.

In: texts with their parse, regions. Out: triplets.

A phrase and a region match if their head nouns agree, in singular or plural. `phrase_score` is the
share of the words that both have, `score` is the region's own. A singular phrase gets the best
region, a phrase with a number gets as many regions, and any other plural gets all regions that
match equally well. A triplet has the box of its region, and its mask if there is one.
"""

from __future__ import annotations

import re
from collections.abc import Sequence
from dataclasses import dataclass
from typing import ClassVar

from pipeline.schema import Annotations, NounPhrase, Region, Text, Triplet
from stages.base import Batch, Result, Sample
from stages.embedded.vocabulary import NUMBERS, PLURALS, name_of, plural
from stages.ranges import Share
from stages.specialists.selection import effective_score

IGNORED = frozenset(("a", "an", "the", "many", *NUMBERS))


@dataclass(frozen=True, slots=True, kw_only=True)
class GroundConfig:
    """Settings of `match_ground`."""

    composes: ClassVar[tuple[str, ...]] = ("regions",)

    min_score: Share = 0.05
    """Regions with a lower score get no phrase."""


@dataclass(frozen=True, slots=True)
class _Match:
    """A region whose head noun agrees with a phrase, and their likeness (0 to 1)."""

    region: Region
    likeness: float


def words_of(phrase: str) -> list[str]:
    """The words of a phrase in lower case, without articles and numbers.

    The last one is the head noun.
    """
    words = re.findall(r"[a-z0-9]+", phrase.lower())
    return [word for word in words if word not in IGNORED]


def likeness(phrase: str, region: Region) -> float:
    """Common words over all words of a phrase and a region's name; 0 if their head nouns differ."""
    phrase_words, region_words = words_of(phrase), words_of(name_of(region))
    if not phrase_words or not region_words:
        return 0.0
    head = region_words[-1]
    if phrase_words[-1] != head:
        if phrase_words[-1] not in (plural(head), PLURALS.get(head)):
            return 0.0
        phrase_words[-1] = head
    common = set(phrase_words) & set(region_words)
    either = set(phrase_words) | set(region_words)
    return len(common) / len(either)


def region_count(phrase: str, regions: Sequence[Region]) -> int:
    """How many regions a phrase refers to; `regions` are those whose head nouns agree with it."""
    for word in phrase.lower().split():
        if word in NUMBERS:
            return NUMBERS.index(word)
    head = words_of(phrase)[-1]
    is_plural = all(words_of(name_of(region))[-1] != head for region in regions)
    return len(regions) if is_plural else 1


def ground(text: Text, phrase: NounPhrase, regions: Sequence[Region]) -> list[Triplet]:
    """The triplets of one noun phrase, best first."""
    matches = []
    for region in regions:
        match = _Match(region, likeness(phrase.text, region))
        if match.likeness > 0:
            matches.append(match)
    if not matches:
        return []
    matches.sort(key=lambda match: (-match.likeness, -effective_score(match.region)))
    best = [match.region for match in matches if match.likeness == matches[0].likeness]
    triplets = []
    for match in matches[: region_count(phrase.text, best)]:
        triplet = Triplet(
            text_id=text.id,
            phrase=phrase.text,
            start=phrase.start,
            end=phrase.end,
            box=match.region.box,
            score=match.region.score,
            phrase_score=match.likeness,
            mask=match.region.mask,
            parents=[text.id, match.region.id],
        )
        triplets.append(triplet)
    return triplets


class MatchGround:
    """Grounds the fresh texts that have no triplets yet."""

    version: ClassVar[int] = 2
    reads_images: ClassVar[bool] = False
    needs: ClassVar[tuple[str, ...]] = ("parsed_texts", "regions")
    gives: ClassVar[tuple[str, ...]] = ("triplets",)

    def __init__(self, config: GroundConfig) -> None:
        self.config = config

    def __call__(self, batch: Batch) -> list[Result]:
        return [Annotations(triplets=self.ground(sample)) for sample in batch]

    def ground(self, sample: Sample) -> list[Triplet]:
        """The triplets of one sample, text by text."""
        kept = sample.annotations.kept()
        regions = []
        for region in kept.regions:
            if effective_score(region) >= self.config.min_score:
                regions.append(region)
        grounded = {triplet.text_id for triplet in kept.triplets}
        triplets: list[Triplet] = []
        for text in kept.texts:
            if not sample.fresh(text) or text.id in grounded or text.parse is None:
                continue
            for phrase in text.parse.noun_phrases:
                triplets += ground(text, phrase, regions)
        return triplets
