"""A colour of a photo is named only where the mask is sure of it."""

from __future__ import annotations

import numpy as np
import pytest

from pipeline.schema import Box, Region
from stages.embedded.colours import SHADES, sure_colours
from stages.geometry import encode_mask

BOX: Box = (20.0, 20.0, 80.0, 80.0)
GRASS = (60, 110, 50)


def colour(image: np.ndarray, mask: np.ndarray | None) -> str:
    """The colour of the region, '' if none is sure."""
    encoded = None if mask is None else encode_mask(mask)
    shares = sure_colours(image, Region(box=BOX, phrase="chair", mask=encoded))
    assert list(shares) == list(SHADES)
    best = max(shares, key=shares.__getitem__)
    return best if shares[best] else ""


def scene(inside: tuple[int, int, int], around: tuple[int, int, int]) -> np.ndarray:
    """A square of one colour on a ground of another."""
    image = np.full((100, 100, 3), around, np.uint8)
    image[30:70, 30:70] = inside
    return image


def square(top: int = 30, bottom: int = 70) -> np.ndarray:
    mask = np.zeros((100, 100), bool)
    mask[top:bottom, 30:70] = True
    return mask


@pytest.mark.parametrize(
    ("rgb", "name"),
    [
        ((255, 0, 0), "red"),
        ((139, 0, 0), "red"),
        ((255, 165, 0), "orange"),
        ((255, 215, 0), "yellow"),
        ((0, 128, 0), "green"),
        ((65, 105, 225), "blue"),
        ((128, 0, 128), "purple"),
        ((255, 182, 193), "pink"),
        ((139, 69, 19), "brown"),
        ((0, 0, 0), "black"),
        ((255, 255, 255), "white"),
        ((128, 128, 128), "gray"),
    ],
)
def test_colours_of_css_have_their_names(rgb: tuple[int, int, int], name: str) -> None:
    """CSS Color Module: red, darkred, orange, gold, green, royalblue, purple, lightpink,
    saddlebrown, black, white, gray. Pure colours may be farther from every shade than things are.
    """
    found = colour(scene(rgb, (60, 200, 200)), square())
    assert found in (name, "")
    assert found or name in ("red", "orange", "yellow", "green", "purple", "brown")


def test_only_the_mask_counts_and_without_one_there_is_no_colour() -> None:
    image = scene((190, 35, 40), GRASS)
    assert colour(image, square()) == "red"
    assert colour(image, None) == ""


def test_a_colour_between_two_names_is_not_named() -> None:
    between = (60, 60, 60)  # halfway from black to gray
    assert colour(scene(between, GRASS), square()) == ""


def test_a_thing_of_two_colours_has_none() -> None:
    image = scene((245, 245, 245), GRASS)
    image[30:50, 30:70] = (25, 25, 25)
    assert colour(image, square()) == ""
    assert colour(image, square(bottom=50)) == "black"


def test_a_mask_that_shows_what_is_around_it_has_no_colour() -> None:
    road = np.full((100, 100, 3), (130, 130, 130), np.uint8)
    assert colour(road, square()) == ""
    assert colour(scene((130, 130, 130), GRASS), square()) == "gray"


def test_a_mask_of_a_few_pixels_has_no_colour() -> None:
    image = scene((190, 35, 40), GRASS)
    few = np.zeros((100, 100), bool)
    few[40:45, 40:45] = True
    assert colour(image, few) == ""
