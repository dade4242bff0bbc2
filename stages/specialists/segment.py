"""Masks by box prompt with a SAM model of `transformers`.

In: image, regions, triplets. Out: their `mask`.

Paper section 4.3, "Text-phrase-region triplets". The model is SAM, SAM-HQ or (with the extra
`torchvision`) SAM 2. An image is embedded once for all its boxes. A mask is cut off a little
outside its box; a box in which the mask is empty gets none.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from typing import TYPE_CHECKING, ClassVar

import numpy as np

from pipeline.schema import Annotations, Box
from stages.base import Batch, Result, Sample
from stages.checkpoints import CheckpointNeeds
from stages.ranges import Share
from stages.specialists.batching import map_batches
from stages.specialists.images import grey_image, to_pil
from stages.specialists.masks import find_unmasked
from stages.specialists.pretrained import (
    PretrainedConfig,
    check_pretrained,
    choose_device,
    load_pretrained,
    probe,
)

if TYPE_CHECKING:
    import torch


NEEDS = CheckpointNeeds(
    "a SAM, SAM-HQ or SAM 2", lambda config: str(config.get("model_type")).startswith("sam")
)


@dataclass(frozen=True, slots=True, kw_only=True)
class SamConfig(PretrainedConfig):
    """Settings of `sam`."""

    rows: int = 64
    """Number of boxes of an image that go through the model at once."""

    min_score: Share = 0.2
    """Regions and triplets with a lower score get no mask."""

    slack: float = 0.05
    """How far a mask may reach out of its box on each side, as a share of the box's side."""


@dataclass(frozen=True, slots=True)
class _EmbeddedImage:
    """What all prompts of an image share."""

    embeddings: dict[str, torch.Tensor | list[torch.Tensor]]
    """Arguments of the model that stand for the image."""

    sizes: list[torch.Tensor]
    """Arguments of the processor's `post_process_masks`.

    The (1, 2) original size of the image, and for SAM its (1, 2) resized one, as (height, width).
    """

    scale: torch.Tensor
    """(4,) float factors from a box, xyxy in pixels of the image, to the model's coordinates."""


class Sam:
    """Segments every region and triplet that has no mask."""

    version: ClassVar[int] = 2
    reads_images: ClassVar[bool] = True
    needs: ClassVar[tuple[str, ...]] = ("regions or triplets",)
    gives: ClassVar[tuple[str, ...]] = ()
    revises: ClassVar[tuple[str, ...]] = ("regions", "triplets")

    def __init__(self, config: SamConfig) -> None:
        from transformers import AutoModelForMaskGeneration, AutoProcessor

        self.check(config)
        self.config = config
        self.device = choose_device(config)
        self.model = load_pretrained(AutoModelForMaskGeneration, config)
        self.processor = load_pretrained(AutoProcessor, config)
        probe(config, lambda: self.masks(grey_image(), [(8.0, 8.0, 56.0, 56.0)]))

    @staticmethod
    def check(config: SamConfig) -> None:
        """See `stages.base.Stage`."""
        check_pretrained(config, NEEDS)

    def __call__(self, batch: Batch) -> list[Result]:
        return [self.segment(sample) for sample in batch]

    def segment(self, sample: Sample) -> Annotations:
        """The regions and triplets of one sample with their new masks."""
        unmasked = find_unmasked(sample, self.config.min_score)
        boxes = unmasked.boxes
        if not boxes:
            return Annotations()
        masks = {}
        for box, mask in zip(boxes, self.masks(sample.pixels, boxes), strict=True):
            if mask.any():
                masks[box] = mask
        return unmasked.with_masks(masks)

    def masks(self, image: np.ndarray, boxes: Sequence[Box]) -> list[np.ndarray]:
        """A (height, width) bool mask for each box.

        `image` is (height, width, 3) uint8 RGB; boxes are xyxy in pixels.
        """
        import torch

        height, width = image.shape[:2]
        with torch.inference_mode():
            embedded = self._embed(image)

            def segment_batch(batch: list[Box]) -> list[np.ndarray]:
                """The masks of boxes (xyxy in pixels) that go through the model at once.

                Each is (height, width) bool.
                """
                masks = []
                raw_masks = self._run(embedded, batch)
                for raw_mask, box in zip(raw_masks, batch, strict=True):
                    # Small images were padded at the right and below.
                    mask = raw_mask[:height, :width]
                    masks.append(self._cut_off(mask, box))
                return masks

            return map_batches(boxes, segment_batch, self.config.rows)

    def _embed(self, image: np.ndarray) -> _EmbeddedImage:
        """What all prompts of a (height, width, 3) uint8 RGB image share."""
        import torch

        inputs = self.processor(images=to_pil(image), return_tensors="pt")
        pixels = inputs["pixel_values"].to(self.device, self.model.dtype)
        sizes = [inputs["original_sizes"]]
        if "reshaped_input_sizes" in inputs:
            sizes.append(inputs["reshaped_input_sizes"])
            model_size = sizes[1][0]
        else:
            # SAM 2 stretches every image to a square.
            model_size = torch.tensor(pixels.shape[-2:])
        # Sizes are (height, width), boxes are (x, y, x, y).
        scale = (model_size / sizes[0][0]).flip(0).repeat(2)

        embeddings = self.model.get_image_embeddings(pixels)
        if isinstance(embeddings, tuple):
            # SAM-HQ needs the embeddings of earlier layers, too.
            final, intermediate = embeddings
            arguments = {
                "image_embeddings": final,
                "intermediate_embeddings": intermediate,
            }
        else:
            arguments = {"image_embeddings": embeddings}
        return _EmbeddedImage(arguments, sizes, scale)

    def _run(self, embedded: _EmbeddedImage, boxes: Sequence[Box]) -> list[np.ndarray]:
        """A bool mask of the padded image for each box."""
        import torch

        prompts = torch.tensor(boxes)[None] * embedded.scale
        output = self.model(
            input_boxes=prompts.to(self.device, self.model.dtype),
            multimask_output=False,
            **embedded.embeddings,
        )
        logits = output.pred_masks.float().cpu()
        image_processor = self.processor.image_processor
        (masks,) = image_processor.post_process_masks(logits, *embedded.sizes)
        return [mask[0].numpy() for mask in masks]

    def _cut_off(self, mask: np.ndarray, box: Box) -> np.ndarray:
        """The mask without the parts that reach out of its box further than the slack.

        `mask` and the result are (height, width) bool; the box is xyxy in pixels.
        """
        left, top, right, bottom = box
        slack_x = self.config.slack * (right - left)
        slack_y = self.config.slack * (bottom - top)
        x1 = max(0, int(left - slack_x))
        y1 = max(0, int(top - slack_y))
        x2 = int(np.ceil(right + slack_x))
        y2 = int(np.ceil(bottom + slack_y))
        inside = np.zeros_like(mask, bool)
        inside[y1:y2, x1:x2] = mask[y1:y2, x1:x2]
        return inside
