"""Brief texts by a captioning model of `transformers`.

In: image. Out: one brief text.

Paper section 4.3, "Text". Any image-to-text checkpoint will do (BLIP-2, BLIP, Florence-2, ...).
`score` is the geometric mean of the token probabilities of the greedy answer. `region_text`
captions its crops with the same `Captioner`.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any, ClassVar

import numpy as np

from pipeline.schema import Annotations, Text
from stages.base import Batch, Result, StageError
from stages.checkpoints import CheckpointNeeds
from stages.specialists.batching import map_batches
from stages.specialists.generation import generate_greedily
from stages.specialists.images import grey_image, to_pil
from stages.specialists.pretrained import (
    PretrainedConfig,
    check_pretrained,
    choose_device,
    load_pretrained,
    probe,
    wrong_architecture,
)
from stages.specialists.selection import missing_granularities

NEEDS = CheckpointNeeds(
    "a captioner such as Florence-2 or BLIP-2",
    lambda config: "vision_config" in config and "text_config" in config,
    tokenizer=True,
)


@dataclass(frozen=True, slots=True, kw_only=True)
class CaptionerConfig(PretrainedConfig):
    """Settings of `pretrained_caption`."""

    prompt: str = ""
    """Text that the model gets with each image, such as `<CAPTION>` for Florence-2."""

    max_tokens: int = 40
    """Longest caption, in tokens."""


def check_captioner(config: CaptionerConfig) -> None:
    """Check the checkpoint of a captioner without loading it.

    Raises:
        StageError: it is no captioner, is not complete, or writes no captions of this length.
    """
    values = check_pretrained(config, NEEDS)
    check_length(values, config.max_tokens)


def check_length(values: dict[str, Any], max_tokens: int) -> None:
    """Check that a model, by its config.json, can write so many tokens.

    Raises:
        StageError: it has fewer positions.
    """
    positions = values.get("text_config", {}).get("max_position_embeddings")
    if positions is not None and max_tokens >= positions:
        raise StageError(
            f"max_tokens={max_tokens}: the model has {positions} positions for tokens; give less"
        )


@dataclass(frozen=True, slots=True)
class Caption:
    """A caption and the geometric mean of its token probabilities (0 to 1)."""

    text: str
    score: float


class Captioner:
    """Greedy captions of images."""

    def __init__(self, config: CaptionerConfig) -> None:
        from transformers import AutoModelForImageTextToText, AutoProcessor

        check_captioner(config)
        self.config = config
        self.device = choose_device(config)
        self.model = load_pretrained(AutoModelForImageTextToText, config)
        self.processor = load_pretrained(AutoProcessor, config)
        self.pad_token = self.model.generation_config.pad_token_id
        if self.pad_token is None:
            needed = "one whose generation config names a pad token"
            raise wrong_architecture(config, self.model, needed)
        # One token of the caption is enough.
        probe(config, lambda: self._write([grey_image()], 1))

    def __call__(self, images: Sequence[np.ndarray]) -> list[Caption]:
        """One caption per image, (height, width, 3) uint8 RGB each."""
        return map_batches(images, self._caption_batch, self.config.rows)

    def _caption_batch(self, images: Sequence[np.ndarray]) -> list[Caption]:
        """The captions of images that go through the model at once."""
        return self._write(images, self.config.max_tokens)

    def _write(self, images: Sequence[np.ndarray], max_tokens: int) -> list[Caption]:
        """Captions of at most `max_tokens` tokens."""
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
        generation = generate_greedily(self.model, inputs, max_tokens)
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

    @staticmethod
    def check(config: CaptionerConfig) -> None:
        """See `stages.base.Stage`."""
        check_captioner(config)

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
