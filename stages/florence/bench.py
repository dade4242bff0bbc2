"""How fast inference and training are beside plain `transformers`, both sides measured in one run.

`inference`: all tasks of all images from one vision pass and in one batch of rows, against
`generate` task by task on the same images; and where our time goes. `training`: one step over
several targets of each image, against the same rows with the image repeated.

The sides take turns, and their median times are compared. The lengths of the answers are forced,
because the weights are random. On a GPU use `device=cuda dtype=bfloat16 images=N baseline_batch=M`,
with N and M as large as is best for each side.
"""

from __future__ import annotations

import statistics
import time
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, field, fields
from typing import Any, Generic, TypeVar

import numpy as np

from stages.florence import forward
from stages.florence.generation import Question
from stages.florence.images import pixel_values
from stages.florence.inference import FlorenceInference
from stages.florence.model import Florence, create, move_to_device
from stages.florence.tasks import TASKS
from stages.florence.tokenizer import BOS, EOS, make_tokenizer

LENGTHS = {
    "<CAPTION>": 16,
    "<DETAILED_CAPTION>": 48,
    "<MORE_DETAILED_CAPTION>": 96,
    "<OD>": 64,
    "<DENSE_REGION_CAPTION>": 96,
    "<REGION_PROPOSAL>": 64,
    "<OCR_WITH_REGION>": 96,
    "<CAPTION_TO_PHRASE_GROUNDING>": 32,
}
_PHRASE = "A green car."  # the input of prompts that have one
_MAX_PROMPT_TOKENS = 256
T = TypeVar("T")


@dataclass(frozen=True, slots=True, kw_only=True)
class BenchConfig:
    """Size of the model and of the work."""

    size: str = "base"
    """Size of the model: nano, base or large."""

    vocabulary: int = 51_328
    """Tokens of the vocabulary; the published ids and `<image>` fill blocks of 64."""

    resolution: int = 768
    """Side of the square images, in pixels."""

    images: int = 4
    """Images of a batch."""

    baseline_batch: int = 0
    """Images that the baseline of inference takes at once; 0 takes all."""

    repeats: int = 3
    """Measurements of each side; the first is left out if there are more."""

    threads: int = 2
    """Threads of torch."""

    device: str = "cpu"
    """Where both sides run: cpu, cuda or auto."""

    dtype: str = "float32"
    """Number format of the weights."""

    lengths: Mapping[str, int] = field(default_factory=lambda: dict(LENGTHS))
    """Tokens of the answer to each task."""


@dataclass(frozen=True, slots=True, kw_only=True)
class TrainingConfig(BenchConfig):
    """The same for training.

    There is one image, because the baseline keeps the activations of a vision pass for each target:
    several GB.
    """

    resolution: int = 384
    """Side of the square images, in pixels."""

    images: int = 1
    """Images of a step."""


@dataclass(frozen=True, slots=True)
class Comparison(Generic[T]):
    """Two sides that took turns."""

    ours_seconds: float
    """Median time of our side."""

    baseline_seconds: float
    """Median time of the baseline."""

    ours: T
    """Last result of our side."""

    baseline: T
    """Last result of the baseline."""


def inference(config: BenchConfig) -> dict[str, Any]:
    """Compare the images per second of both sides, and count the rows whose tokens are equal."""
    import torch

    torch.set_num_threads(config.threads)
    florence = random_florence(config)
    images = random_images(config.images, config.resolution)
    prompts = {token: TASKS[token].prompt.format(input=_PHRASE) for token in config.lengths}
    model = FlorenceInference(florence, config.resolution, rows=len(images) * len(prompts))
    questions = []
    for token, prompt in prompts.items():
        length = config.lengths[token]
        for i in range(len(images)):
            questions.append(Question(i, prompt, max_tokens=length, min_tokens=length))

    def ours() -> list[list[int]]:
        answers = model.answer(model.encode_images(images), questions)
        return [tokens.ids for tokens in answers]

    def baseline() -> list[list[int]]:
        batch = config.baseline_batch or len(images)
        answers = []
        for token, prompt in prompts.items():
            for start in range(0, len(images), batch):
                some = images[start : start + batch]
                length = config.lengths[token]
                answers += generate(florence, some, prompt, length, config.resolution)
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


def time_shares(
    model: FlorenceInference, images: Sequence[np.ndarray], questions: Sequence[Question]
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
    florence: Florence, images: Sequence[np.ndarray], prompt: str, length: int, resolution: int
) -> list[list[int]]:
    """Return the ids that plain `generate` answers, after the start token and `<s>`.

    `images` are (height, width, 3), uint8, RGB; each answer has `length` tokens.
    """
    import torch

    model: Any = florence.model
    values = pixel_values(images, resolution).to(model.device, model.dtype)
    side = resolution // int(np.prod(model.config.vision_config.patch_stride))
    image_tokens = [model.config.image_token_id] * (side * side + 1)
    row = image_tokens + forward.tokenise(florence, [prompt], _MAX_PROMPT_TOKENS)[0]
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


def training(config: TrainingConfig) -> dict[str, Any]:
    """Compare the steps (forward and backward) per second of both sides, and their losses."""
    import torch

    torch.set_num_threads(config.threads)
    florence = random_florence(config)
    images = random_images(config.images, config.resolution)
    row_images, prompts, targets = _training_rows(florence, config)
    repeated = [images[i] for i in row_images]

    def step(shown: Sequence[np.ndarray], numbers: Sequence[int]) -> float:
        features = forward.encode_images(florence, shown, config.resolution)
        encoded = forward.encode_prompts(florence, features, numbers, prompts)
        logits, labels = forward.teacher_forced_logits(florence, encoded, targets)
        loss = torch.nn.functional.cross_entropy(logits, labels)
        florence.model.zero_grad()
        loss.backward()
        return loss.item()

    result = compare(
        config, lambda: step(images, row_images), lambda: step(repeated, range(len(repeated)))
    )
    return {
        "name": "florence-training",
        "ratio": result.baseline_seconds / result.ours_seconds,
        "steps_per_second": 1 / result.ours_seconds,
        "baseline_steps_per_second": 1 / result.baseline_seconds,
        "loss_difference": abs(result.ours - result.baseline),
        "settings": settings(config),
    }


def _training_rows(
    florence: Florence, config: TrainingConfig
) -> tuple[list[int], list[list[int]], list[list[int]]]:
    """For each row the number of its image, the ids of its prompt, and those of a random target."""
    draw = np.random.default_rng(0)
    images, prompts, targets = [], [], []
    for i in range(config.images):
        for token, length in config.lengths.items():
            prompt = TASKS[token].prompt.format(input=_PHRASE)
            words = draw.integers(300, 1000, length - 2).tolist()
            images.append(i)
            prompts.append(forward.tokenise(florence, [prompt], _MAX_PROMPT_TOKENS)[0])
            targets.append([BOS, *words, EOS])
    return images, prompts, targets


def random_florence(config: BenchConfig) -> Florence:
    """Create a model of the size with random weights and a small tokenizer, in evaluation mode."""
    words = ["what does the image describe locate the objects"]
    florence = create(config.size, make_tokenizer(words, 320), seed=0)
    florence.model.resize_token_embeddings(config.vocabulary, mean_resizing=False)
    move_to_device(florence, config.device, config.dtype)
    return florence


def random_images(count: int, side: int) -> list[np.ndarray]:
    """Return noise: (side, side, 3), uint8, RGB."""
    draw = np.random.default_rng(0)
    return [draw.integers(0, 256, (side, side, 3), dtype=np.uint8) for _ in range(count)]


def compare(config: BenchConfig, ours: Callable[[], T], baseline: Callable[[], T]) -> Comparison[T]:
    """Run both sides in turns and take the median of their times."""
    ours_times: list[float] = []
    baseline_times: list[float] = []
    for _ in range(config.repeats):
        seconds, ours_result = timed(config.device, ours)
        ours_times.append(seconds)
        seconds, baseline_result = timed(config.device, baseline)
        baseline_times.append(seconds)
    # The first, cold measurement is left out if there are others.
    first = 1 if config.repeats > 1 else 0
    return Comparison(
        statistics.median(ours_times[first:]),
        statistics.median(baseline_times[first:]),
        ours_result,
        baseline_result,
    )


def timed(device: str, work: Callable[[], T]) -> tuple[float, T]:
    """Run some work on a device; returns the seconds that it took, and its result."""
    import torch

    started = time.perf_counter()
    result = work()
    if device == "cuda":
        torch.cuda.synchronize()
    return time.perf_counter() - started, result


def settings(config: BenchConfig) -> dict[str, Any]:
    """Return the settings as plain values."""
    return {item.name: getattr(config, item.name) for item in fields(config)}
