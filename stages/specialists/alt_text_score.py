"""How well an alt-text fits its image. In: image, alt-texts. Out: their `score`.

LAION was filtered in this way, by the cosine between CLIP's embeddings of image and text
(https://arxiv.org/abs/2111.02114, section 3: at least 0.3 with ViT-B/32); the paper takes LAION's
images. This takes any two-tower model of `transformers`; the cosines of SigLIP are lower. It only
stores the score: the filter `text_score_filter` decides.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass, replace
from typing import ClassVar

import numpy as np

from pipeline.schema import Annotations, Granularity, Text
from stages.base import Batch, Result, Sample
from stages.specialists.pretrained import PretrainedConfig, check_pretrained
from stages.specialists.score import NEEDS, ImageTextScore, ImageTextScoreConfig


@dataclass(frozen=True, slots=True, kw_only=True)
class AltTextScoreConfig(PretrainedConfig):
    """Settings of `alt_text_score`."""

    template: str = "{}"
    """Text around an alt-text, which replaces the braces."""

    granularities: tuple[Granularity, ...] = ("alt",)
    """Granularities of the texts that get a score, if they have none."""

    def __post_init__(self) -> None:
        if "{}" not in self.template:
            raise ValueError(f"template={self.template}: write {{}} where the text goes")


class AltTextScore:
    """Scores the texts of whole images."""

    version: ClassVar[int] = 1
    reads_images: ClassVar[bool] = True
    needs: ClassVar[tuple[str, ...]] = ("texts",)
    gives: ClassVar[tuple[str, ...]] = ()
    revises: ClassVar[tuple[str, ...]] = ("texts",)

    def __init__(self, config: AltTextScoreConfig) -> None:
        self.config = config
        self._towers = ImageTextScore(
            ImageTextScoreConfig(
                model=config.model,
                revision=config.revision,
                device=config.device,
                dtype=config.dtype,
                rows=config.rows,
                template=config.template,
            )
        )

    @staticmethod
    def check(config: AltTextScoreConfig) -> None:
        """See `stages.base.Stage`."""
        check_pretrained(config, NEEDS)

    def __call__(self, batch: Batch) -> list[Result]:
        texts = [self._unscored(sample) for sample in batch]
        wanted = list(dict.fromkeys(text.text for own in texts for text in own))
        embeddings = dict(zip(wanted, self._towers.embed_texts(wanted), strict=True))
        results: list[Result] = []
        for own, embedding in zip(texts, self._images(batch, texts), strict=True):
            scored = []
            for text in own:
                assert embedding is not None, "an image with texts is embedded"
                cosine = float(embedding @ embeddings[text.text])
                scored.append(replace(text, score=cosine))
            results.append(Annotations(texts=scored))
        return results

    def _unscored(self, sample: Sample) -> list[Text]:
        """The kept machine-made texts of a sample that are wanted and have no score yet."""
        found = []
        for text in sample.annotations.texts:
            is_wanted = text.granularity in self.config.granularities and text.score is None
            if is_wanted and sample.fresh(text) and not text.locked:
                found.append(text)
        return found

    def _images(self, batch: Batch, texts: Sequence[Sequence[Text]]) -> list[np.ndarray | None]:
        """The embedding of each image that has texts, None for the others."""
        places = [place for place, own in enumerate(texts) if own]
        found: list[np.ndarray | None] = [None] * len(batch)
        embedded = self._towers.embed_images([batch[place].pixels for place in places])
        for place, embedding in zip(places, embedded, strict=True):
            found[place] = embedding
        return found
