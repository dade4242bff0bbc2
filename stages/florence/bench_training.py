"""How fast a training step is beside one on repeated images, both sides measured in one run.

Our side: one step over several targets of each image, from one vision pass. The baseline: the same
rows, with the image repeated for each.
"""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from dataclasses import dataclass

import numpy as np

from stages.base import no_effect
from stages.florence import forward
from stages.florence.bench import (
    MAX_PROMPT_TOKENS,
    PHRASE,
    BenchConfig,
    compare,
    random_florence,
    random_images,
    settings,
)
from stages.florence.model import Florence
from stages.florence.tasks import TASKS
from stages.florence.tokenizer import BOS, EOS


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

    def without_effect(self) -> Iterator[str]:
        yield from no_effect(self, ("baseline_batch",), "it is for florence-inference only")


@dataclass(frozen=True, slots=True)
class _Rows:
    """The rows of a step."""

    images: list[int]
    """Number of the image of each row."""

    prompts: list[list[int]]
    """Ids of the prompt of each row."""

    targets: list[list[int]]
    """Ids of the target of each row."""


def training(config: TrainingConfig) -> dict[str, object]:
    """Compare training steps (forward and backward) with those on repeated images.

    Returns:
        `ratio` of our speed to the baseline's, both speeds in steps per second, the difference of
        the losses in nats, and the settings.
    """
    import torch

    torch.set_num_threads(config.threads)
    florence = random_florence(config)
    images = random_images(config.images, config.resolution)
    rows = _random_rows(florence, config)
    repeated = [images[i] for i in rows.images]

    def step(shown: Sequence[np.ndarray], numbers: Sequence[int]) -> float:
        """The loss of a step, in nats; `shown` are (height, width, 3), uint8, RGB."""
        features = forward.encode_images(florence, shown, config.resolution)
        encoded = forward.encode_prompts(florence, features, numbers, rows.prompts)
        logits, labels = forward.teacher_forced_logits(florence, encoded, rows.targets)
        loss = torch.nn.functional.cross_entropy(logits, labels)
        florence.model.zero_grad()
        loss.backward()
        return loss.item()

    result = compare(
        config,
        lambda: step(images, rows.images),
        lambda: step(repeated, range(len(repeated))),
    )
    return {
        "name": "florence-training",
        "ratio": result.baseline_seconds / result.ours_seconds,
        "steps_per_second": 1 / result.ours_seconds,
        "baseline_steps_per_second": 1 / result.baseline_seconds,
        "loss_difference": abs(result.ours - result.baseline),
        "settings": settings(config),
    }


def _random_rows(florence: Florence, config: TrainingConfig) -> _Rows:
    """The prompts of all tasks about every image, with random targets."""
    draw = np.random.default_rng(0)
    rows = _Rows([], [], [])
    for i in range(config.images):
        for token, length in config.lengths.items():
            prompt = TASKS[token].prompt.format(input=PHRASE)
            words = draw.integers(300, 1000, length - 2).tolist()
            rows.images.append(i)
            rows.prompts.append(forward.tokenise(florence, [prompt], MAX_PROMPT_TOKENS)[0])
            rows.targets.append([BOS, *words, EOS])
    return rows
