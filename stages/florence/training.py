"""Training: many targets of an image from one vision pass, the same result whatever the world size or kills.

What a step learns is a function of the config, the step and the samples' keys alone: targets are drawn from a
generator seeded by them, dropout from one seeded by (seed, step, rank), the learning rate is a function of
the step. So a checkpoint is weights, AdamW's moments and a step number, all safetensors, and a resumed run
continues bit for bit (same threads). The loss of a rank is divided by the token count of all ranks and
gradients are summed, so that the world size does not change the result beyond rounding. Paper section 6.1:
AdamW, cosine decay, linear warm-up, growing resolution.
"""

from __future__ import annotations

import json
import math
import shutil
import zlib
from collections.abc import Callable, Iterator, Sequence
from dataclasses import dataclass, field
from pathlib import Path
from typing import TYPE_CHECKING, Any, Literal

import numpy as np

from stages.base import NOT_RECIPE, Sample, thread_count
from stages.florence import forward
from stages.florence.augment import mirrored
from stages.florence.model import Florence, load, place, save
from stages.florence.tasks import Family, Pair, task

if TYPE_CHECKING:
    import torch

Batches = Callable[[int], Iterator[Sequence[Sample]]]
VERSION = 1  # raised whenever the same data and settings give another model
METRICS = "metrics.jsonl"
_STATE = "optimiser.safetensors"


@dataclass(frozen=True, slots=True, kw_only=True)
class TrainConfig:
    """`stages` are (resolution, steps), one after the other. `batch_size` counts images over all ranks. A
    target's family is drawn by `families`, then its task among `tasks` of that family, then the example."""

    stages: tuple[tuple[int, int], ...] = ((64, 240),)
    batch_size: int = 16
    targets_per_image: int = 4
    tasks: tuple[str, ...] = (
        "<CAPTION>", "<OD>", "<DENSE_REGION_CAPTION>", "<CAPTION_TO_PHRASE_GROUNDING>",
        "<REGION_TO_CATEGORY>", "<REGION_TO_DESCRIPTION>",
    )  # fmt: skip
    families: dict[Family, float] = field(default_factory=lambda: {"image": 1.0, "region": 2.0, "alignment": 1.0})
    max_prompt_tokens: int = 96
    max_target_tokens: int = 128
    learning_rate: float = 1e-3
    warmup_steps: int = 20
    final_rate: float = 0.05  # of the learning rate, where the cosine ends
    weight_decay: float = 0.01
    betas: tuple[float, float] = (0.9, 0.98)
    clip: float = 1.0
    label_smoothing: float = 0.0
    mirror: bool = False  # half of the samples of a step are shown mirrored
    freeze_vision: bool = False
    dtype: Literal["float32", "bfloat16"] = "float32"
    device: Literal["auto", "cpu", "cuda"] = "auto"
    seed: int = 0
    checkpoint_every: int = field(default=100, metadata=NOT_RECIPE)

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
        progress = min(max(step - self.warmup_steps, 0) / max(self.steps - self.warmup_steps, 1), 1.0)
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


def targets(sample: Sample, config: TrainConfig, step: int) -> list[Pair]:
    """The examples that this sample teaches at this step."""
    rng = np.random.default_rng([config.seed, step, zlib.crc32(sample.key.encode())])
    available: dict[Family, dict[str, list[Pair]]] = {}
    for token in config.tasks:
        pairs = task(token).pairs(sample.annotations, sample.size)
        if pairs and config.families.get(task(token).family, 0.0) > 0:
            available.setdefault(task(token).family, {})[token] = pairs
    chosen: list[Pair] = []
    while available and len(chosen) < config.targets_per_image:
        families = list(available)
        weights = np.array([config.families[f] for f in families])
        family = families[rng.choice(len(families), p=weights / weights.sum())]
        token = list(available[family])[rng.integers(len(available[family]))]
        pairs = available[family][token]
        chosen.append(pairs.pop(rng.integers(len(pairs))))
        if not pairs:
            del available[family][token]
        if not available[family]:
            del available[family]
    return chosen


def augmented(sample: Sample, config: TrainConfig, step: int) -> Sample:
    """The sample as it is shown at this step."""
    draw = np.random.default_rng([config.seed, step, zlib.crc32(sample.key.encode()), 1]).random()
    return mirrored(sample) if config.mirror and draw < 0.5 else sample


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
        history = trainer.restore(resume)
    feed = batches(trainer.step)
    while trainer.step < config.steps:
        metrics = trainer.learn(next(feed))
        history.append(metrics)
        if hooks.progress is not None:
            hooks.progress(metrics)
        unfinished = trainer.step < config.steps
        if hooks.save is not None and unfinished and trainer.step % config.checkpoint_every == 0:
            folder = out / "checkpoint"
            trainer.store(folder, history)
            hooks.save(folder, trainer.step)
            shutil.rmtree(folder)
    if world.rank == 0:
        save(trainer.florence, out)
        _write_metrics(out, history)
    return history[-1] if history else {}


class Trainer:
    """A model in training: `learn` does one step."""

    def __init__(self, config: TrainConfig, florence: Florence, world: World = World()) -> None:
        import torch

        torch.set_num_threads(thread_count())
        torch.use_deterministic_algorithms(True, warn_only=True)  # sums of several threads come in one order
        place(florence, config.device)
        florence.model.train()
        if config.freeze_vision:
            florence.model.model.vision_tower.requires_grad_(False)
        self.config, self.florence, self.world, self.step = config, florence, world, 0
        self.named = {n: p for n, p in florence.model.named_parameters() if p.requires_grad}
        decayed = [p for p in self.named.values() if p.ndim > 1]
        plain = [p for p in self.named.values() if p.ndim <= 1]
        groups: list[dict[str, Any]] = [{"params": decayed}, {"params": plain, "weight_decay": 0.0}]
        self.optimiser = torch.optim.AdamW(
            groups, lr=config.learning_rate, betas=config.betas, weight_decay=config.weight_decay
        )

    def learn(self, samples: Sequence[Sample]) -> dict[str, Any]:
        import torch

        config = self.config
        samples = [augmented(sample, config, self.step) for sample in samples]
        torch.manual_seed(config.seed * 1_000_003 + self.step * 1_009 + self.world.rank)
        for group in self.optimiser.param_groups:
            group["lr"] = config.rate(self.step)
        with torch.autocast(self.florence.device.type, torch.bfloat16, enabled=config.dtype == "bfloat16"):
            total, tokens = self._loss(samples)
        count = self._sum(torch.tensor(float(tokens), device=self.florence.device))
        loss = total / count.clamp(min=1)
        self.optimiser.zero_grad(set_to_none=False)
        loss.backward()
        if self.world.size > 1:
            for parameter in self.named.values():
                assert parameter.grad is not None
                self._sum(parameter.grad)
        norm = torch.nn.utils.clip_grad_norm_(list(self.named.values()), config.clip)
        self.optimiser.step()
        self.step += 1
        return {
            "step": self.step,
            "loss": round(float(self._sum(loss.detach())), 6),
            "gradient_norm": round(float(norm), 4),
            "rate": config.rate(self.step - 1),
            "tokens": int(count),
        }

    def _loss(self, samples: Sequence[Sample]) -> tuple[torch.Tensor, int]:
        """The summed loss of this rank's rows and their number of tokens (the start token, always forced, is
        none)."""
        import torch

        config, florence = self.config, self.florence
        features = forward.look(florence, [s.pixels for s in samples], config.resolution(self.step))
        rows = [(i, pair) for i, sample in enumerate(samples) for pair in targets(sample, config, self.step)]
        if not rows:
            return features.sum() * 0.0, 0
        prompts = forward.tokenise(florence, [p.prompt for _, p in rows], config.max_prompt_tokens)
        answers = forward.tokenise(florence, [p.target for _, p in rows], config.max_target_tokens)
        order = sorted(range(len(rows)), key=lambda r: len(answers[r]))
        total, tokens = features.new_zeros(()), 0
        for part in np.array_split(np.array(order), max(len(order) // _ROWS, 1)):
            chosen = [int(r) for r in part]
            encoded = forward.encode(florence, features, [rows[r][0] for r in chosen], [prompts[r] for r in chosen])
            logits, labels = forward.target_logits(florence, encoded, [answers[r] for r in chosen])
            total = total + torch.nn.functional.cross_entropy(
                logits, labels, reduction="sum", label_smoothing=config.label_smoothing
            )
            tokens += len(labels)
        return total, tokens

    def _sum(self, value: torch.Tensor) -> torch.Tensor:
        """The sum over ranks, in place."""
        if self.world.size > 1:
            import torch.distributed

            torch.distributed.all_reduce(value)
        return value

    def store(self, folder: Path, history: Sequence[dict[str, Any]]) -> None:
        """Everything that a resumed run needs."""
        from safetensors.torch import save_file

        save(self.florence, folder)
        moments = {
            f"{kind}:{name}": self.optimiser.state[parameter][kind]
            for name, parameter in self.named.items()
            if parameter in self.optimiser.state
            for kind in ("exp_avg", "exp_avg_sq")
        }
        save_file(moments, folder / _STATE, metadata={"step": str(self.step)})
        _write_metrics(folder, history)

    def restore(self, folder: Path) -> list[dict[str, Any]]:
        import torch
        from safetensors import safe_open

        with safe_open(folder / _STATE, framework="pt", device=str(self.florence.device)) as file:
            self.step = int(file.metadata()["step"])
            for name, parameter in self.named.items():
                self.optimiser.state[parameter] = {
                    "step": torch.tensor(float(self.step)),
                    "exp_avg": file.get_tensor(f"exp_avg:{name}"),
                    "exp_avg_sq": file.get_tensor(f"exp_avg_sq:{name}"),
                }
        return [json.loads(line) for line in (folder / METRICS).read_text().splitlines()]


_ROWS = 16  # rows that go through the language model at once: fewer padded, more calls


def _write_metrics(folder: Path, history: Sequence[dict[str, Any]]) -> None:
    (folder / METRICS).write_text("".join(json.dumps(m) + "\n" for m in history))
