"""Images in the form that the processors of `transformers` can take."""

from __future__ import annotations

from typing import TYPE_CHECKING

import numpy as np

from pipeline.schema import Box

if TYPE_CHECKING:
    from PIL.Image import Image

MIN_SIDE = 8  # pixels; processors mistake a side of 1 or 3 for the colour channels
# A processor that resizes the shorter side to a fixed length would need gigabytes for a wider
# image.
MAX_ASPECT = 16


def pad_image(image: np.ndarray) -> np.ndarray:
    """The image, (height, width, 3) uint8 RGB, made large enough for every processor.

    The last column is repeated to the right and the last row below, so boxes keep their
    coordinates.
    """
    height, width = image.shape[:2]
    min_side = max(MIN_SIDE, -(-max(height, width) // MAX_ASPECT))
    below = max(0, min_side - height)
    right = max(0, min_side - width)
    if not below and not right:
        return image
    return np.pad(image, ((0, below), (0, right), (0, 0)), "edge")


def to_pil(image: np.ndarray) -> Image:
    """The padded image for a processor, which would have to guess the layout of an array.

    `image` is (height, width, 3) uint8 RGB.
    """
    from PIL import Image

    return Image.fromarray(pad_image(image))


def crop_box(image: np.ndarray, box: Box, context: float) -> np.ndarray:
    """The part of an image, (height, width, ...), in a box (xyxy in pixels); at least one pixel.

    `context` is a margin on each side, as a share of the box's side.
    """
    height, width = image.shape[:2]
    margin_x = context * (box[2] - box[0])
    margin_y = context * (box[3] - box[1])
    x1 = min(max(0, int(box[0] - margin_x)), width - 1)
    y1 = min(max(0, int(box[1] - margin_y)), height - 1)
    x2 = max(x1 + 1, min(width, int(np.ceil(box[2] + margin_x))))
    y2 = max(y1 + 1, min(height, int(np.ceil(box[3] + margin_y))))
    return image[y1:y2, x1:x2]
