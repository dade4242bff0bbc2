"""How fast inference is beside plain `transformers`, both sides measured in one run.

Our side: all tasks of all images from one vision pass and in one batch of rows. The baseline:
`generate` task by task on the same images. The lengths of the answers are forced, because the
weights are random. On a GPU use `device=cuda dtype=bfloat16 images=N baseline_batch=M`, with N and
M as large as is best for each side.
"""

from __future__ import annotations

from collections.abc import Sequence

import numpy as np

from stages.florence import forward
from stages.florence.bench import (
    MAX_PROMPT_TOKENS,
    PHRASE,
    BenchConfig,
    compare,
    random_florence,
    random_images,
    settings,
    timed,
)
from stages.florence.generation import Question
from stages.florence.images import pixel_values
from stages.florence.inference import FlorenceInference
from stages.florence.model import Florence
from stages.florence.tasks import TASKS


def inference(config: BenchConfig) -> dict[str, object]:
    """Compare inference with `generate` of `transformers`.

    Returns:
        `ratio` of our speed to the baseline's, both speeds in images per second, the share of rows
        whose tokens are equal, the shares of our time that each part of the model takes, and the
        settings.
    """
    import torch

    torch.set_num_threads(config.threads)
    florence = random_florence(config)
    images = random_images(config.images, config.resolution)
    questions = _questions(config)
    model = FlorenceInference(florence, config.resolution, rows=len(questions))

    def ours() -> list[list[int]]:
        answers = model.answer(model.encode_images(images), questions)
        return [tokens.ids for tokens in answers]

    def baseline() -> list[list[int]]:
        batch = config.baseline_batch or len(images)
        answers = []
        for token, length in config.lengths.items():
            for start in range(0, len(images), batch):
                some = images[start : start + batch]
                answers += generate(florence, some, _prompt(token), length, config.resolution)
        return answers

    result = compare(config, ours, baseline)
    equal = [a == b for a, b in zip(result.ours, result.baseline, strict=True)]
    return {
        "name": "florence-inference",
        "ratio": result.baseline_seconds / result.ours_seconds,
        "images_per_second": len(images) / result.ours_seconds,
        "baseline_images_per_second": len(images) / result.baseline_seconds,
        "tokens_equal": sum(equal) / len(equal),
        "shares": time_shares(model, images, questions),
        "settings": settings(config),
    }


def _prompt(token: str) -> str:
    return TASKS[token].prompt.format(input=PHRASE)


def _questions(config: BenchConfig) -> list[Question]:
    """All tasks of all images, task by task."""
    questions = []
    for token, length in config.lengths.items():
        for i in range(config.images):
            question = Question(i, _prompt(token), max_tokens=length, min_tokens=length)
            questions.append(question)
    return questions


def time_shares(
    model: FlorenceInference,
    images: Sequence[np.ndarray],
    questions: Sequence[Question],
) -> dict[str, float]:
    """Return the shares of our time that vision tower, encoder and decoder take; they sum to 1.

    `images` are (height, width, 3), uint8, RGB.
    """
    import torch

    florence = model.florence
    device = florence.device.type
    numbers = [question.image for question in questions]
    prompts = forward.tokenise(
        florence, [question.prompt for question in questions], model.max_prompt_tokens
    )
    with torch.inference_mode():
        vision, features = timed(device, lambda: model.encode_images(images))
        encoder, _ = timed(
            device, lambda: forward.encode_prompts(florence, features, numbers, prompts)
        )
        both, _ = timed(device, lambda: model.answer(features, questions))
    parts = {"vision": vision, "encoder": encoder, "decoder": max(both - encoder, 0.0)}
    total = sum(parts.values())
    return {name: round(seconds / total, 3) for name, seconds in parts.items()}


def generate(
    florence: Florence,
    images: Sequence[np.ndarray],
    prompt: str,
    length: int,
    resolution: int,
) -> list[list[int]]:
    """Return the ids that plain `generate` answers, after the start token and `<s>`.

    `images` are (height, width, 3), uint8, RGB; each answer has `length` tokens.
    """
    import torch

    model = florence.model
    values = pixel_values(images, resolution).to(model.device, model.dtype)
    strides = model.model.vision_tower.config.patch_stride
    side = resolution // int(np.prod(strides))
    image_tokens = [model.config.image_token_id] * (side * side + 1)
    row = image_tokens + forward.tokenise(florence, [prompt], MAX_PROMPT_TOKENS)[0]
    new_tokens = length + 1  # the forced <s> counts
    output = model.generate(
        input_ids=torch.tensor([row] * len(images), device=model.device),
        pixel_values=values,
        num_beams=1,
        do_sample=False,
        no_repeat_ngram_size=0,
        forced_eos_token_id=None,
        min_new_tokens=new_tokens,
        max_new_tokens=new_tokens,
    )
    return [ids[2:] for ids in output.tolist()]
