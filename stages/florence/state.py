"""The state of a training run, and its checkpoints.

A checkpoint is a `from_pretrained` folder with the weights, AdamW's moments, the running average
and the step number, all in safetensors, and the metrics so far in metrics.jsonl.
"""

from __future__ import annotations

import json
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING

from stages.florence.model import Florence, save
from stages.lines import lines_of

if TYPE_CHECKING:
    import torch

METRICS = "metrics.jsonl"
Metrics = dict[str, float]
"""The figures of one step, by name: `step`, `loss`, `rate` and so on; see `Trainer.learn`."""

_STATE = "optimiser.safetensors"
_MOMENTS = ("exp_avg", "exp_avg_sq")


@dataclass(slots=True)
class TrainingState:
    """Everything that changes from step to step."""

    florence: Florence
    """The model, with its current weights."""

    parameters: dict[str, torch.nn.Parameter]
    """The weights that are trained, by name."""

    optimiser: torch.optim.AdamW
    """The optimiser of these weights, with its moments."""

    average: dict[str, torch.Tensor]
    """Running average of each weight, by name; empty if there is none."""

    step: int = 0
    """Number of steps that are done."""


@dataclass(frozen=True, slots=True)
class Checkpoint:
    """A checkpoint of an interrupted run, from which training goes on."""

    folder: Path
    """What `save_checkpoint` wrote."""


def save_checkpoint(state: TrainingState, folder: Path, history: Sequence[Metrics]) -> None:
    """Write everything that a resumed run needs; `history` are the metrics of all steps."""
    from safetensors.torch import save_file

    save(state.florence, folder)
    tensors: dict[str, torch.Tensor] = {}
    for name, parameter in state.parameters.items():
        for moment in _MOMENTS:
            tensors[f"{moment}:{name}"] = state.optimiser.state[parameter][moment]
    for name, value in state.average.items():
        tensors[f"average:{name}"] = value
    save_file(tensors, folder / _STATE, metadata={"step": str(state.step)})
    write_metrics(folder, history)


def restore_checkpoint(state: TrainingState, checkpoint: Checkpoint) -> list[Metrics]:
    """Set optimiser, average and step to those of a checkpoint.

    Args:
        state: the state to change. Its model must have the checkpoint's weights already.
        checkpoint: what an interrupted run has saved.

    Returns:
        The metrics of the steps until then.
    """
    import torch
    from safetensors import safe_open

    folder = checkpoint.folder
    device = state.florence.device
    with safe_open(folder / _STATE, framework="pt", device=str(device)) as file:
        state.step = int(file.metadata()["step"])
        for name, parameter in state.parameters.items():
            # The fused AdamW counts its steps on the device where it computes.
            moments = {"step": torch.tensor(float(state.step), device=device)}
            for moment in _MOMENTS:
                moments[moment] = file.get_tensor(f"{moment}:{name}")
            state.optimiser.state[parameter] = moments
        for name in state.average:
            state.average[name] = file.get_tensor(f"average:{name}")
    return [json.loads(line) for line in lines_of((folder / METRICS).read_bytes())]


def write_metrics(folder: Path, history: Sequence[Metrics]) -> None:
    """Write the metrics as JSON lines, one line for each step."""
    lines = [json.dumps(metrics) + "\n" for metrics in history]
    (folder / METRICS).write_text("".join(lines))
