"""A checkpoint of a training run: weights, AdamW's moments, the running average and the step, all safetensors."""

from __future__ import annotations

import json
from collections.abc import Sequence
from pathlib import Path
from typing import TYPE_CHECKING, Any

from stages.florence.model import save

if TYPE_CHECKING:
    from stages.florence.training import Trainer

METRICS = "metrics.jsonl"
_STATE = "optimiser.safetensors"
_MOMENTS = ("exp_avg", "exp_avg_sq")


def store(trainer: Trainer, folder: Path, history: Sequence[dict[str, Any]]) -> None:
    """Everything that a resumed run needs."""
    from safetensors.torch import save_file

    save(trainer.florence, folder)
    tensors = {
        f"{kind}:{name}": trainer.optimiser.state[parameter][kind]
        for name, parameter in trainer.named.items()
        for kind in _MOMENTS
    }
    tensors |= {f"average:{name}": value for name, value in trainer.average.items()}
    save_file(tensors, folder / _STATE, metadata={"step": str(trainer.step)})
    write_metrics(folder, history)


def restore(trainer: Trainer, folder: Path) -> list[dict[str, Any]]:
    """Puts a trainer whose weights are the checkpoint's where `store` left it; returns the metrics until then."""
    import torch
    from safetensors import safe_open

    device = trainer.florence.device
    with safe_open(folder / _STATE, framework="pt", device=str(device)) as file:
        trainer.step = int(file.metadata()["step"])
        for name, parameter in trainer.named.items():
            moments = {kind: file.get_tensor(f"{kind}:{name}") for kind in _MOMENTS}
            step = torch.tensor(
                float(trainer.step), device=device
            )  # fused AdamW counts where it computes
            trainer.optimiser.state[parameter] = {"step": step, **moments}
        trainer.average = {name: file.get_tensor(f"average:{name}") for name in trainer.average}
    return [json.loads(line) for line in (folder / METRICS).read_text().splitlines()]


def write_metrics(folder: Path, history: Sequence[dict[str, Any]]) -> None:
    (folder / METRICS).write_text("".join(json.dumps(m) + "\n" for m in history))
