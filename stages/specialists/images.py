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
    """The image made large enough for every processor.

    The last column is repeated to the right and the last row below, so boxes keep their
    coordinates. `image` and the result are (height, width, 3) uint8 RGB.
    """
    height, width = image.shape[:2]
    # Rounded up.
    aspect_side = -(-max(height, width) // MAX_ASPECT)
    min_side = max(MIN_SIDE, aspect_side)
    below = max(0, min_side - height)
    right = max(0, min_side - width)
    if not below and not right:
        return image
    margins = ((0, below), (0, right), (0, 0))
    return np.pad(image, margins, "edge")


def grey_image() -> np.ndarray:
    """A (64, 64, 3) uint8 RGB image, on which a stage tries its model."""
    return np.full((64, 64, 3), 128, np.uint8)


def to_pil(image: np.ndarray) -> Image:
    """The padded image for a processor, which would have to guess the layout of an array.

    `image` is (height, width, 3) uint8 RGB.
    """
    from PIL import Image

    return Image.fromarray(pad_image(image))


def crop_box(image: np.ndarray, box: Box, context: float) -> np.ndarray:
    """The part of an image that lies in a box; at least one pixel.

    Args:
        image: (height, width, ...), of any dtype.
        box: xyxy in pixels; it may reach out of the image.
        context: a margin on each side, as a share of the box's side.

    Returns:
        A view of the image.
    """
    height, width = image.shape[:2]
    left, top, right, bottom = box
    margin_x = context * (right - left)
    margin_y = context * (bottom - top)
    x1, x2 = _pixel_range(left - margin_x, right + margin_x, width)
    y1, y2 = _pixel_range(top - margin_y, bottom + margin_y, height)
    return image[y1:y2, x1:x2]


def _pixel_range(low: float, high: float, size: int) -> tuple[int, int]:
    """The pixels from `low` to `high`, half-open: within 0 to `size`, and at least one."""
    start = max(0, int(low))
    start = min(start, size - 1)
    end = int(np.ceil(high))
    stop = min(size, end)
    stop = max(start + 1, stop)
    return start, stop
