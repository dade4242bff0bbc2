"""Candidate texts of each region.

In: image, regions. Out: `candidates`: category, crop caption, noun chunks.

Paper section 4.3: a captioner describes the crop, and a scorer (the next stage) picks among the
three kinds. Without a captioning model, the caption is composed from the crop's main colour, its
size, its category, and the region that overlaps it most. In photos the colour comes from the mask,
and colour and relation are left out where they are not sure.
"""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from dataclasses import dataclass, replace
from typing import ClassVar

import numpy as np

from pipeline.schema import Annotations, Candidate, Region
from stages.base import Batch, Result, Sample, no_effect
from stages.embedded.score import CHANCE, appearance_of
from stages.embedded.vocabulary import Vocabulary, check_style, verb, vocabulary, with_article
from stages.filters import language
from stages.filters.language import ParseConfig
from stages.filters.triplet import blacklist, is_blacklisted
from stages.geometry import box_iou
from stages.ranges import Share
from stages.specialists.caption import Captioner, CaptionerConfig, check_captioner
from stages.specialists.images import crop_box
from stages.specialists.selection import select_fresh

ARTICLES = ("a", "an", "the")


@dataclass(frozen=True, slots=True, kw_only=True)
class RegionTextConfig(CaptionerConfig):
    """Settings of `region_text`.

    Without a `model`, captions are composed in the words of `style`.
    """

    style: str = "demo"
    """Vocabulary of composed captions: `demo` or `photo`."""

    context: float = 0.1
    """Margin of the crop on each side, as a share of the box's side."""

    min_score: Share = 0.05
    """Regions with a lower score get no candidates."""

    language_model: str = ParseConfig().model
    """Installed spaCy package that finds the noun chunks."""

    def __post_init__(self) -> None:
        check_style(self.style)

    def without_effect(self) -> Iterator[str]:
        if self.model:
            reason = "model writes the captions; leave model out to compose them"
            yield from no_effect(self, ("style",), reason)
            yield from CaptionerConfig.without_effect(self)
        else:
            reason = "captions are composed; set model to let a model write them"
            names = ("revision", "device", "dtype", "rows", "prompt", "max_tokens")
            yield from no_effect(self, names, reason)


def name_with_appearance(image: np.ndarray, region: Region, words: Vocabulary) -> str:
    """Size, main colour and category of a region of a (height, width, 3) uint8 RGB image."""
    appearance = appearance_of(image, region, words)
    shares = appearance.colour_shares
    colour = max(shares, key=shares.__getitem__)
    parts = []
    if appearance.size:
        parts.append(appearance.size)
    if shares[colour] > CHANCE and region.phrase not in words.uncoloured:
        parts.append(colour)
    if region.phrase:
        parts.append(region.phrase)
    return " ".join(parts)


def compose_captions(image: np.ndarray, regions: Sequence[Region], words: Vocabulary) -> list[str]:
    """One caption per region of a (height, width, 3) uint8 RGB image.

    It names the region, and how it relates to the region that overlaps it most, if that can be
    said.
    """
    names = []
    for region in regions:
        name = name_with_appearance(image, region, words)
        names.append(with_article(name))
    boxes = np.array([region.box for region in regions]).reshape(-1, 4)
    overlap = box_iou(boxes, boxes)
    np.fill_diagonal(overlap, 0)
    captions = []
    for index, region in enumerate(regions):
        other = int(overlap[index].argmax())
        relation = ""
        if overlap[index, other] > 0:
            relation = verb(words, [region], [regions[other]])
        if relation:
            captions.append(f"{names[index]} {relation} {names[other]}")
        else:
            captions.append(names[index])
    return captions


def distinct_candidates(phrase: str, caption: str, chunks: Sequence[str]) -> list[Candidate]:
    """The candidate texts of a region, without leading articles.

    They are the category, the noun chunks that name an object, and the whole caption. Of equal
    texts the first is kept.
    """
    candidates = [Candidate(text=phrase, kind="phrase")]
    for chunk in chunks:
        if not is_blacklisted(chunk, blacklist()):
            candidates.append(Candidate(text=_without_article(chunk), kind="chunk"))
    candidates.append(Candidate(text=_without_article(caption), kind="caption"))
    distinct: dict[str, Candidate] = {}
    for candidate in candidates:
        if candidate.text:
            distinct.setdefault(candidate.text, candidate)
    return list(distinct.values())


def _without_article(phrase: str) -> str:
    """The phrase without its leading article."""
    first, _, rest = phrase.partition(" ")
    return rest if first.lower() in ARTICLES else phrase


class RegionText:
    """Adds candidates to the regions that have none."""

    version: ClassVar[int] = 2
    reads_images: ClassVar[bool] = True
    needs: ClassVar[tuple[str, ...]] = ("regions",)
    gives: ClassVar[tuple[str, ...]] = ("candidate_texts",)
    revises: ClassVar[tuple[str, ...]] = ("regions",)

    def __init__(self, config: RegionTextConfig) -> None:
        self.config = config
        self.words = vocabulary(config.style)
        self.captioner = Captioner(config) if config.model else None
        self.parse_config = ParseConfig(model=config.language_model)
        # Now, because a language model that is not installed is no sample's fault.
        language.load(config.language_model)

    @staticmethod
    def check(config: RegionTextConfig) -> None:
        """See `stages.base.Stage`."""
        if config.model:
            check_captioner(config)

    def __call__(self, batch: Batch) -> list[Result]:
        regions = [self._without_candidates(sample) for sample in batch]
        captions = self._captions(batch, regions)
        all_captions: list[str] = []
        for sample_captions in captions:
            all_captions += sample_captions
        parses = iter(language.parse(all_captions, self.parse_config))
        results: list[Result] = []
        for sample_regions, sample_captions in zip(regions, captions, strict=True):
            revised = []
            for region, caption in zip(sample_regions, sample_captions, strict=True):
                chunks = [phrase.text for phrase in next(parses).noun_phrases]
                candidates = distinct_candidates(region.phrase, caption, chunks)
                revised.append(replace(region, candidates=candidates))
            results.append(Annotations(regions=revised))
        return results

    def _without_candidates(self, sample: Sample) -> list[Region]:
        """The fresh regions of a sample that have neither candidates nor a brief text."""
        regions = []
        fresh = select_fresh(sample, sample.annotations.regions, self.config.min_score)
        for region in fresh:
            if not region.candidates and region.brief is None:
                regions.append(region)
        return regions

    def _captions(self, batch: Batch, regions: Sequence[Sequence[Region]]) -> list[list[str]]:
        """One caption for each of the `regions` of each sample."""
        if self.captioner is None:
            composed = []
            for sample, sample_regions in zip(batch, regions, strict=True):
                captions = compose_captions(sample.pixels, sample_regions, self.words)
                composed.append(captions)
            return composed
        crops = []
        for sample, sample_regions in zip(batch, regions, strict=True):
            for region in sample_regions:
                crop = crop_box(sample.pixels, region.box, self.config.context)
                crops.append(crop)
        crop_captions = iter(self.captioner(crops))
        written = []
        for sample_regions in regions:
            captions = []
            for _ in sample_regions:
                caption = next(crop_captions)
                captions.append(caption.text.rstrip("."))
            written.append(captions)
        return written
