"""Several sentences from a template.

In: regions, text regions. Out: a detailed and a more detailed text.

The detailed text is the brief sentence, then one sentence for each other group of regions, then
what can be read. The more detailed text adds in which part of the image each region lies.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from statistics import fmean
from typing import ClassVar

from pipeline.schema import Annotation, Annotations, Box, Granularity, Region, Text, TextRegion
from stages.base import Batch, Result, Sample
from stages.embedded.caption import (
    CaptionConfig,
    compose,
    group_by_name,
    name_of_group,
    salient_regions,
)
from stages.embedded.vocabulary import (
    Vocabulary,
    check_style,
    counted,
    existence,
    is_sign,
    lone_verb,
    name_of,
    sentence,
    verb,
    vocabulary,
    with_article,
)
from stages.geometry import bounds
from stages.ranges import Share
from stages.specialists.selection import (
    effective_score,
    missing_granularities,
    was_rejected,
)

ROWS = ("upper", "middle", "lower")
COLUMNS = ("left", "middle", "right")


@dataclass(frozen=True, slots=True, kw_only=True)
class DescribeConfig:
    """Settings of `template_describe`."""

    composes: ClassVar[tuple[str, ...]] = ("regions", "text_regions")

    style: str = "demo"
    """Vocabulary of the sentences: `demo` or `photo`."""

    min_score: Share = 0.3
    """Regions with a lower score are not mentioned."""

    min_text_score: Share = 0.6
    """Text regions with a lower score are not quoted."""

    any_iou: Share = 0.6
    """If two regions overlap more than this IoU, only the one with the higher score is mentioned.
    """

    granularities: tuple[Granularity, ...] = ("detailed",)
    """The texts to write: `detailed`, `more_detailed` or both."""

    def __post_init__(self) -> None:
        check_style(self.style)


def detailed_sentences(
    regions: Sequence[Region], text_regions: Sequence[TextRegion], words: Vocabulary
) -> list[str]:
    """The sentences of the detailed text about salient regions and quoted text regions."""
    signs = [region for region in regions if is_sign(region)]
    shapes = [region for region in regions if not is_sign(region)]
    sentences = []
    if shapes:
        sentences.append(compose(shapes, words))
        sentences += _further_sentences(shapes, words)
    for text_region in text_regions:
        sentences.append(quote(text_region, signs, words))
    return sentences


def _further_sentences(shapes: Sequence[Region], words: Vocabulary) -> list[str]:
    """One sentence for each group after the second, which relates it to the first if it can."""
    groups = group_by_name(shapes, words)
    first = groups[0]
    anchor = f"the {name_of_group(first)}" if len(first) == 1 else "them"
    sentences = []
    for group in groups[2:]:
        subject = counted(name_of_group(group), len(group))
        predicate = verb(words, group, first)
        if predicate:
            sentences.append(sentence(subject, predicate, anchor))
        else:
            sentences.append(existence([subject], len(group)))
    return sentences


def quote(text_region: TextRegion, signs: Sequence[Region], words: Vocabulary) -> str:
    """The sentence about a text region.

    Its subject is the sign that holds the centre of the text, if there is one.
    """
    x1, y1, x2, y2 = bounds(text_region)
    x, y = (x1 + x2) / 2, (y1 + y2) / 2
    subject = "a text"
    for sign in signs:
        left, top, right, bottom = sign.box
        if left <= x <= right and top <= y <= bottom:
            subject = with_article(name_of(sign))
            break
    return sentence(subject, words.sign_verb, text_region.text)


def place(box: Box, size: tuple[int, int]) -> str:
    """Where the centre of a box (xyxy in pixels) lies in a 3 x 3 grid over the image.

    `size` is the image's (width, height) in pixels.
    """
    width, height = size
    x1, y1, x2, y2 = box
    row_index = int(3 * (y1 + y2) / 2 / height)
    column_index = int(3 * (x1 + x2) / 2 / width)
    # A centre on the right or lower edge belongs to the last ninth.
    row = ROWS[min(2, row_index)]
    column = COLUMNS[min(2, column_index)]
    if row == column == "middle":
        return "in the middle"
    return f"in the {row} {column}"


class TemplateDescribe:
    """Writes the detailed texts that a sample lacks."""

    version: ClassVar[int] = 3
    reads_images: ClassVar[bool] = False
    needs: ClassVar[tuple[str, ...]] = ("regions or text_regions",)
    gives: ClassVar[tuple[str, ...]] = ("texts",)

    def __init__(self, config: DescribeConfig) -> None:
        self.config = config
        self.words = vocabulary(config.style)
        self.caption_config = CaptionConfig(
            style=config.style, min_score=config.min_score, any_iou=config.any_iou
        )

    def __call__(self, batch: Batch) -> list[Result]:
        return [Annotations(texts=self.texts(sample)) for sample in batch]

    def texts(self, sample: Sample) -> list[Text]:
        """The missing detailed texts of one sample; none if there is nothing to mention."""
        regions = salient_regions(sample.annotations.regions, self.caption_config)
        quoted = self._quoted(sample)
        sentences = detailed_sentences(regions, quoted, self.words)
        if not sentences:
            return []
        mentioned: list[Annotation] = [*regions, *quoted]
        score = fmean(effective_score(annotation) for annotation in mentioned)
        texts = []
        for granularity in missing_granularities(sample, self.config.granularities):
            written = list(sentences)
            if granularity == "more_detailed":
                written += self._places(regions, sample.size)
            words = " ".join(written)
            if was_rejected(sample, granularity, words):
                continue
            text = Text(
                granularity=granularity,
                text=words,
                score=score,
                parents=[annotation.id for annotation in mentioned],
            )
            texts.append(text)
        return texts

    def _quoted(self, sample: Sample) -> list[TextRegion]:
        """The kept text regions of a sample with a score high enough to be quoted."""
        quoted = []
        for text_region in sample.annotations.text_regions:
            is_certain = effective_score(text_region) >= self.config.min_text_score
            if is_certain and not text_region.dropped:
                quoted.append(text_region)
        return quoted

    def _places(self, regions: Sequence[Region], size: tuple[int, int]) -> list[str]:
        """One sentence for each region: 'The red star sits in the lower left.'"""
        sentences = []
        for region in regions:
            where = place(region.box, size)
            sentences.append(sentence("the", name_of(region), lone_verb(self.words), where))
        return sentences
