"""The signs of rendered scenes: a white plate with a word in dark capital letters.

The order of the random numbers fixes the bytes of every scene, so it must stay as it is.
"""

from __future__ import annotations

from functools import cache

import numpy as np
from PIL import Image, ImageDraw, ImageFont

from stages.embedded.domains import SIGN_RGB
from stages.embedded.scene_truth import SIGN_MARGIN_X, SIGN_MARGIN_Y

_INK_RGB = (16, 16, 16)


def paint_sign(image: np.ndarray, word: str, rng: np.random.Generator) -> np.ndarray:
    """Paints a white plate with a word at a random place into the image.

    Args:
        image: (height, width, 3) float64 RGB, 0 to 255, changed in place.
        word: what is written on the plate.
        rng: where the random numbers come from.

    Returns:
        The coverage of the plate, (height, width) uint8, 0 to 255.
    """
    image_size = image.shape[0]
    font_size = int(rng.integers(24, 29))
    font = _font(font_size)
    ink = _ink(word, font)
    margin_y = (SIGN_MARGIN_Y, SIGN_MARGIN_Y)
    margin_x = (SIGN_MARGIN_X, SIGN_MARGIN_X)
    plate = np.pad(ink, (margin_y, margin_x))
    height, width = plate.shape
    most_x = image_size - width - 1
    most_y = image_size - height - 1
    x = int(rng.integers(2, most_x))
    y = int(rng.integers(2, most_y))
    rows = slice(y, y + height)
    columns = slice(x, x + width)
    # Each pixel is a mixture of ink and plate.
    ink_share = plate[..., None]
    dark = ink_share * np.array(_INK_RGB)
    light = (1 - ink_share) * np.array(SIGN_RGB)
    image[rows, columns] = dark + light
    alpha = np.zeros((image_size, image_size), np.uint8)
    alpha[rows, columns] = 255
    return alpha


def _ink(word: str, font: ImageFont.FreeTypeFont) -> np.ndarray:
    """Coverage of a word, cropped to the pixels that it touches.

    The result is (height, width) float64, 0 to 1.
    """
    em = int(font.size)
    # Large enough for any word of capital letters.
    width = em * (len(word) + 1)
    height = 2 * em
    canvas = Image.new("L", (width, height))
    draw = ImageDraw.Draw(canvas)
    draw.text((4, 4), word, fill=255, font=font)
    touched = canvas.getbbox()
    ink = canvas.crop(touched)
    return np.asarray(ink) / 255.0


@cache
def _font(size: int) -> ImageFont.FreeTypeFont:
    """The font of all signs; `size` is that of an em, in pixels.

    It is read from Pillow once.
    """
    # This outline font is part of Pillow's wheel, so the letters are the same on every machine.
    font = ImageFont.load_default(size)
    assert isinstance(font, ImageFont.FreeTypeFont), "Pillow was built without FreeType"
    return font
