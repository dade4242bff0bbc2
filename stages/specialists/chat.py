"""Detailed texts by a local vision-language model. In: image. Out: a detailed and a more detailed text.

Paper section 4.3, "Text": the same prompts as `describe`, answered by any chat model of `transformers` that
sees images (SmolVLM, LLaVA, Qwen-VL, ...). `score` is the mean probability per token of the greedy answer. A
refusal or an answer that was cut off is stored as a dropped text with its reason.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from typing import Any, ClassVar

import numpy as np

from pipeline.schema import Annotations, Granularity, Text
from stages.base import Batch, Result
from stages.specialists.describe import PROMPTS, check_prompts, judge
from stages.specialists.pretrained import PretrainedConfig, device, load, mapped, picture
from stages.specialists.work import missing


@dataclass(frozen=True, slots=True, kw_only=True)
class ChatDescribeConfig(PretrainedConfig):
    rows: int = 4
    granularities: tuple[Granularity, ...] = ("detailed", "more_detailed")
    prompts: Mapping[str, str] = field(default_factory=lambda: dict(PROMPTS))
    max_tokens: int = 400


class ChatDescribe:
    version: ClassVar[int] = 1
    reads_images: ClassVar[bool] = True

    def __init__(self, config: ChatDescribeConfig) -> None:
        from transformers import AutoModelForImageTextToText, AutoProcessor

        check_prompts(config.granularities, config.prompts)
        self.config, self.device = config, device(config)
        self.model = load(AutoModelForImageTextToText, config)
        self.processor = load(AutoProcessor, config)

    def __call__(self, batch: Batch) -> list[Result]:
        asked = [
            (i, g)
            for i, sample in enumerate(batch)
            for g in missing(sample, self.config.granularities)
        ]
        inputs = [self.inputs(batch[i].pixels, self.config.prompts[g]) for i, g in asked]
        answers = mapped(inputs, self.answer, self.config.rows, shapes)
        texts: list[list[Text]] = [[] for _ in batch]
        for (i, granularity), (text, reason, score) in zip(asked, answers, strict=True):
            texts[i].append(Text(granularity=granularity, text=text, dropped=reason, score=score))
        return [Annotations(texts=each) for each in texts]

    def inputs(self, image: np.ndarray, prompt: str) -> Mapping[str, Any]:
        content = [{"type": "image", "image": picture(image)}, {"type": "text", "text": prompt}]
        return self.processor.apply_chat_template(
            [{"role": "user", "content": content}],
            add_generation_prompt=True,
            tokenize=True,
            return_dict=True,
            return_tensors="pt",
        )

    def answer(self, inputs: Sequence[Mapping[str, Any]]) -> list[tuple[str, str | None, float]]:
        """(text, why it may not be used, score) of each; the inputs have one shape."""
        import torch

        joined = {name: torch.cat([x[name] for x in inputs]).to(self.device) for name in inputs[0]}
        joined["pixel_values"] = joined["pixel_values"].to(self.model.dtype)
        with torch.inference_mode():
            found = self.model.generate(
                **joined,
                max_new_tokens=self.config.max_tokens,
                do_sample=False,
                num_beams=1,
                return_dict_in_generate=True,
                output_logits=True,
            )
        steps = torch.stack(found.logits, 1).float().log_softmax(-1)
        tokens = found.sequences[:, joined["input_ids"].shape[1] :]
        chosen = steps.gather(2, tokens[..., None])[..., 0]
        answers = []
        for said, beliefs in zip(tokens.tolist(), chosen, strict=True):
            length = next(
                (n + 1 for n, token in enumerate(said) if token in self.ends()), len(said)
            )
            reason = "stop" if said[length - 1] in self.ends() else "length"
            text = self.processor.decode(said[:length], skip_special_tokens=True)
            score = float(beliefs[:length].mean().exp())
            answers.append((*judge({"message": {"content": text}, "finish_reason": reason}), score))
        return answers

    def ends(self) -> set[int]:
        ids = self.model.generation_config.eos_token_id
        return {*ids} if isinstance(ids, list) else {ids}


def shapes(inputs: Mapping[str, Any]) -> tuple[tuple[int, ...], ...]:
    return tuple(tuple(value.shape) for _, value in sorted(inputs.items()))
