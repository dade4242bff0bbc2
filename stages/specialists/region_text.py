"""Candidate texts of each region. In: image, regions. Out: `candidates`: category, crop caption, noun chunks.

Paper section 4.3: the crop goes to a captioner, and a scorer (the stage after this) picks among the three
kinds. Without a captioning model the caption is composed: the crop's main colour, its size and its category,
and what overlaps it.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass, replace
from typing import ClassVar

import numpy as np

from pipeline.schema import Annotations, Candidate, Region
from stages.base import Batch, Result, Sample
from stages.embedded.score import CHANCE, looks
from stages.embedded.wording import Style, style, verb, with_article
from stages.filters.language import ParseConfig, parse
from stages.filters.triplet import blacklist, is_blacklisted
from stages.geometry import box_iou
from stages.specialists.caption import Captioner, CaptionerConfig
from stages.specialists.pretrained import crop
from stages.specialists.work import todo

ARTICLES = ("a", "an", "the")


@dataclass(frozen=True, slots=True, kw_only=True)
class RegionTextConfig(CaptionerConfig):
    """Without a `model` the captions are composed in the words of `style`."""

    style: str = "demo"
    context: float = 0.1  # margin of the crop, as a share of the box's sides
    min_score: float = 0.05  # regions below are left alone: they cost more than they are worth
    language_model: str = ParseConfig().model


def appearance(image: np.ndarray, region: Region, words: Style) -> str:
    """Size, main colour and category."""
    shares, size = looks(image, region, words)
    colour = max(shares, key=shares.__getitem__)
    is_seen = shares[colour] > CHANCE and region.phrase not in words.uncoloured
    parts = (size, colour if is_seen else "", region.phrase)
    return " ".join(part for part in parts if part)


def crop_captions(image: np.ndarray, regions: Sequence[Region], words: Style) -> list[str]:
    """What each region is, and what it does to the one that overlaps it most, if any."""
    names = [appearance(image, region, words) for region in regions]
    boxes = np.array([r.box for r in regions]).reshape(-1, 4)
    overlap = box_iou(boxes, boxes)
    np.fill_diagonal(overlap, 0)
    captions = []
    for i, region in enumerate(regions):
        other = int(overlap[i].argmax())
        if overlap[i, other] <= 0:
            captions.append(with_article(names[i]))
            continue
        captions.append(
            f"{with_article(names[i])} {verb(words, region, regions[other])} {with_article(names[other])}"
        )
    return captions


def candidates(phrase: str, caption: str, chunks: Sequence[str]) -> list[Candidate]:
    """The distinct candidates without leading articles: category, noun chunks that name a thing, whole
    caption.
    """
    named = [_without_article(chunk) for chunk in chunks if not is_blacklisted(chunk, blacklist())]
    found = [Candidate(text=phrase, kind="phrase")]
    found += [Candidate(text=chunk, kind="chunk") for chunk in named]
    found.append(Candidate(text=_without_article(caption), kind="caption"))
    distinct: dict[str, Candidate] = {}
    for candidate in found:
        distinct.setdefault(candidate.text, candidate)
    return [c for c in distinct.values() if c.text]


def _without_article(phrase: str) -> str:
    first, _, rest = phrase.partition(" ")
    return rest if first.lower() in ARTICLES else phrase


class RegionText:
    version: ClassVar[int] = 1
    reads_images: ClassVar[bool] = True

    def __init__(self, config: RegionTextConfig) -> None:
        self.config, self.words = config, style(config.style)
        self.captioner = Captioner(config) if config.model else None
        self.language = ParseConfig(model=config.language_model)

    def __call__(self, batch: Batch) -> list[Result]:
        todo = [self.todo(sample) for sample in batch]
        captions = self.captions(batch, todo)
        parses = iter(parse((c for per_sample in captions for c in per_sample), self.language))
        return [
            Annotations(
                regions=[
                    replace(
                        r,
                        candidates=candidates(
                            r.phrase, c, [p.text for p in next(parses).noun_phrases]
                        ),
                    )
                    for r, c in zip(regions, texts, strict=True)
                ]
            )
            for regions, texts in zip(todo, captions, strict=True)
        ]

    def captions(self, batch: Batch, todo: Sequence[Sequence[Region]]) -> list[list[str]]:
        pairs = list(zip(batch, todo, strict=True))
        if self.captioner is None:
            return [crop_captions(sample.pixels, regions, self.words) for sample, regions in pairs]
        crops = [
            crop(s.pixels, r.box, self.config.context) for s, regions in pairs for r in regions
        ]
        answers = iter(self.captioner(crops))
        return [[next(answers)[0].rstrip(".") for _ in regions] for regions in todo]

    def todo(self, sample: Sample) -> list[Region]:
        regions = todo(sample, sample.annotations.regions, self.config.min_score)
        return [r for r in regions if not r.candidates and r.brief is None]
