"""The settings of a training run."""

from __future__ import annotations

import math
from dataclasses import dataclass, field
from typing import Literal

from stages.base import NOT_RECIPE
from stages.florence.sizes import RESOLUTIONS
from stages.florence.tasks import Family, find_task

VERSION = 2
"""Raised whenever the same data and settings give another model."""


@dataclass(frozen=True, slots=True, kw_only=True)
class TrainConfig:
    """What is learned and how: AdamW, a warm-up and a cosine, as in the paper (section 6.1)."""

    stages: tuple[tuple[int, int], ...] = ((RESOLUTIONS["nano"], 240),)
    """(resolution, steps) of the parts of the run, one after the other; the resolution is the side
    of the square image, in pixels."""

    batch_size: int = 16
    """Images of one step, over all workers."""

    micro_batch: int = 0
    """Images that a worker takes at once; 0 takes its whole share. Gradients are summed, so the
    result is the same beyond rounding, and less memory is used."""

    targets_per_image: int = 4
    """Most examples that an image teaches in one step, all from one vision pass."""

    tasks: tuple[str, ...] = (
        "<CAPTION>",
        "<OD>",
        "<DENSE_REGION_CAPTION>",
        "<CAPTION_TO_PHRASE_GROUNDING>",
        "<REGION_TO_CATEGORY>",
        "<REGION_TO_DESCRIPTION>",
    )
    """Tokens of the tasks that are learned."""

    families: dict[Family, float] = field(
        default_factory=lambda: {"image": 1.0, "region": 2.0, "alignment": 1.0}
    )
    """Weights by which the objective family of an example is drawn. The task is then drawn among
    `tasks` of that family, and then the example."""

    max_prompt_tokens: int = 96
    """Longest prompt, in tokens; what is longer is cut."""

    max_target_tokens: int = 128
    """Longest target, in tokens; it is cut after a whole place, a text anywhere."""

    learning_rate: float = 1e-3
    """Highest learning rate, at the end of the warm-up."""

    warmup_steps: int = 20
    """Steps over which the learning rate grows linearly."""

    final_rate: float = 0.05
    """Where the cosine ends, as a share of `learning_rate`."""

    weight_decay: float = 0.01
    """Weight decay of AdamW for matrices; vectors have none."""

    betas: tuple[float, float] = (0.9, 0.98)
    """Decays of AdamW's two moments, per step."""

    clip: float = 1.0
    """Largest norm of the gradient; a longer one is scaled down."""

    label_smoothing: float = 0.0
    """Share of each target token's probability that is spread over the vocabulary. It has no effect
    if `location_spread` or `location_weight` is set."""

    location_spread: float = 0.0
    """Standard deviation of a location's target distribution, in bins (of 1000 along a side)."""

    location_weight: float = 1.0
    """Weight of a location token in the loss, where a word has 1."""

    average: float = 0.0
    """Decay per step of the running average of the weights, which is then what is saved; 0 is
    off."""

    mirror: bool = False
    """Whether half of the samples of a step are shown mirrored."""

    freeze_vision: bool = False
    """Whether the vision tower keeps its weights."""

    recompute: bool = False
    """Whether the activations of each layer are computed again in the backward pass, which takes
    more time and less memory."""

    dtype: Literal["float32", "bfloat16"] = "float32"
    """Number format of the forward pass; weights are float32."""

    device: Literal["auto", "cpu", "cuda"] = "auto"
    """Where the model trains; `auto` is the GPU if there is one."""

    seed: int = 0
    """Seed of everything that is drawn."""

    checkpoint_every: int = field(default=100, metadata=NOT_RECIPE)
    """Steps between two checkpoints."""

    tensorboard: str = field(default="", metadata=NOT_RECIPE)
    """Folder for TensorBoard on the machine of the first worker; empty writes only the curves of
    metrics.jsonl."""

    def __post_init__(self) -> None:
        for token in self.tasks:
            find_task(token)
        if not 0 <= self.average < 1:
            raise ValueError(f"average={self.average}: a decay is at least 0 (off) and below 1")

    @property
    def steps(self) -> int:
        """Number of steps of the whole run."""
        return sum(steps for _, steps in self.stages)

    def resolution(self, step: int) -> int:
        """Return the side of the square image at a step (from 0), in pixels."""
        for resolution, steps in self.stages:
            if step < steps:
                return resolution
            step -= steps
        return self.stages[-1][0]

    def rate(self, step: int) -> float:
        """Return the learning rate of a step (from 0): a linear warm-up, then a cosine."""
        warm = min((step + 1) / max(self.warmup_steps, 1), 1.0)
        done = max(step - self.warmup_steps, 0)
        progress = min(done / max(self.steps - self.warmup_steps, 1), 1.0)
        cosine = (1 + math.cos(math.pi * progress)) / 2
        share = self.final_rate + (1 - self.final_rate) * cosine
        return self.learning_rate * warm * share
