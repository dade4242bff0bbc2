"""Detailed texts by a local vision-language model.

In: image. Out: a detailed and a more detailed text.

Paper section 4.3, "Text": the prompts of `endpoint_describe`, answered by any chat model of
`transformers` that sees images (SmolVLM, LLaVA, Qwen-VL, ...). `score` is the geometric mean of the
token probabilities of the greedy answer. A refusal or an answer that was cut off is stored as a
dropped text with its reason.
"""

from __future__ import annotations

from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass, field
from typing import TYPE_CHECKING, ClassVar

import numpy as np

from pipeline.schema import Annotations, Granularity, Text
from stages.base import Batch, Result, StageError
from stages.checkpoints import has_chat_template, kind_of
from stages.hub import local_folder
from stages.specialists.batching import map_batches
from stages.specialists.caption import NEEDS, check_length
from stages.specialists.detailed_texts import (
    PROMPTS,
    Answer,
    check_prompt_names,
    check_prompts,
    judge,
    prompts_without_effect,
)
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

if TYPE_CHECKING:
    import torch

Inputs = Mapping[str, "torch.Tensor"]
"""What a processor makes of one image and one prompt; the first axis of every tensor is the batch.
"""


@dataclass(frozen=True, slots=True, kw_only=True)
class ChatDescribeConfig(PretrainedConfig):
    """Settings of `chat_describe`."""

    rows: int = 4
    """Number of prompts that go through the model at once."""

    granularities: tuple[Granularity, ...] = ("detailed", "more_detailed")
    """The texts to ask for."""

    prompts: Mapping[str, str] = field(default_factory=lambda: dict(PROMPTS))
    """The prompt of each granularity."""

    max_tokens: int = 400
    """Longest answer, in tokens."""

    def __post_init__(self) -> None:
        check_prompt_names(self.prompts)

    def without_effect(self) -> Iterator[str]:
        yield from PretrainedConfig.without_effect(self)
        yield from prompts_without_effect(self.granularities, self.prompts)


@dataclass(frozen=True, slots=True)
class ScoredAnswer:
    """An answer and the geometric mean of its token probabilities (0 to 1)."""

    answer: Answer
    score: float


class ChatDescribe:
    """Asks for the detailed texts that a sample lacks."""

    version: ClassVar[int] = 1
    reads_images: ClassVar[bool] = True
    gives: ClassVar[tuple[str, ...]] = ("texts",)

    def __init__(self, config: ChatDescribeConfig) -> None:
        from transformers import AutoModelForImageTextToText, AutoProcessor

        self.check(config)
        self.config = config
        self.device = choose_device(config)
        self.model = load_pretrained(AutoModelForImageTextToText, config)
        self.processor = load_pretrained(AutoProcessor, config)
        if not getattr(self.processor, "chat_template", None):
            raise wrong_architecture(config, self.model, "a chat model with a chat template")
        probe(config, self._try)

    @staticmethod
    def check(config: ChatDescribeConfig) -> None:
        """See `stages.base.Stage`."""
        check_prompts(config.granularities, config.prompts)
        values = check_pretrained(config, NEEDS)
        folder = local_folder(config.model, config.revision)
        if values and not has_chat_template(folder):
            raise StageError(
                f"{config.model}: it is {kind_of(values)}, this stage needs a chat model with a "
                "chat template"
            )
        check_length(values, config.max_tokens)

    def _try(self) -> None:
        """Ask about a grey image; one token of the answer is enough."""
        inputs = self._prepare(grey_image(), "a dog")
        self._answer_batch([inputs], max_tokens=1)

    def __call__(self, batch: Batch) -> list[Result]:
        questions: list[tuple[int, Granularity]] = []
        inputs = []
        for index, sample in enumerate(batch):
            missing = missing_granularities(sample, self.config.granularities)
            for granularity in missing:
                prompt = self.config.prompts[granularity]
                questions.append((index, granularity))
                inputs.append(self._prepare(sample.pixels, prompt))
        answers = map_batches(inputs, self._answer_batch, self.config.rows, _shapes)

        texts: list[list[Text]] = [[] for _ in batch]
        for (index, granularity), scored in zip(questions, answers, strict=True):
            answer, reason = judge(scored.answer)
            text = Text(
                granularity=granularity,
                text=answer,
                dropped=reason,
                score=scored.score,
            )
            texts[index].append(text)
        return [Annotations(texts=sample_texts) for sample_texts in texts]

    def _prepare(self, image: np.ndarray, prompt: str) -> Inputs:
        """The model's inputs for one question; `image` is (height, width, 3) uint8 RGB."""
        content = [
            {"type": "image", "image": to_pil(image)},
            {"type": "text", "text": prompt},
        ]
        inputs: Inputs = self.processor.apply_chat_template(
            [{"role": "user", "content": content}],
            add_generation_prompt=True,
            tokenize=True,
            return_dict=True,
            return_tensors="pt",
        )
        return inputs

    def _answer_batch(
        self, inputs: Sequence[Inputs], max_tokens: int | None = None
    ) -> list[ScoredAnswer]:
        """The answers to inputs of one shape."""
        import torch

        joined = {}
        for name in inputs[0]:
            joined[name] = torch.cat([each[name] for each in inputs]).to(self.device)
        joined["pixel_values"] = joined["pixel_values"].to(self.model.dtype)
        longest = self.config.max_tokens if max_tokens is None else max_tokens
        generation = generate_greedily(self.model, joined, longest)
        end_tokens = self._end_tokens()
        answers = []
        rows = zip(generation.tokens.tolist(), generation.log_probabilities, strict=True)
        for tokens, log_probabilities in rows:
            length = _answer_length(tokens, end_tokens)
            last_token = tokens[length - 1]
            finish_reason = "stop" if last_token in end_tokens else "length"
            content = self.processor.decode(tokens[:length], skip_special_tokens=True)
            answer = Answer(content, finish_reason)
            score = log_probabilities[:length].mean().exp()
            answers.append(ScoredAnswer(answer, float(score)))
        return answers

    def _end_tokens(self) -> set[int]:
        """The tokens that end an answer."""
        tokens = self.model.generation_config.eos_token_id
        return set(tokens) if isinstance(tokens, list) else {tokens}


def _answer_length(tokens: Sequence[int], end_tokens: set[int]) -> int:
    """Number of tokens up to and including the first end token."""
    for index, token in enumerate(tokens):
        if token in end_tokens:
            return index + 1
    return len(tokens)


def _shapes(inputs: Inputs) -> tuple[tuple[int, ...], ...]:
    """The shape of every input, in the order of their names."""
    return tuple(tuple(inputs[name].shape) for name in sorted(inputs))
