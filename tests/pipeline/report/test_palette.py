from __future__ import annotations

from itertools import combinations

import numpy as np
import pytest

from pipeline.report.palette import DARK, LIGHT, PALETTE, QUAD_COLOUR, contrast, ink_on, linear

# What people without one kind of cone see, in linear RGB: Machado, Oliveira and Fernandes,
# "A Physiologically-based Model for Simulation of Color Vision Deficiency" (2009), severity 1.
VISION = {
    "all cones": [[1, 0, 0], [0, 1, 0], [0, 0, 1]],
    "protanopia": [
        [0.152286, 1.052583, -0.204868],
        [0.114503, 0.786281, 0.099216],
        [-0.003882, -0.048116, 1.051998],
    ],
    "deuteranopia": [
        [0.367322, 0.860646, -0.227968],
        [0.280085, 0.672501, 0.047413],
        [-0.011820, 0.042940, 0.968881],
    ],
    "tritanopia": [
        [1.255528, -0.076749, -0.178779],
        [-0.078411, 0.930809, 0.147602],
        [0.004733, 0.691367, 0.303900],
    ],
}
XYZ_OF_RGB = np.array(
    [[0.4124, 0.3576, 0.1805], [0.2126, 0.7152, 0.0722], [0.0193, 0.1192, 0.9505]]
)
WHITE = XYZ_OF_RGB.sum(axis=1)


def lab(colour: str, vision: list[list[float]]) -> np.ndarray:
    """CIELAB of a colour as such eyes see it."""
    seen = np.clip(np.array(vision) @ np.array(linear(colour)), 0, 1)
    x, y, z = np.cbrt(XYZ_OF_RGB @ seen / WHITE)
    return np.array([116 * y - 16, 500 * (x - y), 200 * (y - z)])


@pytest.mark.parametrize("vision", VISION)
def test_any_two_colours_look_different_to_colour_blind_people(vision: str) -> None:
    for one, other in combinations((*PALETTE, QUAD_COLOUR), 2):
        distance = np.linalg.norm(lab(one, VISION[vision]) - lab(other, VISION[vision]))
        # A difference of 2.3 is just noticeable side by side.
        assert distance > 12, (one, other)


def test_the_contrast_of_black_and_white_is_21() -> None:
    assert contrast("#000000", "#ffffff") == pytest.approx(21)
    assert contrast("#777777", "#ffffff") == pytest.approx(4.48, abs=0.005)  # WebAIM's checker


@pytest.mark.parametrize("colour", [*PALETTE, QUAD_COLOUR])
def test_words_on_every_colour_have_the_contrast_that_wcag_aa_asks_for(colour: str) -> None:
    assert contrast(ink_on(colour), colour) >= 4.5


def test_the_ink_is_the_one_that_is_read_better() -> None:
    assert ink_on("#000000") == LIGHT and ink_on("#ffffff") == DARK
