"""Drops texts of whole images that fit their image too little. In: texts with a score.

The score is that of `alt_text_score`: the cosine between the embeddings of text and image, as LAION
was filtered (https://arxiv.org/abs/2111.02114). What is a good least score depends on the model:
`fld audit sample` shows texts to judge. A text without a score is kept.
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from typing import ClassVar

from pipeline.schema import Granularity, Text
from stages.base import Batch, Result
from stages.filters.text import dropped_texts
from stages.ranges import Cosine

LOW_IMAGE_TEXT_SCORE = "low_image_text_score"


@dataclass(frozen=True, slots=True, kw_only=True)
class TextScoreFilterConfig:
    min_score: Cosine
    """Least score of a text: a cosine, -1 to 1. For CLIP ViT-B/32 LAION took 0.3."""

    granularities: tuple[Granularity, ...] = ("alt",)
    """Granularities of the texts that are judged."""


def drop_reason(text: Text, min_score: float) -> str | None:
    """Why a text is dropped; None if it is kept."""
    if text.score is not None and text.score < min_score:
        return LOW_IMAGE_TEXT_SCORE
    return None


class TextScoreFilter:
    """Marks texts as dropped; human texts are never dropped."""

    version: ClassVar[int] = 1
    reads_images: ClassVar[bool] = False
    needs: ClassVar[tuple[str, ...]] = ("texts",)
    gives: ClassVar[tuple[str, ...]] = ()
    drops: ClassVar[tuple[str, ...]] = ("texts",)
    decided_by: ClassVar[Mapping[str, str]] = {LOW_IMAGE_TEXT_SCORE: "min_score"}

    def __init__(self, config: TextScoreFilterConfig) -> None:
        self.config = config

    def __call__(self, batch: Batch) -> list[Result]:
        return [dropped_texts(sample.annotations.texts, self._reason) for sample in batch]

    def _reason(self, text: Text) -> str | None:
        if text.granularity not in self.config.granularities:
            return None
        return drop_reason(text, self.config.min_score)
