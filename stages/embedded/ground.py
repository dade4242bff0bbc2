"""Ties noun phrases to detections by their words. In: texts with their parse, regions. Out: triplets.

A phrase and a region match when their head nouns agree (in singular or plural); `phrase_score` is the share
of words they have in common, `score` the region's own. A singular phrase gets the best region, a counted one
as many as it says, another plural all that match equally well.
"""

from __future__ import annotations

import re
from collections.abc import Sequence
from dataclasses import dataclass
from typing import ClassVar

from pipeline.schema import Annotations, NounPhrase, Region, Text, Triplet
from stages.base import Batch, Result, Sample
from stages.embedded.wording import NUMBERS, PLURALS, name_of, plural
from stages.specialists.work import sureness

IGNORED = frozenset(("a", "an", "the", "many", *NUMBERS))


@dataclass(frozen=True, slots=True, kw_only=True)
class GroundConfig:
    min_score: float = 0.05  # regions below are left alone


def words_of(phrase: str) -> list[str]:
    return [w for w in re.findall(r"[a-z0-9]+", phrase.lower()) if w not in IGNORED]


def likeness(phrase: str, region: Region) -> float:
    """0 when the heads differ, else the shared words over all words of phrase and region name."""
    said, seen = words_of(phrase), words_of(name_of(region))
    if not said or not seen:
        return 0.0
    if said[-1] != seen[-1]:
        if said[-1] not in (plural(seen[-1]), PLURALS.get(seen[-1])):
            return 0.0
        said = [*said[:-1], seen[-1]]
    return len({*said} & {*seen}) / len({*said} | {*seen})


def how_many(phrase: str, regions: Sequence[Region]) -> int:
    """How many regions a phrase speaks of; `regions` are the ones whose heads agree."""
    number = next((NUMBERS.index(w) for w in phrase.lower().split() if w in NUMBERS), None)
    if number is not None:
        return number
    head = words_of(phrase)[-1]
    is_plural = all(words_of(name_of(r))[-1] != head for r in regions)
    return len(regions) if is_plural else 1


def ground(text: Text, phrase: NounPhrase, regions: Sequence[Region]) -> list[Triplet]:
    likes = [(likeness(phrase.text, r), r) for r in regions]
    found = sorted((pair for pair in likes if pair[0] > 0), key=lambda p: (-p[0], -sureness(p[1])))
    if not found:
        return []
    best = [r for like, r in found if like == found[0][0]]
    chosen = found[: how_many(phrase.text, best)]
    return [
        Triplet(
            text_id=text.id,
            phrase=phrase.text,
            start=phrase.start,
            end=phrase.end,
            box=region.box,
            score=region.score,
            phrase_score=like,
            parents=[text.id, region.id],
        )
        for like, region in chosen
    ]


class MatchGround:
    version: ClassVar[int] = 1
    reads_images: ClassVar[bool] = False

    def __init__(self, config: GroundConfig) -> None:
        self.config = config

    def __call__(self, batch: Batch) -> list[Result]:
        return [Annotations(triplets=self.ground(sample)) for sample in batch]

    def ground(self, sample: Sample) -> list[Triplet]:
        """Triplets of the fresh texts that have none yet."""
        kept = sample.annotations.kept()
        regions = [r for r in kept.regions if sureness(r) >= self.config.min_score]
        grounded = {t.text_id for t in kept.triplets}
        return [
            triplet
            for text in kept.texts
            if sample.fresh(text) and text.id not in grounded and text.parse is not None
            for phrase in text.parse.noun_phrases
            for triplet in ground(text, phrase, regions)
        ]
