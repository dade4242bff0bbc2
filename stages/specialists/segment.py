"""Masks by box prompt with a SAM model of `transformers`. In: image, regions, triplets. Out: their `mask`.

Paper section 4.3, "Text-phrase-region triplets". SAM, SAM-HQ or (with the extra `torchvision`) SAM 2: an image is
embedded once for all its boxes, and equal boxes are asked once. A mask is cut off at its box; one that is empty there
is left out.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass, replace
from typing import Any, ClassVar

import numpy as np

from pipeline.schema import Annotations, Box
from stages.base import Batch, Result, Sample
from stages.embedded.segment import unmasked
from stages.geometry import encode_mask
from stages.specialists.pretrained import PretrainedConfig, device, load, mapped, picture


@dataclass(frozen=True, slots=True, kw_only=True)
class SamConfig(PretrainedConfig):
    rows: int = 64  # boxes of an image that are asked at once
    min_score: float = 0.2  # regions and triplets below are left alone
    slack: float = 0.05  # how far a mask may reach over its box, as a share of the sides


class Sam:
    version: ClassVar[int] = 2
    reads_images: ClassVar[bool] = True

    def __init__(self, config: SamConfig) -> None:
        from transformers import AutoModelForMaskGeneration, AutoProcessor

        self.config, self.device = config, device(config)
        self.model = load(AutoModelForMaskGeneration, config)
        self.processor = load(AutoProcessor, config)

    def __call__(self, batch: Batch) -> list[Result]:
        return [self.segment(sample) for sample in batch]

    def segment(self, sample: Sample) -> Annotations:
        regions = unmasked(sample, sample.annotations.regions, self.config.min_score)
        triplets = unmasked(sample, sample.annotations.triplets, self.config.min_score)
        boxes = list(dict.fromkeys([*(r.box for r in regions), *(t.box for t in triplets)]))
        if not boxes:
            return Annotations()
        masks = dict(zip(boxes, self.masks(sample.pixels, boxes), strict=True))
        encoded = {box: encode_mask(mask) for box, mask in masks.items() if mask.any()}
        return Annotations(
            regions=[replace(r, mask=encoded[r.box]) for r in regions if r.box in encoded],
            triplets=[replace(t, mask=encoded[t.box]) for t in triplets if t.box in encoded],
        )

    def masks(self, image: np.ndarray, boxes: Sequence[Box]) -> list[np.ndarray]:
        """A (height, width) bool mask for each box."""
        import torch

        inputs = self.processor(images=picture(image), return_tensors="pt")
        pixels = inputs["pixel_values"].to(self.device, self.model.dtype)
        sizes = [
            inputs[name] for name in ("original_sizes", "reshaped_input_sizes") if name in inputs
        ]
        seen = (
            sizes[1][0] if len(sizes) == 2 else torch.tensor(pixels.shape[-2:])
        )  # SAM 2 takes a square
        scale = (seen / sizes[0][0]).flip(0).repeat(2)  # (height, width) to (x, y, x, y)
        height, width = image.shape[:2]

        def answer(piece: list[Box]) -> list[np.ndarray]:
            prompts = (torch.tensor(piece)[None] * scale).to(self.device, self.model.dtype)
            logits = self.model(input_boxes=prompts, multimask_output=False, **embedding).pred_masks
            (found,) = self.processor.image_processor.post_process_masks(
                logits.float().cpu(), *sizes
            )
            return [
                self.inside(m[0, :height, :width].numpy(), b)
                for m, b in zip(found, piece, strict=True)
            ]

        with torch.inference_mode():
            embedding = _embedding(self.model, pixels)
            return mapped(boxes, answer, self.config.rows)

    def inside(self, mask: np.ndarray, box: Box) -> np.ndarray:
        dx, dy = self.config.slack * (box[2] - box[0]), self.config.slack * (box[3] - box[1])
        x1, y1 = max(0, int(box[0] - dx)), max(0, int(box[1] - dy))
        x2, y2 = int(np.ceil(box[2] + dx)), int(np.ceil(box[3] + dy))
        kept = np.zeros_like(mask, bool)
        kept[y1:y2, x1:x2] = mask[y1:y2, x1:x2]
        return kept


def _embedding(model: Any, pixels: Any) -> dict[str, Any]:
    """What the model needs of the image for every further prompt; SAM-HQ also looks at an earlier layer."""
    found = model.get_image_embeddings(pixels)
    if isinstance(found, tuple):
        return {"image_embeddings": found[0], "intermediate_embeddings": found[1]}
    return {"image_embeddings": found}
