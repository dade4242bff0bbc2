"""Images as the input of the vision tower."""

from __future__ import annotations

from collections.abc import Sequence
from typing import TYPE_CHECKING

import cv2
import numpy as np

if TYPE_CHECKING:
    import torch

# Mean and standard deviation of ImageNet's colours, with which the released models were trained.
MEAN = (0.485, 0.456, 0.406)
DEVIATION = (0.229, 0.224, 0.225)


def pixel_values(images: Sequence[np.ndarray], resolution: int) -> torch.Tensor:
    """Resize images to a square, ignoring their aspect ratio, and normalise their colours.

    Args:
        images: each (height, width, 3), uint8, RGB.
        resolution: side of the square, in pixels.

    Returns:
        (images, 3, resolution, resolution), float32, on the CPU.
    """
    import torch

    return torch.from_numpy(np.stack([_prepare(image, resolution) for image in images]))


def _prepare(image: np.ndarray, resolution: int) -> np.ndarray:
    """One image as (3, resolution, resolution), float32."""
    # Shrinking averages areas. The released code shrinks bicubically without a low-pass filter,
    # which would alias at the 64 pixels of the small model.
    is_shrinking = min(image.shape[:2]) > resolution
    interpolation = cv2.INTER_AREA if is_shrinking else cv2.INTER_CUBIC
    resized = cv2.resize(image, (resolution, resolution), interpolation=interpolation)
    mean, deviation = np.array(MEAN, np.float32), np.array(DEVIATION, np.float32)
    normalised = (resized.astype(np.float32) / 255 - mean) / deviation
    return normalised.transpose(2, 0, 1)
