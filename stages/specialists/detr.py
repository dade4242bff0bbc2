"""Boxes with categories by a detector of `transformers`. In: image. Out: regions, best first.

Paper section 4.3 takes DINO; here it is any checkpoint of the DETR family (RT-DETR, D-FINE, Deformable DETR,
DAB-DETR, ...). What is stored is the raw signal; thresholds and suppression are the region filter's.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from typing import ClassVar

import numpy as np

from pipeline.schema import Annotations, Box, Region
from stages.base import Batch, Result
from stages.specialists.pretrained import PretrainedConfig, device, load, mapped, padded, picture


@dataclass(frozen=True, slots=True, kw_only=True)
class DetrConfig(PretrainedConfig):
    min_score: float = 0.01
    max_regions: int = 300


class Detr:
    version: ClassVar[int] = 2
    reads_images: ClassVar[bool] = True

    def __init__(self, config: DetrConfig) -> None:
        from transformers import AutoImageProcessor, AutoModelForObjectDetection

        self.config, self.device = config, device(config)
        self.model = load(AutoModelForObjectDetection, config)
        self.processor = load(AutoImageProcessor, config)
        self.names: dict[int, str] = self.model.config.id2label

    def __call__(self, batch: Batch) -> list[Result]:
        images = [sample.pixels for sample in batch]
        inputs = [self.processor(images=picture(image), return_tensors="pt") for image in images]
        pairs = list(zip(images, inputs, strict=True))
        return [
            *mapped(
                pairs,
                self.detect,
                self.config.rows,
                lambda pair: tuple(pair[1]["pixel_values"].shape),
            )
        ]

    def detect(self, pairs: Sequence[tuple[np.ndarray, dict]]) -> list[Annotations]:
        import torch

        images, inputs = zip(*pairs, strict=True)
        names = [name for name in ("pixel_values", "pixel_mask") if name in inputs[0]]
        joined = {name: torch.cat([x[name] for x in inputs]).to(self.device) for name in names}
        joined["pixel_values"] = joined["pixel_values"].to(self.model.dtype)
        with torch.inference_mode():
            outputs = self.model(**joined)
        outputs.logits, outputs.pred_boxes = outputs.logits.float(), outputs.pred_boxes.float()
        sizes = torch.tensor([padded(image).shape[:2] for image in images], device=self.device)
        found = self.processor.post_process_object_detection(
            outputs, threshold=self.config.min_score, target_sizes=sizes
        )
        return [self.regions(one, image.shape) for one, image in zip(found, images, strict=True)]

    def regions(self, found: dict, size: tuple[int, ...]) -> Annotations:
        scores = found["scores"].cpu().numpy()
        order = np.argsort(-scores, kind="stable")[: self.config.max_regions]
        limit = [size[1], size[0]] * 2
        boxes = np.clip(found["boxes"].cpu().numpy(), 0, limit).astype(float)[order].tolist()
        labels = found["labels"].cpu().numpy()[order]
        regions = []
        for (x1, y1, x2, y2), label, score in zip(boxes, labels, scores[order], strict=True):
            box: Box = (x1, y1, x2, y2)
            if x1 < x2 and y1 < y2:  # not in the padding
                regions.append(Region(box=box, phrase=self.names[int(label)], score=float(score)))
        return Annotations(regions=regions)
