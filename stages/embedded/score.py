"""Picks each region's brief text by how well its words agree with the pixels. In: image, candidates. Out:
`brief`.

Stands in for an image-text model (paper section 4.3): colour and size words can be checked, others cannot. A
candidate starts at 0.5; a colour word moves it by how much of the box has that colour, a size word by whether
it fits, the category by whether it is named; words beyond three weaken it, since there is less to see for
each.
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, replace
from typing import ClassVar

import cv2
import numpy as np

from pipeline.schema import Annotations, Box, Region
from stages.base import Batch, Result, Sample
from stages.embedded.detect import to_lab
from stages.embedded.wording import Style, size_word, style
from stages.embedded.worlds import Colour
from stages.specialists.work import todo

SAMPLES = 48  # a crop is looked at with at most this many pixels a side
FAR = 45.0  # Lab distance at which a pixel has no named colour
CHANCE = 0.25  # share of the box that a colour has without the region being of that colour


@dataclass(frozen=True, slots=True, kw_only=True)
class ScoreConfig:
    style: str = "demo"
    min_score: float = 0.05  # regions below are left alone


def colour_shares(image: np.ndarray, box: Box, colours: Mapping[str, Colour]) -> dict[str, float]:
    """The share of the box that has each colour."""
    x1, y1, x2, y2 = (round(v) for v in box)
    crop = image[y1 : max(y2, y1 + 1), x1 : max(x2, x1 + 1)]
    if not crop.size:
        return dict.fromkeys(colours, 0.0)
    small = (min(SAMPLES, crop.shape[1]), min(SAMPLES, crop.shape[0]))
    lab = to_lab(cv2.resize(crop, small, interpolation=cv2.INTER_AREA)).reshape(-1, 1, 3)
    distance = np.linalg.norm(lab - to_lab(np.array([list(colours.values())]))[0], axis=2)
    nearest, near = distance.argmin(1), distance.min(1) < FAR
    counts = np.bincount(nearest[near], minlength=len(colours))
    return dict(zip(colours, (counts / len(lab)).tolist(), strict=True))


def looks(image: np.ndarray, region: Region, words: Style) -> tuple[dict[str, float], str]:
    """The shares of the colours and the size word."""
    return colour_shares(image, region.box, words.colours), size_word(
        region, max(image.shape[:2]), words
    )


def agreement(text: str, category: str, shares: Mapping[str, float], size: str) -> float:
    """0..1: how well the words of a candidate fit the category, the colours and the size of the box."""
    said = text.lower().split()
    colour = sum(shares[w] - CHANCE for w in dict.fromkeys(said) if w in shares)
    sizes = sum((1 if w == size else -1) for w in said if w in ("small", "large"))
    named = 0.0 if category.lower() in text.lower() else -0.2
    length = 1 + 0.05 * max(0, len(said) - 3)
    return float(np.clip(0.5 + 0.6 * colour + 0.1 * sizes + named, 0, 1)) / length


def choose(region: Region, shares: Mapping[str, float], size: str) -> Region:
    """The region with scored candidates and the best of them (the first of equals) as its brief text."""
    scored = [
        replace(c, score=agreement(c.text, region.phrase, shares, size)) for c in region.candidates
    ]
    best = max(scored, key=lambda c: c.score or 0.0)
    return replace(region, candidates=scored, brief=best.text, brief_kind=best.kind)


class AppearanceScore:
    version: ClassVar[int] = 1
    reads_images: ClassVar[bool] = True

    def __init__(self, config: ScoreConfig) -> None:
        self.config, self.words = config, style(config.style)

    def __call__(self, batch: Batch) -> list[Result]:
        return [Annotations(regions=[self.choose(s, r) for r in self.todo(s)]) for s in batch]

    def todo(self, sample: Sample) -> list[Region]:
        regions = todo(sample, sample.annotations.regions, self.config.min_score)
        return [r for r in regions if r.candidates and r.brief is None]

    def choose(self, sample: Sample, region: Region) -> Region:
        return choose(region, *looks(sample.pixels, region, self.words))
