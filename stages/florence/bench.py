"""What the benchmarks of inference and training share: settings, random inputs, fair timing.

The two sides of a benchmark take turns, and their median times are compared.
"""

from __future__ import annotations

import statistics
import time
from collections.abc import Callable, Iterator, Mapping
from dataclasses import dataclass, field, fields
from typing import Generic, TypeVar

import numpy as np

from stages.base import no_effect
from stages.florence.model import Florence, create, move_to_device
from stages.florence.tasks import check_tasks
from stages.florence.tokenizer import make_tokenizer

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
PHRASE = "A green car."  # the input of prompts that have one
MAX_PROMPT_TOKENS = 256
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

    def __post_init__(self) -> None:
        check_tasks("lengths", self.lengths)

    def without_effect(self) -> Iterator[str]:
        if self.baseline_batch >= self.images:
            reason = f"there are only images={self.images}; give less, or 0"
            yield from no_effect(self, ("baseline_batch",), reason)


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


def settings(config: BenchConfig) -> dict[str, object]:
    """Return the settings as plain values."""
    return {item.name: getattr(config, item.name) for item in fields(config)}
