"""A small detector on the vision tower of a Florence-2, to ask what its pre-training is worth to other tasks.

In: samples with regions. Out: entries like those of `stages.florence.examine` for `<OD>`. The head is FCOS's idea at
one scale (Tian et al., ICCV 2019): every cell of the tower's last map tells each category's probability and the
distances to the four sides of the box whose middle third it lies in. Paper section 6.4, Table 8.
"""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any, Literal

import numpy as np

from stages.base import Batch, Sample, thread_count
from stages.filters.nms import nms
from stages.florence.examples import mirrored_half
from stages.florence.model import RESOLUTIONS, load, pixels, place

if TYPE_CHECKING:
    import torch

_CENTRE = 1 / 3  # of a box's sides, where cells answer for it
_PRIOR = 0.05  # what a fresh head believes of every cell and category


@dataclass(frozen=True, slots=True, kw_only=True)
class DetectorConfig:
    """The tower starts from the checkpoint's weights, or from fresh ones when `pretrained` is off. `freeze` are
    the numbers, from 1, of its stages that do not learn."""

    pretrained: bool = True
    freeze: tuple[int, ...] = ()
    resolution: int = RESOLUTIONS["nano"]
    steps: int = 400
    batch_size: int = 16
    learning_rate: float = 1e-3
    warmup_steps: int = 20
    weight_decay: float = 0.05
    width: int = 128
    mirror: bool = True
    keep: int = 50  # boxes an image
    iou: float = 0.5  # above which the less sure of two boxes of a category goes
    device: Literal["auto", "cpu", "cuda"] = "auto"
    seed: int = 0


class Detector:
    version = 1

    def __init__(self, config: DetectorConfig, model: str, categories: Sequence[str]) -> None:
        import torch

        torch.set_num_threads(thread_count())
        torch.use_deterministic_algorithms(True, warn_only=True)
        self.config, self.categories = config, list(categories)
        florence = load(model)
        place(florence, config.device)
        torch.manual_seed(config.seed)
        pretrained: Any = florence.model.model.vision_tower
        tower = pretrained if config.pretrained else type(pretrained)(pretrained.config)
        for number in config.freeze:
            for part in (tower.convs[number - 1], tower.blocks[number - 1]):
                part.requires_grad_(False)
        outputs = len(self.categories) + 4
        head = torch.nn.Sequential(
            torch.nn.GroupNorm(1, tower.config.embed_dim[-1]),
            torch.nn.Conv2d(tower.config.embed_dim[-1], config.width, 3, padding=1),
            torch.nn.GELU(),
            torch.nn.Conv2d(config.width, outputs, 1),
        )
        bias: Any = head[-1].bias
        torch.nn.init.constant_(bias[: len(self.categories)], float(np.log(_PRIOR / (1 - _PRIOR))))
        self.tower, self.head = tower, head
        self.net = torch.nn.ModuleList([tower, head]).to(florence.device)

    def learn(self, batches: Iterator[Sequence[Sample]]) -> list[float]:
        """All steps; returns their losses."""
        import torch

        config = self.config
        self.net.train()
        learning = [p for p in self.net.parameters() if p.requires_grad]
        optimiser = torch.optim.AdamW(
            learning, lr=config.learning_rate, weight_decay=config.weight_decay
        )
        warm, steps = config.warmup_steps, config.steps
        schedule = torch.optim.lr_scheduler.LambdaLR(
            optimiser,
            lambda s: min((s + 1) / warm, 1.0) * (1 + np.cos(np.pi * min(s / steps, 1.0))) / 2,
        )
        losses = []
        for step in range(steps):
            samples = next(batches)
            if config.mirror:
                samples = [mirrored_half(sample, config.seed, step) for sample in samples]
            loss = self._loss(samples)
            optimiser.zero_grad()
            loss.backward()
            torch.nn.utils.clip_grad_norm_(learning, 1.0)
            optimiser.step()
            schedule.step()
            losses.append(float(loss.detach()))
        return losses

    def __call__(self, batch: Batch) -> list[dict[str, Any]]:
        import torch

        self.net.eval()
        with torch.inference_mode():
            logits, boxes = self._look(batch)
        scores = logits.sigmoid().flatten(2).transpose(1, 2).cpu().numpy()
        return [self._entry(*each) for each in zip(batch, scores, boxes.cpu().numpy(), strict=True)]

    def _look(self, batch: Sequence[Sample]) -> tuple[torch.Tensor, torch.Tensor]:
        """Logits (images, categories, rows, columns), and boxes (images, cells, 4) in shares of the image's sides."""
        import torch

        device = next(self.head.parameters()).device
        values = pixels([sample.pixels for sample in batch], self.config.resolution).to(device)
        features = self.tower(values).last_hidden_state
        if torch.is_grad_enabled() and not features.requires_grad:
            # The tower's last map is channels-last. When all stages are frozen, it needs no
            # gradient, and GroupNorm's backward pass in torch 2.13 then crashes on a CPU (SIGSEGV
            # in GroupNormBackwardKernelImplChannelsLastInternal). A contiguous map is fine.
            features = features.contiguous()
        output = self.head(features)
        logits, sides = output.split([len(self.categories), 4], dim=1)
        cells = torch.from_numpy(centres(*logits.shape[2:])).to(device)
        near, far = torch.nn.functional.softplus(sides).flatten(2).transpose(1, 2).split(2, dim=2)
        return logits, torch.cat([cells - near, cells + far], dim=2)

    def _loss(self, samples: Sequence[Sample]) -> torch.Tensor:
        """Focal loss of the categories and 1 - GIoU of the boxes, both over the cells that answer for a box."""
        import torch

        logits, boxes = self._look(samples)
        shape = (logits.shape[2], logits.shape[3])
        told = [assigned(sample, self.categories, shape) for sample in samples]
        wanted = torch.from_numpy(np.stack([kinds for kinds, _ in told])).to(logits.device)
        aims = torch.from_numpy(np.stack([aim for _, aim in told])).to(logits.device)
        target = torch.nn.functional.one_hot(wanted + 1, len(self.categories) + 1)[..., 1:].float()
        guess = logits.flatten(2).transpose(1, 2)
        entropy = torch.nn.functional.binary_cross_entropy_with_logits(
            guess, target, reduction="none"
        )
        surprise = (guess.sigmoid() - target).abs() ** 2
        balance = 0.25 * target + 0.75 * (1 - target)
        inside = wanted >= 0
        count = inside.sum().clamp(min=1)
        return (balance * surprise * entropy).sum() / count + (
            1 - giou(boxes[inside], aims[inside])
        ).sum() / count

    def _entry(self, sample: Sample, scores: np.ndarray, boxes: np.ndarray) -> dict[str, Any]:
        cells, kinds = np.unravel_index(
            np.argsort(-scores, axis=None)[: 4 * self.config.keep], scores.shape
        )
        told, sure = np.clip(boxes[cells], 0, 1) * np.tile(sample.size, 2), scores[cells, kinds]
        kept = np.flatnonzero(nms(told, sure, kinds, self.config.iou))[: self.config.keep]
        found = [
            {
                "label": self.categories[kinds[i]],
                "points": told[i].tolist(),
                "score": float(sure[i]),
            }
            for i in kept
        ]
        expected = [
            {"label": r.phrase, "points": list(r.box), "score": 1.0}
            for r in sample.annotations.kept().regions
        ]
        return {
            "key": sample.key,
            "size": list(sample.size),
            "task": "<OD>",
            "expected": expected,
            "found": found,
        }


def centres(rows: int, columns: int) -> np.ndarray:
    """(cells, 2): the x and y of the middle of each cell, in shares of the image's sides."""
    y, x = np.mgrid[0:rows, 0:columns]
    return np.stack([(x.ravel() + 0.5) / columns, (y.ravel() + 0.5) / rows], axis=1).astype(
        np.float32
    )


def assigned(
    sample: Sample, categories: Sequence[str], shape: tuple[int, int]
) -> tuple[np.ndarray, np.ndarray]:
    """For each cell the category that it answers for (-1: none) and its box; of several boxes, the smallest.

    A box answers in the cells whose middle lies in its middle third, in any case in the one that holds its centre.
    """
    points = centres(*shape)
    kinds, aims = np.full(len(points), -1), np.zeros((len(points), 4), np.float32)
    regions = [r for r in sample.annotations.kept().regions if r.phrase in categories]
    scale = np.tile(sample.size, 2)
    boxes = np.array([np.asarray(r.box) / scale for r in regions], np.float32).reshape(-1, 4)
    for i in np.argsort(-np.prod(boxes[:, 2:] - boxes[:, :2], axis=1), kind="stable"):
        middle, half = (
            (boxes[i, :2] + boxes[i, 2:]) / 2,
            (boxes[i, 2:] - boxes[i, :2]) * _CENTRE / 2,
        )
        mine: np.ndarray = np.all(np.abs(points - middle) <= half, axis=1)
        mine[np.abs(points - middle).sum(axis=1).argmin()] = True
        kinds[mine], aims[mine] = categories.index(regions[i].phrase), boxes[i]
    return kinds, aims


def giou(boxes: torch.Tensor, others: torch.Tensor) -> torch.Tensor:
    """Generalised intersection over union of pairs of boxes (Rezatofighi et al., CVPR 2019)."""
    import torch

    def area(low: torch.Tensor, high: torch.Tensor) -> torch.Tensor:
        return (high - low).clamp(min=0).prod(dim=1)

    (a, b), (c, d) = boxes.split(2, dim=1), others.split(2, dim=1)
    shared = area(torch.maximum(a, c), torch.minimum(b, d))
    union = area(a, b) + area(c, d) - shared
    hull = area(torch.minimum(a, c), torch.maximum(b, d))
    return shared / union.clamp(min=1e-9) - (hull - union) / hull.clamp(min=1e-9)
