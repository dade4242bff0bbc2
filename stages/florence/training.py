"""Training: many targets of an image from one vision pass, the same result whatever the world size or kills.

What a step learns is a function of the config, the step and the samples' keys alone: targets are drawn from a
generator seeded by them, dropout from one seeded by (seed, step, rank), the learning rate is a function of
the step. So a checkpoint is weights, AdamW's moments and a step number, all safetensors, and a resumed run
continues bit for bit (same threads). Ranks and micro-batches sum the losses of their tokens; the sum of the
gradients is divided by the number of all tokens, so that neither changes the result beyond rounding. Paper
section 6.1: AdamW, cosine decay, linear warm-up, growing resolution.
"""

from __future__ import annotations

import math
import shutil
from collections.abc import Callable, Iterator, Sequence
from dataclasses import dataclass, field
from functools import partial
from itertools import chain
from pathlib import Path
from typing import TYPE_CHECKING, Any, Literal

import numpy as np

from stages.base import NOT_RECIPE, Sample, thread_count
from stages.florence import forward, state
from stages.florence.examples import augmented, targets
from stages.florence.loss import token_loss
from stages.florence.model import RESOLUTIONS, Florence, load, place, save, token_id
from stages.florence.tasks import Family, task

if TYPE_CHECKING:
    import torch

Batches = Callable[[int], Iterator[Sequence[Sample]]]
VERSION = 2  # raised whenever the same data and settings give another model
_ROWS = 16  # rows that go through the language model at once: fewer padded, more calls
_BUCKET = 1 << 25  # numbers that ranks exchange in one message


@dataclass(frozen=True, slots=True, kw_only=True)
class TrainConfig:
    """`stages` are (resolution, steps), one after the other. `batch_size` counts images over all ranks; a rank
    takes its share `micro_batch` images at a time (0: at once), which sums to the same gradient. A target's family
    is drawn by `families`, then its task among `tasks` of that family, then the example. With `average`, the
    model that is saved is the running average of the weights with this decay. `recompute` trades time for memory:
    activations of a layer are computed again when its gradient is. `tensorboard` names a folder on the machine of
    the first worker, for curves beside those in metrics.jsonl."""

    stages: tuple[tuple[int, int], ...] = ((RESOLUTIONS["nano"], 240),)
    batch_size: int = 16
    micro_batch: int = 0
    targets_per_image: int = 4
    tasks: tuple[str, ...] = (
        "<CAPTION>",
        "<OD>",
        "<DENSE_REGION_CAPTION>",
        "<CAPTION_TO_PHRASE_GROUNDING>",
        "<REGION_TO_CATEGORY>",
        "<REGION_TO_DESCRIPTION>",
    )
    families: dict[Family, float] = field(
        default_factory=lambda: {"image": 1.0, "region": 2.0, "alignment": 1.0}
    )
    max_prompt_tokens: int = 96
    max_target_tokens: int = 128
    learning_rate: float = 1e-3
    warmup_steps: int = 20
    final_rate: float = 0.05  # of the learning rate, where the cosine ends
    weight_decay: float = 0.01
    betas: tuple[float, float] = (0.9, 0.98)
    clip: float = 1.0
    label_smoothing: float = 0.0
    location_spread: float = 0.0  # bins; see stages/florence/loss.py
    location_weight: float = 1.0
    average: float = 0.0
    mirror: bool = False  # half of the samples of a step are shown mirrored
    freeze_vision: bool = False
    recompute: bool = False
    dtype: Literal["float32", "bfloat16"] = "float32"
    device: Literal["auto", "cpu", "cuda"] = "auto"
    seed: int = 0
    checkpoint_every: int = field(default=100, metadata=NOT_RECIPE)
    tensorboard: str = field(default="", metadata=NOT_RECIPE)

    def __post_init__(self) -> None:
        for token in self.tasks:
            task(token)
        if not 0 <= self.average < 1:
            raise ValueError(f"average={self.average}: a decay is at least 0 (off) and below 1")

    @property
    def steps(self) -> int:
        return sum(steps for _, steps in self.stages)

    def resolution(self, step: int) -> int:
        for resolution, steps in self.stages:
            if step < steps:
                return resolution
            step -= steps
        return self.stages[-1][0]

    def rate(self, step: int) -> float:
        """The learning rate of a step: linear warm-up, then a cosine."""
        warm = min((step + 1) / max(self.warmup_steps, 1), 1.0)
        progress = min(
            max(step - self.warmup_steps, 0) / max(self.steps - self.warmup_steps, 1), 1.0
        )
        cosine = self.final_rate + (1 - self.final_rate) * (1 + math.cos(math.pi * progress)) / 2
        return self.learning_rate * warm * cosine


@dataclass(frozen=True, slots=True)
class Hooks:
    """How a run reports: `save` gets the folder of a whole checkpoint and its step, `progress` a step's
    metrics."""

    save: Callable[[Path, int], None] | None = None
    progress: Callable[[dict[str, Any]], None] | None = None


@dataclass(frozen=True, slots=True)
class World:
    """This process among those that train together; torch.distributed is set up by the caller when size >
    1."""

    rank: int = 0
    size: int = 1


def train(
    config: TrainConfig,
    start: str,
    batches: Batches,
    out: Path,
    *,
    world: World = World(),
    hooks: Hooks = Hooks(),
    resume: Path | None = None,
) -> dict[str, Any]:
    """Trains from checkpoint `start` and leaves a `from_pretrained` folder in `out`; returns the last
    metrics.

    `batches(step)` yields this rank's slice of the global batch of `step`, `step + 1`, ... `resume` is a
    folder that `hooks.save` was given.
    """
    trainer = Trainer(config, load(start if resume is None else str(resume)), world)
    history: list[dict[str, Any]] = []
    if resume is not None:
        history = state.restore(trainer, resume)
    feed = batches(trainer.step)
    while trainer.step < config.steps:
        metrics = trainer.learn(next(feed))
        history.append(metrics)
        if hooks.progress is not None:
            hooks.progress(metrics)
        unfinished = trainer.step < config.steps
        if hooks.save is not None and unfinished and trainer.step % config.checkpoint_every == 0:
            folder = out / "checkpoint"
            state.store(trainer, folder, history)
            hooks.save(folder, trainer.step)
            shutil.rmtree(folder)
    if world.rank == 0:
        trainer.settle()
        save(trainer.florence, out)
        state.write_metrics(out, history)
    return history[-1] if history else {}


class Trainer:
    """A model in training: `learn` does one step."""

    def __init__(self, config: TrainConfig, florence: Florence, world: World = World()) -> None:
        import torch

        torch.set_num_threads(thread_count())
        torch.use_deterministic_algorithms(
            True, warn_only=True
        )  # sums of several threads come in one order
        if config.batch_size < world.size:
            raise ValueError(
                f"batch_size={config.batch_size}: {world.size} workers need at least one image each"
            )
        place(florence, config.device)
        florence.model.train()
        if config.freeze_vision:
            florence.model.model.vision_tower.requires_grad_(False)
        if config.recompute:
            recompute(florence)
        self.config, self.florence, self.world, self.step = config, florence, world, 0
        self.named = {n: p for n, p in florence.model.named_parameters() if p.requires_grad}
        for parameter in (
            self.named.values()
        ):  # what no rank has used has a gradient too, so that all ranks agree
            parameter.grad = torch.zeros_like(parameter)
        self.average = (
            {n: p.detach().clone() for n, p in self.named.items()} if config.average else {}
        )
        decayed = [p for p in self.named.values() if p.ndim > 1]
        plain = [p for p in self.named.values() if p.ndim <= 1]
        groups: list[dict[str, Any]] = [{"params": decayed}, {"params": plain, "weight_decay": 0.0}]
        self.optimiser = torch.optim.AdamW(
            groups,
            lr=config.learning_rate,
            betas=config.betas,
            weight_decay=config.weight_decay,
            fused=True,
        )

    def learn(self, samples: Sequence[Sample]) -> dict[str, Any]:
        import torch

        config = self.config
        samples = [augmented(sample, config, self.step) for sample in samples]
        torch.manual_seed(config.seed * 1_000_003 + self.step * 1_009 + self.world.rank)
        for group in self.optimiser.param_groups:
            group["lr"] = config.rate(self.step)
        self.optimiser.zero_grad(set_to_none=False)
        sums = torch.zeros(2, dtype=torch.float64, device=self.florence.device)  # loss, tokens
        size = config.micro_batch or len(samples)
        for part in (samples[i : i + size] for i in range(0, len(samples), size)):
            with torch.autocast(
                self.florence.device.type, torch.bfloat16, enabled=config.dtype == "bfloat16"
            ):
                loss, tokens = self._loss(part)
            loss.backward()
            sums += torch.stack([loss.detach(), torch.tensor(tokens, device=loss.device)])
        gradients = [p.grad for p in self.named.values() if p.grad is not None]
        self._share([sums])
        self._share(gradients)
        torch._foreach_div_(gradients, max(float(sums[1]), 1.0))
        norm = torch.nn.utils.clip_grad_norm_(list(self.named.values()), config.clip)
        self.optimiser.step()
        if self.average:
            now = [parameter.detach() for parameter in self.named.values()]
            torch._foreach_lerp_(list(self.average.values()), now, 1 - config.average)
        self.step += 1
        return {
            "step": self.step,
            "loss": round(float(sums[0]) / max(float(sums[1]), 1.0), 6),
            "gradient_norm": round(float(norm), 4),
            "rate": config.rate(self.step - 1),
            "tokens": int(sums[1]),
        }

    def settle(self) -> None:
        """Makes the running average, where there is one, the model's weights."""
        import torch

        with torch.no_grad():
            for name, value in self.average.items():
                self.named[name].copy_(value)

    def _loss(self, samples: Sequence[Sample]) -> tuple[torch.Tensor, int]:
        """The summed loss of the samples' rows and their number of tokens (the start token, always forced, is
        none)."""
        import torch

        config, florence = self.config, self.florence
        features = forward.look(florence, [s.pixels for s in samples], config.resolution(self.step))
        rows = [
            (i, pair)
            for i, sample in enumerate(samples)
            for pair in targets(sample, config, self.step)
        ]
        if not rows:
            return features.sum() * 0.0, 0
        prompts = forward.tokenise(florence, [p.prompt for _, p in rows], config.max_prompt_tokens)
        answers = forward.tokenise_targets(florence, [p for _, p in rows], config.max_target_tokens)
        order = sorted(range(len(rows)), key=lambda r: len(answers[r]))
        total, tokens, first = features.new_zeros(()), 0, token_id(florence.tokenizer, "<loc_0>")
        for part in np.array_split(np.array(order), max(len(order) // _ROWS, 1)):
            chosen = [int(r) for r in part]
            encoded = forward.encode(
                florence, features, [rows[r][0] for r in chosen], [prompts[r] for r in chosen]
            )
            logits, labels = forward.target_logits(florence, encoded, [answers[r] for r in chosen])
            if config.location_spread or config.location_weight != 1:
                total = total + token_loss(
                    logits, labels, first, config.location_spread, config.location_weight
                )
            else:
                total = total + torch.nn.functional.cross_entropy(
                    logits, labels, reduction="sum", label_smoothing=config.label_smoothing
                )
            tokens += len(labels)
        return total, tokens

    def _share(self, tensors: Sequence[torch.Tensor]) -> None:
        """Replaces tensors by their sums over ranks, in few messages."""
        import torch.distributed

        if self.world.size == 1:
            return
        for bucket in _buckets(tensors):
            flat = torch.cat([tensor.flatten() for tensor in bucket])
            torch.distributed.all_reduce(flat)
            for tensor, value in zip(bucket, flat.split([t.numel() for t in bucket]), strict=True):
                tensor.copy_(value.view_as(tensor))


def recompute(florence: Florence) -> None:
    """Makes every layer forget its activations and compute them again in the backward pass."""
    from torch.utils.checkpoint import checkpoint

    inner: Any = florence.model.model
    language = inner.language_model
    for layer in chain(
        *inner.vision_tower.blocks, language.encoder.layers, language.decoder.layers
    ):
        layer.forward = partial(checkpoint, layer.forward, use_reentrant=False)


def _buckets(tensors: Sequence[torch.Tensor]) -> Iterator[list[torch.Tensor]]:
    bucket: list[torch.Tensor] = []
    for tensor in tensors:
        if bucket and sum(t.numel() for t in bucket) + tensor.numel() > _BUCKET:
            yield bucket
            bucket = []
        bucket.append(tensor)
    if bucket:
        yield bucket
