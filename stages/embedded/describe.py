"""Several sentences from a template. In: regions, text regions. Out: a detailed and a more detailed text.

The detailed text is the brief one, where every other region stands, and what can be read. The more detailed
one adds in which part of the image each region lies.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from statistics import fmean
from typing import ClassVar

from pipeline.schema import Annotations, Box, Granularity, Region, Text, TextRegion
from stages.base import Batch, Result, Sample
from stages.embedded.caption import CaptionConfig, compose, kinds, salient
from stages.embedded.wording import (
    Style,
    counted,
    is_sign,
    name_of,
    sentence,
    style,
    verb,
    with_article,
)
from stages.geometry import bounds
from stages.specialists.work import missing, sureness


@dataclass(frozen=True, slots=True, kw_only=True)
class DescribeConfig:
    style: str = "demo"
    min_score: float = 0.3  # regions below are not spoken of
    min_text_score: float = 0.6  # text regions below are not quoted
    any_iou: float = 0.6  # of regions that overlap more, the surer one is spoken of
    granularities: tuple[Granularity, ...] = ("detailed",)


def describe(
    regions: Sequence[Region], text_regions: Sequence[TextRegion], words: Style
) -> list[str]:
    shapes = [r for r in regions if not is_sign(r)]
    groups = kinds(shapes)
    first = groups[0] if groups else []
    anchor = f"the {name_of(first[0])}" if len(first) == 1 else "them"
    others = [
        sentence(counted(name_of(g[0]), len(g)), verb(words, g[0], first[0], len(g)), anchor)
        for g in groups[2:]
    ]
    signs = [r for r in regions if is_sign(r)]
    brief = compose(shapes, words)
    return [brief] * bool(brief) + others + [quote(text, signs, words) for text in text_regions]


def quote(text: TextRegion, signs: Sequence[Region], words: Style) -> str:
    """What is read, on the sign that holds the middle of the text or on none."""
    box = bounds(text)
    x, y = (box[0] + box[2]) / 2, (box[1] + box[3]) / 2
    sign = next((s for s in signs if s.box[0] <= x <= s.box[2] and s.box[1] <= y <= s.box[3]), None)
    subject = with_article(name_of(sign)) if sign else "a text"
    return sentence(subject, words.sign_verb, text.text)


def place(box: Box, size: tuple[int, int]) -> str:
    """The ninth of the image in which the box has its centre."""
    row = ("upper", "middle", "lower")[min(2, int(3 * (box[1] + box[3]) / 2 / size[1]))]
    column = ("left", "middle", "right")[min(2, int(3 * (box[0] + box[2]) / 2 / size[0]))]
    return "in the middle" if row == column == "middle" else f"in the {row} {column}"


class TemplateDescribe:
    version: ClassVar[int] = 1
    reads_images: ClassVar[bool] = False

    def __init__(self, config: DescribeConfig) -> None:
        self.config, self.words = config, style(config.style)
        self.spoken = CaptionConfig(
            style=config.style, min_score=config.min_score, any_iou=config.any_iou
        )

    def __call__(self, batch: Batch) -> list[Result]:
        return [Annotations(texts=self.texts(sample)) for sample in batch]

    def texts(self, sample: Sample) -> list[Text]:
        regions = salient(sample.annotations.regions, self.spoken)
        read = [
            t
            for t in sample.annotations.text_regions
            if not t.dropped and sureness(t) >= self.config.min_text_score
        ]
        sentences = describe(regions, read, self.words)
        if not sentences:
            return []
        places = [
            sentence(
                "the",
                name_of(r),
                self.words.relations["beside"].split()[0],
                place(r.box, sample.size),
            )
            for r in regions
        ]
        score = fmean(sureness(item) for item in (*regions, *read))
        full = {"detailed": sentences, "more_detailed": [*sentences, *places]}
        return [
            Text(granularity=g, text=" ".join(full[g]), score=score)
            for g in missing(sample, self.config.granularities)
        ]
