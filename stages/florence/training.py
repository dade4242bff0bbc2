"""A training run, from a model or a checkpoint to a `from_pretrained` folder.

What a step draws (targets, mirroring, dropout) is a function of the config, the step, the rank and
the samples' keys alone. So a checkpoint needs no more than weights, AdamW's moments and a step
number, and a resumed run ends with the same bytes.
"""

from __future__ import annotations

import shutil
from collections.abc import Callable, Iterator, Sequence
from dataclasses import dataclass
from pathlib import Path

from stages.base import Sample
from stages.florence.config import TrainConfig
from stages.florence.distributed import SINGLE_PROCESS, Distributed
from stages.florence.model import load, save
from stages.florence.processor import save_processor
from stages.florence.state import (
    Checkpoint,
    Metrics,
    TrainingState,
    restore_checkpoint,
    save_checkpoint,
    write_metrics,
)
from stages.florence.trainer import Trainer

Batches = Callable[[int], Iterator[Sequence[Sample]]]
"""Yields this rank's share of the batch of the given step and of every step after it."""


@dataclass(frozen=True, slots=True)
class Hooks:
    """How a run reports to its caller."""

    save: Callable[[Path, int], None] | None = None
    """Gets the folder of a complete checkpoint, which is removed afterwards, and its step."""

    progress: Callable[[Metrics], None] | None = None
    """Gets the metrics of each step."""


def train(
    config: TrainConfig,
    start: str | Checkpoint,
    batches: Batches,
    out: Path,
    *,
    distributed: Distributed = SINGLE_PROCESS,
    hooks: Hooks = Hooks(),
) -> Metrics:
    """Train a model and leave a `from_pretrained` folder in `out`, with its processor.

    Args:
        config: the settings.
        start: name or folder of the model to start from, or a checkpoint to resume.
        batches: the data, from any step on.
        out: folder for the model; only rank 0 writes it.
        distributed: this process among those that train together.
        hooks: how checkpoints and metrics reach the caller.

    Returns:
        The metrics of the last step; empty if there was none.

    Raises:
        ValueError: the batch has fewer images than there are processes.
    """
    history: list[Metrics] = []
    if isinstance(start, Checkpoint):
        trainer = Trainer(config, load(str(start.folder)), distributed)
        history = restore_checkpoint(trainer.state, start)
    else:
        trainer = Trainer(config, load(start), distributed)
    feed = batches(trainer.state.step)
    while trainer.state.step < config.steps:
        history.append(trainer.learn(next(feed)))
        _report(hooks, config, trainer.state, history, out / "checkpoint")
    if distributed.rank == 0:
        _finish(trainer, config, out, history)
    return history[-1] if history else {}


def _finish(
    trainer: Trainer,
    config: TrainConfig,
    out: Path,
    history: Sequence[Metrics],
) -> None:
    """Write the trained model, its processor, and the metrics of all steps."""
    trainer.use_average()
    save(trainer.florence, out)
    save_processor(out, config.resolution(config.steps))
    write_metrics(out, history)


def _report(
    hooks: Hooks,
    config: TrainConfig,
    state: TrainingState,
    history: Sequence[Metrics],
    folder: Path,
) -> None:
    """Pass on the metrics of the last step and, if one is due, a checkpoint.

    The checkpoint is written to `folder` and removed after the caller has had it.
    """
    if hooks.progress is not None:
        hooks.progress(history[-1])
    is_due = state.step % config.checkpoint_every == 0
    is_unfinished = state.step < config.steps
    if hooks.save is not None and is_due and is_unfinished:
        save_checkpoint(state, folder, history)
        save_processor(folder, config.resolution(state.step - 1))
        hooks.save(folder, state.step)
        shutil.rmtree(folder)
