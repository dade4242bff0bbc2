"""Images and crops as models take them."""

from __future__ import annotations

import numpy as np

from stages.specialists.images import crop_box, pad_image


def test_thin_and_tiny_images_are_padded_at_the_right_and_below() -> None:
    image = np.arange(4000 * 3, dtype=np.uint8).reshape(4000, 1, 3)
    assert pad_image(image).shape == (4000, 250, 3)
    assert (pad_image(image) == image).all()
    assert pad_image(np.zeros((1, 1, 3), np.uint8)).shape == (8, 8, 3)
    fits = np.zeros((100, 9, 3), np.uint8)
    assert pad_image(fits) is fits


def test_a_crop_has_a_margin_and_at_least_a_pixel_of_the_image() -> None:
    image = np.arange(100).reshape(10, 10)
    assert crop_box(image, (2.0, 2.0, 4.0, 6.0), 0.5).shape == (8, 4)
    assert crop_box(image, (50.0, 50.0, 50.0, 50.0), 0.0).tolist() == [[99]]
