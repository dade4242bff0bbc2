"""Drops phrase-box pairs that are wrong, uncertain or meaningless.

In: texts and triplets. Out: the dropped triplets, with their reasons.

Paper sections 4.2 and 4.3: one threshold for phrases, one for boxes, and a blacklist of pronouns
and abstract concepts. `blacklist.txt` is the list of the released code, `abstract.txt` is ours.
Phrases are compared with both in lower case, with and without a leading article.
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
from stages.geometry import is_degenerate
from stages.lines import lines_of
from stages.links import TEXT_DROPPED
from stages.ranges import NotNegative, ScoreThreshold, Share

SPAN_MISMATCH = "span_mismatch"
DEGENERATE_BOX = "degenerate_box"
BLACKLISTED = "blacklisted"
LOW_PHRASE_SCORE = "low_phrase_score"
LOW_BOX_SCORE = "low_box_score"
LOW_AGREEMENT = "low_agreement"

ARTICLES = ("a ", "an ", "the ")
# Files beside this one, without `.txt`.
LISTS = ("blacklist", "abstract")


@dataclass(frozen=True, slots=True, kw_only=True)
class TripletFilterConfig:
    min_phrase_score: Share = 0.25
    """Triplets whose phrase has a lower score are dropped."""

    min_box_score: Share = 0.3
    """Triplets whose box has a lower score are dropped."""

    min_box_scores: Mapping[str, ScoreThreshold] = field(default_factory=dict)
    """Thresholds that replace `min_box_score`, by source; 1.1 drops all."""

    min_agreement: Share = 0.0
    """Least share of an ensemble's members that must find the box, 0 to 1."""

    lists: tuple[str, ...] = LISTS
    """Lists of phrases that are not grounded: files of `stages/filters`, without `.txt`."""

    blacklist: tuple[str, ...] = ()
    """Further phrases that are not grounded."""

    min_side: NotNegative = 2.0
    """Boxes with a shorter side are degenerate, in pixels."""

    def __post_init__(self) -> None:
        for name in self.lists:
            read_list(name)


def read_list(name: str) -> frozenset[str]:
    """The phrases of a list in lower case.

    Raises:
        ValueError: no list has this name.
    """
    return frozenset(phrase.lower() for phrase in listed_phrases(name))


def listed_phrases(name: str) -> list[str]:
    """The phrases of a list as they are written; lines that begin with `#` are comments.

    Raises:
        ValueError: no list has this name.
    """
    path = Path(__file__).with_name(f"{name}.txt")
    if not path.is_file():
        names = sorted(file.stem for file in path.parent.glob("*.txt"))
        raise ValueError(f"lists: no phrase list {name!r}; known: {', '.join(names)}")
    lines = lines_of(path.read_bytes())
    return [line for line in lines if line and not line.startswith("#")]


@cache
def blacklist(lists: tuple[str, ...] = LISTS) -> frozenset[str]:
    """The phrases of several lists."""
    phrases: set[str] = set()
    for name in lists:
        phrases |= read_list(name)
    return frozenset(phrases)


def is_blacklisted(phrase: str, listed: frozenset[str]) -> bool:
    """Whether `listed` holds a phrase, with or without its leading article."""
    words = " ".join(phrase.lower().split())
    if words in listed:
        return True
    for article in ARTICLES:
        if words.startswith(article):
            return words.removeprefix(article) in listed
    return False


class TripletFilter:
    """Marks triplets as dropped; human triplets are never dropped."""

    version: ClassVar[int] = 1
    reads_images: ClassVar[bool] = False
    gives: ClassVar[tuple[str, ...]] = ()
    drops: ClassVar[tuple[str, ...]] = ("triplets",)
    decided_by: ClassVar[Mapping[str, str]] = {
        DEGENERATE_BOX: "min_side",
        BLACKLISTED: "lists or blacklist",
        LOW_PHRASE_SCORE: "min_phrase_score",
        LOW_BOX_SCORE: "min_box_score or min_box_scores",
        LOW_AGREEMENT: "min_agreement",
    }

    def __init__(self, config: TripletFilterConfig) -> None:
        self.config = config
        own = frozenset(phrase.lower() for phrase in config.blacklist)
        self.blacklist = own | blacklist(config.lists)

    def __call__(self, batch: Batch) -> list[Result]:
        return [Annotations(triplets=self._dropped(sample.annotations)) for sample in batch]

    def _dropped(self, annotations: Annotations) -> list[Triplet]:
        texts = {text.id: text for text in annotations.texts}
        boxes = np.array([triplet.box for triplet in annotations.triplets]).reshape(-1, 4)
        unusable = is_degenerate(boxes, self.config.min_side).tolist()
        dropped = []
        for triplet, is_unusable in zip(annotations.triplets, unusable, strict=True):
            if triplet.dropped or triplet.locked:
                continue
            reason = self._mismatch(triplet, texts.get(triplet.text_id))
            if not reason and is_unusable:
                reason = DEGENERATE_BOX
            reason = reason or self._doubt(triplet)
            if reason:
                dropped.append(replace(triplet, dropped=reason))
        return dropped

    def _mismatch(self, triplet: Triplet, text: Text | None) -> str | None:
        """Why a triplet does not belong to `text`; None if it does."""
        if text is None or text.dropped:
            return TEXT_DROPPED
        if not triplet.phrase or text.text[triplet.start : triplet.end] != triplet.phrase:
            return SPAN_MISMATCH
        return None

    def _doubt(self, triplet: Triplet) -> str | None:
        """Why a triplet is meaningless or uncertain; None if it is neither."""
        if is_blacklisted(triplet.phrase, self.blacklist):
            return BLACKLISTED
        if triplet.phrase_score is not None and triplet.phrase_score < self.config.min_phrase_score:
            return LOW_PHRASE_SCORE
        if triplet.agreement is not None and triplet.agreement < self.config.min_agreement:
            return LOW_AGREEMENT
        if self._has_low_box_score(triplet):
            return LOW_BOX_SCORE
        return None

    def _has_low_box_score(self, triplet: Triplet) -> bool:
        score = triplet.confidence
        if score is None:
            score = triplet.score
        if score is None:
            return False
        thresholds = self.config.min_box_scores
        return score < thresholds.get(triplet.source, self.config.min_box_score)
