"""Brief texts by a captioning model of `transformers`. In: image. Out: one brief text.

Paper section 4.3, "Text". Any image-to-text checkpoint will do (BLIP-2, BLIP, ...). `score` is the mean
probability per token of the greedy answer. The same `Captioner` writes the crop captions of `region_text`.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from typing import ClassVar

import numpy as np

from pipeline.schema import Annotations, Text
from stages.base import Batch, Result
from stages.specialists.pretrained import PretrainedConfig, device, load, mapped, picture
from stages.specialists.work import missing


@dataclass(frozen=True, slots=True, kw_only=True)
class CaptionerConfig(PretrainedConfig):
    prompt: str = ""
    max_tokens: int = 40


class Captioner:
    """Greedy captions of images, `rows` at a time."""

    def __init__(self, config: CaptionerConfig) -> None:
        from transformers import AutoModelForImageTextToText, AutoProcessor

        self.config, self.device = config, device(config)
        self.model = load(AutoModelForImageTextToText, config)
        self.processor = load(AutoProcessor, config)

    def __call__(self, images: Sequence[np.ndarray]) -> list[tuple[str, float]]:
        """(text, score) for each image."""
        return mapped(images, self.answer, self.config.rows)

    def answer(self, images: Sequence[np.ndarray]) -> list[tuple[str, float]]:
        import torch

        text = {"text": [self.config.prompt] * len(images)} if self.config.prompt else {}
        inputs = self.processor(
            images=[picture(image) for image in images], return_tensors="pt", **text
        ).to(self.device)
        inputs["pixel_values"] = inputs["pixel_values"].to(self.model.dtype)
        with torch.inference_mode():
            found = self.model.generate(
                **inputs,
                max_new_tokens=self.config.max_tokens,
                do_sample=False,
                num_beams=1,
                return_dict_in_generate=True,
                output_logits=True,
            )
        steps = torch.stack(found.logits, 1).float().log_softmax(-1)
        tokens = found.sequences[:, -steps.shape[1] :]
        chosen = steps.gather(2, tokens[..., None])[..., 0]
        real = tokens != self.model.generation_config.pad_token_id
        means = (chosen * real).sum(1) / real.sum(1).clamp(min=1)
        texts = self.processor.batch_decode(found.sequences, skip_special_tokens=True)
        said = [text.removeprefix(self.config.prompt).strip() for text in texts]
        return list(zip(said, means.exp().tolist(), strict=True))


class PretrainedCaption:
    version: ClassVar[int] = 1
    reads_images: ClassVar[bool] = True

    def __init__(self, config: CaptionerConfig) -> None:
        self.captioner = Captioner(config)

    def __call__(self, batch: Batch) -> list[Result]:
        results: list[Result] = [Annotations() for _ in batch]
        todo = [i for i, sample in enumerate(batch) if missing(sample, ("brief",))]
        for i, (text, score) in zip(
            todo, self.captioner([batch[i].pixels for i in todo]), strict=True
        ):
            if text:
                results[i] = Annotations(texts=[Text(granularity="brief", text=text, score=score)])
        return results
