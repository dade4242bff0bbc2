"""Boxes with categories by a detector of `transformers`.

In: image. Out: regions, best first.

Paper section 4.3 uses DINO. This takes any checkpoint of the DETR family (RT-DETR, D-FINE,
Deformable DETR, DAB-DETR, ...). What is stored is the raw signal; the region filter applies
thresholds and suppression later.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any, ClassVar

import numpy as np

from pipeline.schema import Annotations, Region
from stages.base import Batch, Result
from stages.checkpoints import CheckpointNeeds, architecture_ends_with
from stages.ranges import Share
from stages.specialists.batching import map_batches
from stages.specialists.images import grey_image, pad_image, to_pil
from stages.specialists.pretrained import (
    PretrainedConfig,
    check_pretrained,
    choose_device,
    load_pretrained,
    probe,
)

if TYPE_CHECKING:
    import torch


def _is_detector(config: dict[str, Any]) -> bool:
    is_grounder = str(config.get("model_type")).endswith("grounding-dino")
    return architecture_ends_with(config, "ForObjectDetection") and not is_grounder


NEEDS = CheckpointNeeds("a detector with fixed classes, such as RT-DETR", _is_detector)


@dataclass(frozen=True, slots=True, kw_only=True)
class DetrConfig(PretrainedConfig):
    """Settings of `detr`."""

    min_score: Share = 0.01
    """Boxes with a lower score are not stored."""

    max_regions: int = 300
    """Most regions of an image; the best are stored."""


@dataclass(frozen=True, slots=True)
class _Prepared:
    """An image, (height, width, 3) uint8 RGB, and what the processor makes of it."""

    image: np.ndarray
    inputs: dict[str, torch.Tensor]

    @property
    def shape(self) -> tuple[int, ...]:
        """(1, 3, height, width) of the model's input."""
        return tuple(self.inputs["pixel_values"].shape)


class Detr:
    """A detector of the DETR family."""

    version: ClassVar[int] = 2
    reads_images: ClassVar[bool] = True
    gives: ClassVar[tuple[str, ...]] = ("regions",)

    def __init__(self, config: DetrConfig) -> None:
        from transformers import AutoImageProcessor, AutoModelForObjectDetection

        self.check(config)
        self.config = config
        self.device = choose_device(config)
        self.model = load_pretrained(AutoModelForObjectDetection, config)
        self.processor = load_pretrained(AutoImageProcessor, config)
        self.names: dict[int, str] = self.model.config.id2label
        probe(config, lambda: self._detect_batch([self._prepare(grey_image())]))

    @staticmethod
    def check(config: DetrConfig) -> None:
        """See `stages.base.Stage`."""
        check_pretrained(config, NEEDS)

    def __call__(self, batch: Batch) -> list[Result]:
        prepared = []
        for sample in batch:
            prepared.append(self._prepare(sample.pixels))
        results = map_batches(
            prepared,
            self._detect_batch,
            self.config.rows,
            shape_of=lambda item: item.shape,
        )
        return list(results)

    def _prepare(self, image: np.ndarray) -> _Prepared:
        """What the model sees of a (height, width, 3) uint8 RGB image."""
        inputs = self.processor(images=to_pil(image), return_tensors="pt")
        return _Prepared(image, inputs)

    def _detect_batch(self, batch: Sequence[_Prepared]) -> list[Annotations]:
        """The regions of images whose inputs have one shape."""
        import torch

        joined = {}
        for name in ("pixel_values", "pixel_mask"):
            if name in batch[0].inputs:
                tensors = [item.inputs[name] for item in batch]
                joined[name] = torch.cat(tensors).to(self.device)
        joined["pixel_values"] = joined["pixel_values"].to(self.model.dtype)
        with torch.inference_mode():
            outputs = self.model(**joined)
        outputs.logits = outputs.logits.float()
        outputs.pred_boxes = outputs.pred_boxes.float()
        # The model saw the padded images, so its boxes are relative to their size.
        sizes = [pad_image(item.image).shape[:2] for item in batch]
        found = self.processor.post_process_object_detection(
            outputs,
            threshold=self.config.min_score,
            target_sizes=torch.tensor(sizes, device=self.device),
        )
        results = []
        for detections, item in zip(found, batch, strict=True):
            regions = self._regions(detections, item.image.shape)
            results.append(Annotations(regions=regions))
        return results

    def _regions(
        self, detections: dict[str, torch.Tensor], image_shape: tuple[int, ...]
    ) -> list[Region]:
        """The best regions of one image, clipped to it.

        `detections` are the (n,) scores and labels and the (n, 4) boxes, xyxy in pixels.
        """
        height, width = image_shape[:2]
        limits = [width, height, width, height]
        scores = detections["scores"].cpu().numpy()
        labels = detections["labels"].cpu().numpy()
        boxes = detections["boxes"].cpu().numpy()
        clipped = np.clip(boxes, 0, limits).astype(float)
        best_first = np.argsort(-scores, kind="stable")
        regions = []
        for index in best_first[: self.config.max_regions]:
            x1, y1, x2, y2 = clipped[index].tolist()
            # A box that lies wholly in the padding is clipped to nothing.
            if x1 >= x2 or y1 >= y2:
                continue
            label = int(labels[index])
            region = Region(
                box=(x1, y1, x2, y2),
                phrase=self.names[label],
                score=float(scores[index]),
            )
            regions.append(region)
        return regions
