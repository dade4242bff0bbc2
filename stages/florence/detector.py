"""A small detector on the vision tower of a Florence-2 (paper, section 6.4, Table 8).

It tells what the tower's pre-training is worth to other tasks. In: samples with regions. Out:
entries like those of `stages.florence.examine` for `<OD>`. The head follows FCOS (Tian et al., ICCV
2019) at one scale: every cell of the tower's last feature map gives the probability of each
category, and the distances to the four sides of the box whose middle third it lies in.
"""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from typing import TYPE_CHECKING, Literal

import numpy as np

from stages.base import Batch, Sample, thread_count
from stages.filters.nms import nms
from stages.florence.detector_targets import assign_cells, cell_centres, giou
from stages.florence.entries import AnswerEntry, PlaceEntry
from stages.florence.examples import mirror_half
from stages.florence.images import pixel_values
from stages.florence.model import load, move_to_device
from stages.florence.sizes import RESOLUTIONS
from stages.ranges import Share

if TYPE_CHECKING:
    import torch

# Probability that a fresh head gives every category in every cell (focal loss: Lin et al., 2017).
_PRIOR = 0.05
_POSITIVE_WEIGHT = 0.25
_FOCUS = 2
_MAX_NORM = 1.0


@dataclass(frozen=True, slots=True, kw_only=True)
class DetectorConfig:
    """How the detector is built and trained."""

    pretrained: bool = True
    """Whether the tower starts from the checkpoint's weights; if not, from random ones."""

    freeze: tuple[int, ...] = ()
    """Numbers, from 1, of the tower's stages that keep their weights."""

    resolution: int = RESOLUTIONS["nano"]
    """Side of the square image that the tower sees, in pixels."""

    steps: int = 400
    """Training steps."""

    batch_size: int = 16
    """Images of a step."""

    learning_rate: float = 1e-3
    """Highest learning rate, at the end of the warm-up."""

    warmup_steps: int = 20
    """Steps over which the learning rate grows linearly."""

    weight_decay: float = 0.05
    """Weight decay of AdamW."""

    width: int = 128
    """Channels of the head's hidden layer."""

    mirror: bool = True
    """Whether half of the samples of a step are shown mirrored."""

    keep: int = 50
    """Most boxes of an image that are returned."""

    iou: Share = 0.5
    """IoU above which the less probable of two boxes of a category is removed."""

    device: Literal["auto", "cpu", "cuda"] = "auto"
    """Where the detector runs; `auto` is the GPU if there is one."""

    seed: int = 0
    """Seed of everything that is drawn."""


@dataclass(frozen=True, slots=True)
class Prediction:
    """What the network gives for some images."""

    logits: torch.Tensor
    """(images, cells, categories), float32."""

    boxes: torch.Tensor
    """(images, cells, 4), float32: xyxy in shares of the image's sides."""

    grid: tuple[int, int]
    """Rows and columns of the cells."""


class Detector:
    """The vision tower of a checkpoint with a detection head.

    Attributes:
        tower: images (images, 3, side, side) to a feature map (images, channels, rows, columns).
        head: the feature map to (images, categories + 4, rows, columns): a logit of each category,
            and the distances to the left, top, right and bottom side of the box before softplus.
        network: both.
    """

    version = 1

    def __init__(self, config: DetectorConfig, model: str, categories: Sequence[str]) -> None:
        """Build the network.

        Args:
            config: the settings.
            model: checkpoint of the tower: a folder, a hub name or `nano`.
            categories: names of the categories to detect.
        """
        import torch

        torch.set_num_threads(thread_count())
        torch.use_deterministic_algorithms(True, warn_only=True)
        self.config = config
        self.categories = list(categories)
        florence = load(model)
        move_to_device(florence, config.device)
        torch.manual_seed(config.seed)
        tower = florence.model.model.vision_tower
        if not config.pretrained:
            tower = type(tower)(tower.config)
        for number in config.freeze:
            tower.convs[number - 1].requires_grad_(False)
            tower.blocks[number - 1].requires_grad_(False)
        self.tower = tower
        self.head = _make_head(tower.config.embed_dim[-1], config.width, len(self.categories))
        self.network = torch.nn.ModuleList([self.tower, self.head]).to(florence.device)

    def learn(self, batches: Iterator[Sequence[Sample]]) -> list[float]:
        """Train for all steps.

        Args:
            batches: yields the samples of each step.

        Returns:
            The loss of each step.
        """
        import torch

        config = self.config
        self.network.train()
        parameters = [p for p in self.network.parameters() if p.requires_grad]
        optimiser = torch.optim.AdamW(
            parameters,
            lr=config.learning_rate,
            weight_decay=config.weight_decay,
        )
        schedule = torch.optim.lr_scheduler.LambdaLR(optimiser, self._rate_share)
        losses = []
        for step in range(config.steps):
            samples = next(batches)
            if config.mirror:
                samples = [mirror_half(sample, config.seed, step) for sample in samples]
            loss = self._loss(samples)
            optimiser.zero_grad()
            loss.backward()
            torch.nn.utils.clip_grad_norm_(parameters, _MAX_NORM)
            optimiser.step()
            schedule.step()
            losses.append(float(loss.detach()))
        return losses

    def _rate_share(self, step: int) -> float:
        """The learning rate of a step as a share of the highest.

        It grows linearly during the warm-up, and falls along a cosine to 0 at the last step.
        """
        warm = min((step + 1) / self.config.warmup_steps, 1.0)
        progress = min(step / self.config.steps, 1.0)
        return warm * (1 + np.cos(np.pi * progress)) / 2

    def __call__(self, batch: Batch) -> list[AnswerEntry]:
        """Detect boxes.

        Returns:
            For each sample its key, its size (width, height), and its true (`expected`) and
            detected (`found`) boxes, each with label, score (a probability) and points: xyxy in
            absolute pixels of the image. Detected boxes are sorted, the most probable first.
        """
        import torch

        self.network.eval()
        with torch.inference_mode():
            prediction = self._predict(batch)
        scores = prediction.logits.sigmoid().cpu().numpy()
        boxes = prediction.boxes.cpu().numpy()
        return [self._entry(sample, scores[i], boxes[i]) for i, sample in enumerate(batch)]

    def _predict(self, batch: Sequence[Sample]) -> Prediction:
        import torch

        device = next(self.head.parameters()).device
        images = [sample.pixels for sample in batch]
        values = pixel_values(images, self.config.resolution).to(device)
        features = self.tower(values).last_hidden_state
        if torch.is_grad_enabled() and not features.requires_grad:
            # The tower's last map is channels-last. When all stages are frozen, it needs no
            # gradient, and GroupNorm's backward pass in torch 2.13 then crashes on a CPU (SIGSEGV
            # in GroupNormBackwardKernelImplChannelsLastInternal). A contiguous map is fine.
            features = features.contiguous()
        # (images, categories and four sides, rows, columns)
        output = self.head(features)
        logits, sides = output.split([len(self.categories), 4], dim=1)
        grid = (output.shape[2], output.shape[3])
        centres = torch.from_numpy(cell_centres(*grid)).to(device)
        distances = torch.nn.functional.softplus(sides).flatten(2).transpose(1, 2)
        before, after = distances.split(2, dim=2)
        boxes = torch.cat([centres - before, centres + after], dim=2)
        return Prediction(logits.flatten(2).transpose(1, 2), boxes, grid)

    def _loss(self, samples: Sequence[Sample]) -> torch.Tensor:
        """The loss of some samples, a scalar.

        It is the focal loss of the categories, summed over all cells, plus 1 - GIoU of the boxes,
        summed over the cells that have one. Both are divided by the number of these cells.
        """
        import torch

        prediction = self._predict(samples)
        logits = prediction.logits
        assigned = [assign_cells(s, self.categories, prediction.grid) for s in samples]
        categories = np.stack([cell_categories for cell_categories, _ in assigned])
        boxes = np.stack([cell_boxes for _, cell_boxes in assigned])
        wanted = torch.from_numpy(categories).to(logits.device)
        wanted_boxes = torch.from_numpy(boxes).to(logits.device)

        # Class 0 of the one-hot code stands for "no box" and is cut off.
        one_hot = torch.nn.functional.one_hot(wanted + 1, len(self.categories) + 1)
        target = one_hot[..., 1:].float()
        entropy = torch.nn.functional.binary_cross_entropy_with_logits(
            logits,
            target,
            reduction="none",
        )
        focus = (logits.sigmoid() - target).abs() ** _FOCUS
        balance = _POSITIVE_WEIGHT * target + (1 - _POSITIVE_WEIGHT) * (1 - target)
        has_box = wanted >= 0
        count = has_box.sum().clamp(min=1)
        overlap = giou(prediction.boxes[has_box], wanted_boxes[has_box])
        return (balance * focus * entropy).sum() / count + (1 - overlap).sum() / count

    def _entry(self, sample: Sample, scores: np.ndarray, boxes: np.ndarray) -> AnswerEntry:
        """The result of one sample.

        `scores` are (cells, categories), probabilities; `boxes` (cells, 4), xyxy in shares.
        """
        # Suppression is quadratic, so it sees only a few times as many boxes as are kept.
        best = np.argsort(-scores, axis=None)[: 4 * self.config.keep]
        cells, kinds = np.unravel_index(best, scores.shape)
        pixel_boxes = np.clip(boxes[cells], 0, 1) * np.tile(sample.size, 2)
        probabilities = scores[cells, kinds]
        kept = np.flatnonzero(nms(pixel_boxes, probabilities, kinds, self.config.iou))
        found: list[PlaceEntry] = []
        for i in kept[: self.config.keep]:
            box: PlaceEntry = {
                "label": self.categories[kinds[i]],
                "points": pixel_boxes[i].tolist(),
                "score": float(probabilities[i]),
            }
            found.append(box)
        expected: list[PlaceEntry] = []
        for region in sample.annotations.kept().regions:
            expected.append({"label": region.phrase, "points": list(region.box), "score": 1.0})
        return {
            "key": sample.key,
            "size": list(sample.size),
            "task": "<OD>",
            "expected": expected,
            "found": found,
        }


def _make_head(channels: int, width: int, categories: int) -> torch.nn.Sequential:
    """A head whose outputs are the categories and the four sides, for each cell."""
    import torch

    # In this order, which fixes which random number goes into which weight.
    hidden = torch.nn.Conv2d(channels, width, 3, padding=1)
    output = torch.nn.Conv2d(width, categories + 4, 1)
    assert output.bias is not None
    # The logit of the prior: a fresh head then gives it as the probability of every category.
    odds = _PRIOR / (1 - _PRIOR)
    logit = float(np.log(odds))
    torch.nn.init.constant_(output.bias[:categories], logit)
    return torch.nn.Sequential(
        torch.nn.GroupNorm(1, channels),
        hidden,
        torch.nn.GELU(),
        output,
    )
