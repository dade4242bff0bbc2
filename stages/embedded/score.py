"""Picks each region's brief text by how well its words fit the pixels.

In: image, candidates. Out: `brief`.

This stands in for an image-text model (paper section 4.3). It can check words for colours and
sizes, no others. The score of a candidate starts at 0.5. A colour word changes it by the share of
the box that has this colour, a size word by whether it fits, a missing category lowers it. Words
beyond the third lower it, too, because the pixels tell little about them. In photos the mask counts
in place of the box, and only a colour that it is sure of.
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from typing import ClassVar

import cv2
import numpy as np

from pipeline.schema import Annotations, Box, Region
from stages.base import Batch, Result, Sample
from stages.embedded.colours import sure_colours
from stages.embedded.detect import palette_to_lab, to_lab
from stages.embedded.domains import Colour
from stages.embedded.vocabulary import Vocabulary, check_style, size_word, vocabulary
from stages.ranges import Share
from stages.specialists.selection import choose_candidate, needs_choice

MAX_SIDE = 48  # pixels; crops are shrunk to at most this width and height
FAR = 45.0  # Lab distance from which on a pixel has none of the named colours
CHANCE = 0.25  # share of the box that a colour may have by chance, without being the region's


@dataclass(frozen=True, slots=True, kw_only=True)
class ScoreConfig:
    """Settings of `appearance_score`."""

    style: str = "demo"
    """Vocabulary of colours and sizes: `demo` or `photo`."""

    min_score: Share = 0.05
    """Regions with a lower score get no brief text."""

    def __post_init__(self) -> None:
        check_style(self.style)


@dataclass(frozen=True, slots=True)
class Appearance:
    """What can be seen of a region."""

    colour_shares: Mapping[str, float]
    """Share (0 to 1) that each named colour has: of the box, in photos of the mask."""

    size: str
    """'small', 'large' or ''."""


def colour_shares(image: np.ndarray, box: Box, colours: Mapping[str, Colour]) -> dict[str, float]:
    """The share of a box that each colour has, 0 to 1.

    `image` is (height, width, 3) uint8 RGB; the box is xyxy in pixels.
    """
    x1, y1, x2, y2 = (round(edge) for edge in box)
    # At least one pixel.
    x2 = max(x2, x1 + 1)
    y2 = max(y2, y1 + 1)
    crop = image[y1:y2, x1:x2]
    if not crop.size:
        return dict.fromkeys(colours, 0.0)
    height, width = crop.shape[:2]
    size = (min(MAX_SIDE, width), min(MAX_SIDE, height))
    small = cv2.resize(crop, size, interpolation=cv2.INTER_AREA)
    pixels = to_lab(small).reshape(-1, 1, 3)
    distance = np.linalg.norm(pixels - palette_to_lab(colours), axis=2)
    has_colour = distance.min(1) < FAR
    nearest = distance.argmin(1)
    counts = np.bincount(nearest[has_colour], minlength=len(colours))
    shares = counts / len(pixels)
    return dict(zip(colours, shares.tolist(), strict=True))


def appearance_of(image: np.ndarray, region: Region, words: Vocabulary) -> Appearance:
    """The colours and the size of a region of a (height, width, 3) uint8 RGB image."""
    if region.phrase in words.uncoloured:
        shares = dict.fromkeys((*words.colours, *words.shades), 0.0)
    elif words.shades:
        shares = sure_colours(image, region, words.shades)
    else:
        shares = colour_shares(image, region.box, words.colours)
    return Appearance(shares, size_word(region, max(image.shape[:2]), words))


def candidate_score(text: str, category: str, appearance: Appearance) -> float:
    """How well the words of a candidate fit its region, 0 to 1.

    `category` and `appearance` are the region's.
    """
    words = text.lower().split()
    score = 0.5
    colour = 0.0
    for word in dict.fromkeys(words):
        if word in appearance.colour_shares:
            colour += appearance.colour_shares[word] - CHANCE
    score += 0.6 * colour
    size = 0
    for word in words:
        if word in ("small", "large"):
            size += 1 if word == appearance.size else -1
    score += 0.1 * size
    if category.lower() not in text.lower():
        score -= 0.2
    length_penalty = 1 + 0.05 * max(0, len(words) - 3)
    return float(np.clip(score, 0, 1)) / length_penalty


class AppearanceScore:
    """Scores the candidates of every region that has no brief text, and picks the best."""

    version: ClassVar[int] = 2
    reads_images: ClassVar[bool] = True
    needs: ClassVar[tuple[str, ...]] = ("candidate_texts",)
    gives: ClassVar[tuple[str, ...]] = ()
    revises: ClassVar[tuple[str, ...]] = ("regions",)

    def __init__(self, config: ScoreConfig) -> None:
        self.config = config
        self.words = vocabulary(config.style)

    def __call__(self, batch: Batch) -> list[Result]:
        return [self.choose(sample) for sample in batch]

    def choose(self, sample: Sample) -> Annotations:
        """The regions of one sample with their scored candidates and brief texts."""
        chosen = []
        for region in needs_choice(sample, self.config.min_score):
            appearance = appearance_of(sample.pixels, region, self.words)
            scores = []
            for candidate in region.candidates:
                scores.append(candidate_score(candidate.text, region.phrase, appearance))
            chosen.append(choose_candidate(region, scores))
        return Annotations(regions=chosen)
