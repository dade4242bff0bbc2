"""The settings of a training run."""

from __future__ import annotations

import math
from collections.abc import Iterator, Mapping
from dataclasses import dataclass, field
from typing import Annotated, Literal

from pydantic import Field

from stages.base import ADDED, NOT_RECIPE, no_effect
from stages.florence.sizes import RESOLUTIONS
from stages.florence.tasks import Family, check_tasks, find_task

VERSION = 2
"""Raised whenever the same data and settings give another model."""


FAMILIES: Mapping[Family, float] = {"image": 1.0, "region": 2.0, "alignment": 1.0}
"""The default weights of the objective families."""


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

    families: dict[Family, float] = field(default_factory=lambda: dict(FAMILIES))
    """Weights by which the objective family of an example is drawn; of a family that is left out
    nothing is learned. The task is then drawn among `tasks` of that family, and then the
    example."""

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

    human_weight: Annotated[float, Field(gt=0)] = field(default=1.0, metadata=ADDED)
    """Weight of a human label in the loss, where a label of a machine has 1. An example that says
    several labels has the mean of their weights. In `fld run`, `refine.human_weight` decides it."""

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
        check_tasks("tasks", self.tasks)
        if not 0 <= self.average < 1:
            raise ValueError(f"average={self.average}: a decay is at least 0 (off) and below 1")
        asked = [find_task(token).family for token in self.tasks]
        if asked and not any(self.families.get(family, 0.0) > 0 for family in asked):
            raise ValueError(
                f"families={self.families}: no task of `tasks` has a weight above 0; "
                f"give one to {' or '.join(dict.fromkeys(asked))}"
            )

    def without_effect(self) -> Iterator[str]:
        if self.location_spread or self.location_weight != 1:
            reason = (
                "the loss of location_spread and location_weight has no smoothing; leave it out"
            )
            yield from no_effect(self, ("label_smoothing",), reason)
        if all(find_task(token).answer_kind == "text" for token in self.tasks):
            reason = "no task of `tasks` has locations in its answer"
            yield from no_effect(self, ("location_spread", "location_weight"), reason)
        if self.micro_batch >= self.batch_size:
            reason = f"a step has only batch_size={self.batch_size} images; give less, or 0"
            yield from no_effect(self, ("micro_batch",), reason)
        if self.warmup_steps >= self.steps:
            reason = (
                f"the warm-up of warmup_steps={self.warmup_steps} lasts for all {self.steps} steps;"
                " lower warmup_steps"
            )
            yield from no_effect(self, ("final_rate",), reason)
        yield from self._families_without_effect()

    def _families_without_effect(self) -> Iterator[str]:
        tasks: dict[Family, list[str]] = {}
        for token in self.tasks:
            tasks.setdefault(find_task(token).family, []).append(token)
        # A weight of 0 is a choice, but a family that is left out is easily overlooked.
        for family, tokens in tasks.items():
            if family not in self.families:
                reason = f"families has no weight for {family}; add families.{family}"
                yield f"tasks={', '.join(tokens)}: no effect: {reason}"
        if len(tasks) == 1:
            reason = f"all tasks are of the family {', '.join(tasks)}; leave it out"
            yield from no_effect(self, ("families",), reason)
            return
        for family, weight in self.families.items():
            if family not in tasks and weight != FAMILIES[family]:
                reason = f"no task of `tasks` is of the family {family}; add one"
                yield f"families.{family}={weight}: no effect: {reason}"

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
