"""How fast this package's inference and training are beside plain `transformers`, both sides measured in one run.

`inference`: all tasks of all images from one vision pass and one batch of rows, against `generate` task by task on the
same images, and where our time goes. `training`: one step over several targets per image, against the same rows with
the image repeated. Repeats are interleaved and their medians compared. Target lengths are forced, so that random
weights do. On a GPU: `device=cuda dtype=bfloat16 images=N baseline_batch=M`, N and M as large as each side is best at.
"""

from __future__ import annotations

import statistics
import time
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, field, fields
from typing import Any

import numpy as np

from stages.florence import forward
from stages.florence.inference import Engine, Question
from stages.florence.model import Florence, create, make_tokenizer, pixels, place
from stages.florence.tasks import TASKS

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


@dataclass(frozen=True, slots=True, kw_only=True)
class BenchConfig:
    """`baseline_batch`: images that the baseline takes at once (0: all)."""

    size: str = "base"
    vocabulary: int = 51_328  # the published ids and <image>, in blocks of 64
    resolution: int = 768
    images: int = 4
    baseline_batch: int = 0
    repeats: int = 3
    threads: int = 2
    device: str = "cpu"
    dtype: str = "float32"
    lengths: Mapping[str, int] = field(default_factory=lambda: dict(LENGTHS))


def inference(config: BenchConfig) -> dict[str, Any]:
    """Images per second of both sides, their ratio, and whether all tokens are equal."""
    import torch

    torch.set_num_threads(config.threads)
    florence = random_florence(config)
    images = random_images(config.images, config.resolution)
    prompts = {token: TASKS[token].prompt.format(input="A green car.") for token in config.lengths}

    engine = Engine(florence, config.resolution, rows=len(images) * len(prompts))
    questions = [
        Question(i, prompt, None, config.lengths[token], config.lengths[token])
        for token, prompt in prompts.items()
        for i in range(len(images))
    ]
    batch = config.baseline_batch or len(images)
    batches = [images[i : i + batch] for i in range(0, len(images), batch)]

    def ours() -> list[list[int]]:
        return [tokens.ids for tokens in engine.ask(engine.look(images), questions)]

    def theirs() -> list[list[int]]:
        asked = [
            (some, prompt, config.lengths[token])
            for token, prompt in prompts.items()
            for some in batches
        ]
        return [ids for each in asked for ids in generate(florence, *each, config.resolution)]

    mine, plain, (a, b) = interleaved(config, ours, theirs)
    return {
        "name": "florence-inference",
        "ratio": plain / mine,
        "images_per_second": len(images) / mine,
        "baseline_images_per_second": len(images) / plain,
        "tokens_equal": sum(x == y for x, y in zip(a, b, strict=True)) / len(a),
        "shares": shares(engine, images, questions),
        "settings": settings(config),
    }


def shares(
    engine: Engine, images: Sequence[np.ndarray], questions: Sequence[Question]
) -> dict[str, float]:
    """The parts of our time that the vision tower, the encoder and the decoder take."""
    import torch

    prompts = forward.tokenise(
        engine.florence, [q.prompt for q in questions], engine.max_prompt_tokens
    )
    device = engine.florence.device.type
    with torch.inference_mode():
        vision, features = timed(device, lambda: engine.look(images))
        encoder, _ = timed(
            device,
            lambda: forward.encode(
                engine.florence, features, [q.image for q in questions], prompts
            ),
        )
        both, _ = timed(device, lambda: engine.ask(features, questions))
    parts = {"vision": vision, "encoder": encoder, "decoder": max(both - encoder, 0.0)}
    return {name: round(seconds / sum(parts.values()), 3) for name, seconds in parts.items()}


def timed(device: str, work: Callable[[], Any]) -> tuple[float, Any]:
    started = time.perf_counter()
    result = work()
    synchronise(device)
    return time.perf_counter() - started, result


def generate(
    florence: Florence, images: Sequence[np.ndarray], prompt: str, length: int, resolution: int
) -> list[list[int]]:
    """What plain `generate` answers to one task on a batch of images, after the start token and `<s>`."""
    import torch

    model: Any = florence.model
    values = pixels(images, resolution).to(model.device, model.dtype)
    side = resolution // int(np.prod(model.config.vision_config.patch_stride))
    row = [model.config.image_token_id] * (side * side + 1) + forward.tokenise(
        florence, [prompt], 256
    )[0]
    output = model.generate(
        input_ids=torch.tensor([row] * len(images), device=model.device),
        pixel_values=values,
        num_beams=1,
        do_sample=False,
        no_repeat_ngram_size=0,
        forced_eos_token_id=None,
        min_new_tokens=length + 1,  # the forced <s> counts
        max_new_tokens=length + 1,
    )
    return [ids[2:] for ids in output.tolist()]


@dataclass(frozen=True, slots=True, kw_only=True)
class TrainingConfig(BenchConfig):
    """One image: the baseline keeps the activations of eight vision passes for its backward pass, several GB."""

    resolution: int = 384
    images: int = 1


def training(config: TrainingConfig) -> dict[str, Any]:
    """Steps per second (forward and backward) of several targets from one vision pass, and of the image repeated."""
    import torch

    torch.set_num_threads(config.threads)
    florence = random_florence(config)
    images = random_images(config.images, config.resolution)
    draw = np.random.default_rng(0)
    rows = [
        (
            i,
            forward.tokenise(florence, [TASKS[token].prompt.format(input="A green car.")], 256)[0],
            [0, *draw.integers(300, 1000, length - 2).tolist(), 2],
        )
        for i in range(len(images))
        for token, length in config.lengths.items()
    ]

    def step(repeat: bool) -> float:
        shown = [images[i] for i, *_ in rows] if repeat else images
        places = list(range(len(rows))) if repeat else [i for i, *_ in rows]
        features = forward.look(florence, shown, config.resolution)
        encoded = forward.encode(florence, features, places, [prompt for _, prompt, _ in rows])
        logits, labels = forward.target_logits(florence, encoded, [target for *_, target in rows])
        loss = torch.nn.functional.cross_entropy(logits, labels)
        florence.model.zero_grad()
        loss.backward()
        return loss.item()

    mine, plain, (a, b) = interleaved(config, lambda: step(False), lambda: step(True))
    return {
        "name": "florence-training",
        "ratio": plain / mine,
        "steps_per_second": 1 / mine,
        "baseline_steps_per_second": 1 / plain,
        "loss_difference": abs(a - b),
        "settings": settings(config),
    }


def random_florence(config: BenchConfig) -> Florence:
    """A model of the size with random weights and no dropout."""
    words = ["what does the image describe locate the objects"]
    florence = create(config.size, make_tokenizer(words, 320), seed=0)
    florence.model.resize_token_embeddings(config.vocabulary, mean_resizing=False)
    place(florence, config.device, config.dtype)
    return florence


def random_images(count: int, side: int) -> list[np.ndarray]:
    draw = np.random.default_rng(0)
    return [draw.integers(0, 256, (side, side, 3), dtype=np.uint8) for _ in range(count)]


def interleaved(
    config: BenchConfig, ours: Callable[[], Any], theirs: Callable[[], Any]
) -> tuple[float, float, tuple[Any, Any]]:
    """Median seconds of both sides and their last results; the first, cold round is not counted when there are more."""
    seconds: tuple[list[float], list[float]] = ([], [])
    results: list[Any] = [None, None]
    for _ in range(config.repeats):
        for side, work in enumerate((ours, theirs)):
            taken, results[side] = timed(config.device, work)
            seconds[side].append(taken)
    warm = slice(1, None) if config.repeats > 1 else slice(None)
    mine, plain = (statistics.median(each[warm]) for each in seconds)
    return mine, plain, (results[0], results[1])


def synchronise(device: str) -> None:
    import torch

    if device == "cuda":
        torch.cuda.synchronize()


def settings(config: BenchConfig) -> dict[str, Any]:
    return {field.name: getattr(config, field.name) for field in fields(config)}
