"""The colour of a thing in a photo, named only where its mask leaves little doubt.

Each pixel of the mask gets the name of the nearest shade in CIELAB, and no name if another colour
is nearly as near. The thing has a colour if most of its mask agrees. The mask must show more of
this colour than its surroundings, because a mask that has leaked shows the background.
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass

import cv2
import numpy as np

from pipeline.schema import Region
from stages.embedded.domains import Colour
from stages.geometry import decode_mask

MAX_SIDE = 64  # pixels; crops are shrunk to at most this width and height
SURROUNDINGS = 0.1  # margin around the box on each side, as a share of the box's side
MIN_PIXELS = 20  # of the shrunk crop; a smaller mask has no colour
WHOLE = 0.9  # share of a shrunk pixel that is in the mask, or outside, for it to count
FAR = 25.0  # distance in CIELAB from which on a pixel has no name
MARGIN = 8.0  # by so much the second colour must be farther away than the first
AGREE = 0.7  # share of the mask that must have the colour
LIFT = 0.1  # by so much the colour's share of the mask must exceed that of the surroundings

SHADES: Mapping[str, tuple[Colour, ...]] = {
    "black": ((25, 25, 25), (12, 12, 16)),
    "white": ((245, 245, 245), (225, 225, 222)),
    "gray": ((100, 100, 100), (130, 130, 130), (160, 160, 160)),
    "red": ((190, 35, 40), (130, 25, 35), (225, 60, 55), (165, 60, 60)),
    "orange": ((235, 130, 35), (205, 100, 35), (245, 165, 80)),
    "yellow": ((235, 210, 60), (200, 175, 55), (245, 230, 130)),
    "green": ((50, 125, 55), (40, 65, 35), (100, 150, 60), (150, 195, 90), (90, 120, 60)),
    "blue": ((45, 85, 180), (35, 45, 95), (110, 160, 220), (80, 110, 160)),
    "purple": ((125, 60, 150), (75, 35, 85), (165, 120, 190)),
    "pink": ((235, 150, 175), (225, 95, 150), (245, 190, 200)),
    "brown": ((110, 70, 40), (75, 48, 32), (150, 105, 70), (180, 140, 105)),
}
"""Shades (RGB) of each colour name, for photos."""


@dataclass(frozen=True, slots=True)
class _Pixels:
    """Pixels of a crop, (n, 3) float32 in CIELAB units each."""

    inside: np.ndarray
    """Those in the mask."""

    around: np.ndarray
    """Those outside the mask."""


def sure_colours(
    image: np.ndarray, region: Region, shades: Mapping[str, tuple[Colour, ...]] = SHADES
) -> dict[str, float]:
    """The share of a region's mask that each colour has, 0 to 1; all 0 unless one is sure.

    `image` is (height, width, 3) uint8 RGB. A region without a mask has no colour.
    """
    unsure = dict.fromkeys(shades, 0.0)
    if region.mask is None:
        return unsure
    pixels = _pixels(image, region, decode_mask(region.mask))
    if len(pixels.inside) < MIN_PIXELS:
        return unsure
    inside = _shares(pixels.inside, shades)
    best = max(inside, key=inside.__getitem__)
    if inside[best] < AGREE:
        return unsure
    around = _shares(pixels.around, shades)
    return inside if inside[best] - around[best] >= LIFT else unsure


def _pixels(image: np.ndarray, region: Region, mask: np.ndarray) -> _Pixels:
    """The pixels in and around a region's mask, from a crop that is shrunk.

    `image` is (height, width, 3) uint8 RGB, `mask` is (height, width) uint8 of 0 and 1.
    """
    height, width = mask.shape
    x1, y1, x2, y2 = region.box
    margin_x = SURROUNDINGS * (x2 - x1) + 2
    margin_y = SURROUNDINGS * (y2 - y1) + 2
    rows = slice(max(0, int(y1 - margin_y)), min(height, int(y2 + margin_y) + 1))
    columns = slice(max(0, int(x1 - margin_x)), min(width, int(x2 + margin_x) + 1))
    crop = np.ascontiguousarray(image[rows, columns])
    shown = mask[rows, columns].astype(np.float32)
    if not shown.size:
        empty = np.zeros((0, 3), np.float32)
        return _Pixels(empty, empty)

    scale = min(1.0, MAX_SIDE / max(shown.shape))
    size = (max(1, round(shown.shape[1] * scale)), max(1, round(shown.shape[0] * scale)))
    small = cv2.resize(crop, size, interpolation=cv2.INTER_AREA)
    cover = cv2.resize(shown, size, interpolation=cv2.INTER_AREA)
    lab = _to_lab(small)
    return _Pixels(lab[cover > WHOLE], lab[cover < 1 - WHOLE])


def _to_lab(rgb: np.ndarray) -> np.ndarray:
    """Colours in CIELAB units: lightness 0 to 100, a and b about -100 to 100.

    `rgb` is (height, width, 3), 0 to 255; the result has the same shape, float32.
    """
    lab: np.ndarray = cv2.cvtColor(rgb.astype(np.float32) / 255, cv2.COLOR_RGB2LAB)
    return lab


def _shares(pixels: np.ndarray, shades: Mapping[str, tuple[Colour, ...]]) -> dict[str, float]:
    """The share of some pixels, (n, 3) in CIELAB units, that each colour has; 0 to 1."""
    if not len(pixels):
        return dict.fromkeys(shades, 0.0)
    table = _distances(pixels, shades)
    nearest = table.argmin(1)
    ordered = np.partition(table, 1, axis=1)
    is_sure = (ordered[:, 0] < FAR) & (ordered[:, 1] - ordered[:, 0] >= MARGIN)
    counts = np.bincount(nearest[is_sure], minlength=len(shades))
    shares = counts / len(pixels)
    return dict(zip(shades, shares.tolist(), strict=True))


def _distances(pixels: np.ndarray, shades: Mapping[str, tuple[Colour, ...]]) -> np.ndarray:
    """The distance of each pixel to the nearest shade of each colour: (n, colours) float64.

    `pixels` are (n, 3) in CIELAB units.
    """
    starts = []
    colours: list[Colour] = []
    for of_colour in shades.values():
        starts.append(len(colours))
        colours += of_colour
    palette = _to_lab(np.array([colours]))[0].astype(float)
    points = pixels.astype(float)
    # |p - q|^2 = |p|^2 - 2 pq + |q|^2, which is one product of matrices.
    squares = -2 * points @ palette.T
    squares += (points**2).sum(1)[:, None]
    squares += (palette**2).sum(1)
    nearest = np.minimum.reduceat(squares, starts, axis=1)
    distances: np.ndarray = np.sqrt(np.maximum(nearest, 0))
    return distances
