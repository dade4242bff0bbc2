"""Drops phrase-box pairs that are wrong, unsure or empty of meaning. In: texts, triplets. Out: the dropped
triplets.

Paper sections 4.2 and 4.3: one threshold for phrases and one for boxes, and a blacklist of pronouns and
abstract concepts. `blacklist.txt` holds the released code's list, `abstract.txt` ours; both are compared with
the phrase in lower case, with and without a leading article.
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, field, replace
from functools import cache
from pathlib import Path
from typing import ClassVar

import numpy as np

from pipeline.schema import Annotations, Text, Triplet
from stages.base import Batch, Result
from stages.filters.region import is_degenerate

TEXT_DROPPED = "text_dropped"
SPAN_MISMATCH = "span_mismatch"
DEGENERATE_BOX = "degenerate_box"
BLACKLISTED = "blacklisted"
LOW_PHRASE_SCORE = "low_phrase_score"
LOW_BOX_SCORE = "low_box_score"
LOW_AGREEMENT = "low_agreement"

ARTICLES = ("a ", "an ", "the ")
LISTS = ("blacklist", "abstract")  # files beside this one, without .txt


@dataclass(frozen=True, slots=True, kw_only=True)
class TripletFilterConfig:
    min_phrase_score: float = 0.25
    min_box_score: float = 0.3
    # Box thresholds that replace `min_box_score`, by source.
    min_box_scores: Mapping[str, float] = field(default_factory=dict)
    min_agreement: float = 0.0  # share of an ensemble's members that must say the same
    lists: tuple[str, ...] = LISTS
    blacklist: tuple[str, ...] = ()  # further phrases
    min_side: float = 2.0  # pixels


def read_list(name: str) -> frozenset[str]:
    path = Path(__file__).with_name(f"{name}.txt")
    if not path.is_file():
        raise ValueError(
            f"no phrase list {name!r}: there are {sorted(p.stem for p in path.parent.glob('*.txt'))}"
        )
    return frozenset(
        line.lower() for line in path.read_text().splitlines() if line and line[0] != "#"
    )


@cache
def blacklist(lists: tuple[str, ...] = LISTS) -> frozenset[str]:
    return frozenset().union(*(read_list(name) for name in lists))


def is_blacklisted(phrase: str, listed: frozenset[str]) -> bool:
    words = " ".join(phrase.lower().split())
    article = next((a for a in ARTICLES if words.startswith(a)), "")
    return words in listed or words.removeprefix(article) in listed


class TripletFilter:
    version: ClassVar[int] = 1
    reads_images: ClassVar[bool] = False

    def __init__(self, config: TripletFilterConfig) -> None:
        self.config = config
        own = frozenset(phrase.lower() for phrase in config.blacklist)
        self.blacklist = own | blacklist(config.lists)

    def __call__(self, batch: Batch) -> list[Result]:
        return [Annotations(triplets=self._drop(sample.annotations)) for sample in batch]

    def _drop(self, annotations: Annotations) -> list[Triplet]:
        texts = {t.id: t for t in annotations.texts}
        reasons = [
            None if t.dropped or t.locked else self.drop_reason(t, texts.get(t.text_id))
            for t in annotations.triplets
        ]
        return [
            replace(t, dropped=reason)
            for t, reason in zip(annotations.triplets, reasons, strict=True)
            if reason
        ]

    def drop_reason(self, triplet: Triplet, text: Text | None) -> str | None:
        if text is None or text.dropped:
            return TEXT_DROPPED
        if text.text[triplet.start : triplet.end] != triplet.phrase or not triplet.phrase:
            return SPAN_MISMATCH
        if is_degenerate(np.array([triplet.box]), self.config.min_side)[0]:
            return DEGENERATE_BOX
        if is_blacklisted(triplet.phrase, self.blacklist):
            return BLACKLISTED
        if triplet.phrase_score is not None and triplet.phrase_score < self.config.min_phrase_score:
            return LOW_PHRASE_SCORE
        if triplet.agreement is not None and triplet.agreement < self.config.min_agreement:
            return LOW_AGREEMENT
        score = triplet.confidence if triplet.confidence is not None else triplet.score
        least = self.config.min_box_scores.get(triplet.source, self.config.min_box_score)
        return LOW_BOX_SCORE if score is not None and score < least else None
