"""Brief texts by a captioning model of `transformers`.

In: image. Out: one brief text.

Paper section 4.3, "Text". Any image-to-text checkpoint will do (BLIP-2, BLIP, Florence-2, ...).
`score` is the geometric mean of the token probabilities of the greedy answer. `region_text`
captions its crops with the same `Captioner`.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from typing import ClassVar

import numpy as np

from pipeline.schema import Annotations, Text
from stages.base import Batch, Result
from stages.specialists.batching import map_batches
from stages.specialists.generation import generate_greedily
from stages.specialists.images import to_pil
from stages.specialists.pretrained import (
    PretrainedConfig,
    choose_device,
    load_pretrained,
    wrong_architecture,
)
from stages.specialists.selection import missing_granularities


@dataclass(frozen=True, slots=True, kw_only=True)
class CaptionerConfig(PretrainedConfig):
    """Settings of `pretrained_caption`."""

    prompt: str = ""
    """Text that the model gets with each image, such as `<CAPTION>` for Florence-2."""

    max_tokens: int = 40
    """Longest caption, in tokens."""


@dataclass(frozen=True, slots=True)
class Caption:
    """A caption and the geometric mean of its token probabilities (0 to 1)."""

    text: str
    score: float


class Captioner:
    """Greedy captions of images."""

    def __init__(self, config: CaptionerConfig) -> None:
        from transformers import AutoModelForImageTextToText, AutoProcessor

        self.config = config
        self.device = choose_device(config)
        self.model = load_pretrained(AutoModelForImageTextToText, config)
        self.processor = load_pretrained(AutoProcessor, config)
        self.pad_token = self.model.generation_config.pad_token_id
        if self.pad_token is None:
            needed = "one whose generation config names a pad token"
            raise wrong_architecture(config, self.model, needed)

    def __call__(self, images: Sequence[np.ndarray]) -> list[Caption]:
        """One caption per image, (height, width, 3) uint8 RGB each."""
        return map_batches(images, self._caption_batch, self.config.rows)

    def _caption_batch(self, images: Sequence[np.ndarray]) -> list[Caption]:
        """The captions of images that go through the model at once."""
        prompts = None
        if self.config.prompt:
            prompts = [self.config.prompt] * len(images)
        inputs = self.processor(
            images=[to_pil(image) for image in images],
            text=prompts,
            return_tensors="pt",
        )
        inputs = inputs.to(self.device)
        inputs["pixel_values"] = inputs["pixel_values"].to(self.model.dtype)
        generation = generate_greedily(self.model, inputs, self.config.max_tokens)
        is_token = generation.tokens != self.pad_token
        lengths = is_token.sum(1).clamp(min=1)
        sums = (generation.log_probabilities * is_token).sum(1)
        scores = (sums / lengths).exp()
        texts = self.processor.batch_decode(generation.sequences, skip_special_tokens=True)
        captions = []
        for text, score in zip(texts, scores.tolist(), strict=True):
            # Some models repeat the prompt.
            answer = text.removeprefix(self.config.prompt)
            captions.append(Caption(answer.strip(), score))
        return captions


class PretrainedCaption:
    """Writes the brief text of every sample that has none."""

    version: ClassVar[int] = 1
    reads_images: ClassVar[bool] = True
    gives: ClassVar[tuple[str, ...]] = ("texts",)

    def __init__(self, config: CaptionerConfig) -> None:
        self.captioner = Captioner(config)

    def __call__(self, batch: Batch) -> list[Result]:
        results: list[Result] = [Annotations() for _ in batch]
        uncaptioned = []
        for index, sample in enumerate(batch):
            if missing_granularities(sample, ("brief",)):
                uncaptioned.append(index)
        captions = self.captioner([batch[index].pixels for index in uncaptioned])
        for index, caption in zip(uncaptioned, captions, strict=True):
            if caption.text:
                text = Text(
                    granularity="brief",
                    text=caption.text,
                    score=caption.score,
                )
                results[index] = Annotations(texts=[text])
        return results
