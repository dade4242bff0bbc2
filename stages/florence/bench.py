"""How fast this package's inference and training are beside plain `transformers`, both sides measured in one run.

`inference`: all tasks of all images from one vision pass and one batch of rows, against `generate` task by task on the
same images. `training`: one step over several targets per image, against the same rows with the image repeated.
Repeats are interleaved and their medians compared. Target lengths are forced, so that random weights do.
"""

from __future__ import annotations

import statistics
import time
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, field
from typing import Any

import numpy as np

from stages.florence import forward
from stages.florence.inference import Engine, Question
from stages.florence.model import Florence, create, make_tokenizer, pixels, place
from stages.florence.tasks import TASKS

LENGTHS = {
    "<CAPTION>": 16, "<DETAILED_CAPTION>": 48, "<MORE_DETAILED_CAPTION>": 96, "<OD>": 64,
    "<DENSE_REGION_CAPTION>": 96, "<REGION_PROPOSAL>": 64, "<OCR_WITH_REGION>": 96,
    "<CAPTION_TO_PHRASE_GROUNDING>": 32,
}  # fmt: skip


@dataclass(frozen=True, slots=True, kw_only=True)
class BenchConfig:
    size: str = "base"
    resolution: int = 768
    images: int = 4
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

    def ours() -> list[list[int]]:
        engine = Engine(florence, config.resolution, rows=len(images) * len(prompts))
        questions = [
            Question(i, prompt, None, config.lengths[token], config.lengths[token])
            for token, prompt in prompts.items()
            for i in range(len(images))
        ]
        return [tokens.ids for tokens in engine.ask(engine.look(images), questions)]

    def theirs() -> list[list[int]]:
        answers = [generate(florence, images, p, config.lengths[t], config.resolution) for t, p in prompts.items()]
        return [ids for batch in answers for ids in batch]

    mine, plain, (a, b) = interleaved(config, ours, theirs)
    return {
        "name": "florence-inference",
        "ratio": plain / mine,
        "images_per_second": len(images) / mine,
        "baseline_images_per_second": len(images) / plain,
        "tokens_equal": sum(x == y for x, y in zip(a, b, strict=True)) / len(a),
        "settings": settings(config),
    }


def generate(
    florence: Florence, images: Sequence[np.ndarray], prompt: str, length: int, resolution: int
) -> list[list[int]]:
    """What plain `generate` answers to one task on a batch of images, after the start token and `<s>`."""
    import torch

    model: Any = florence.model
    values = pixels(images, resolution).to(model.device, model.dtype)
    side = resolution // int(np.prod(model.config.vision_config.patch_stride))
    row = [model.config.image_token_id] * (side * side + 1) + forward.tokenise(florence, [prompt], 256)[0]
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


def training(config: BenchConfig) -> dict[str, Any]:
    """Steps per second (forward and backward) of several targets from one vision pass, and of the image repeated."""
    import torch

    torch.set_num_threads(config.threads)
    florence = random_florence(config)
    images = random_images(config.images, config.resolution)
    draw = np.random.default_rng(0)
    rows = [
        (i, forward.tokenise(florence, [TASKS[token].prompt.format(input="A green car.")], 256)[0],
         [0, *draw.integers(300, 1000, length - 2).tolist(), 2])
        for i in range(len(images)) for token, length in config.lengths.items()
    ]  # fmt: skip

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
            started = time.perf_counter()
            results[side] = work()
            synchronise(config.device)
            seconds[side].append(time.perf_counter() - started)
    warm = slice(1, None) if config.repeats > 1 else slice(None)
    mine, plain = (statistics.median(each[warm]) for each in seconds)
    return mine, plain, (results[0], results[1])


def synchronise(device: str) -> None:
    import torch

    if device == "cuda":
        torch.cuda.synchronize()


def settings(config: BenchConfig) -> dict[str, Any]:
    return {name: getattr(config, name) for name in ("size", "resolution", "images", "repeats", "threads", "device")}
