"""Renders scenes with exact truth, for the demo and for the checkpoint in the repository.

In: a `SceneDomain`, a seed and an index. Out: a `Scene`: an RGB image and its `Annotations` (texts,
regions with masks of their visible part, sign texts, grounded noun phrases). The same input always
gives the same bytes.

A scene is a noisy gradient with flat shapes of one colour each. Later shapes hide parts of earlier
ones, and often a white sign with a word lies on top. Texts and regions go from the largest visible
area to the smallest; the sign comes last.
"""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from itertools import pairwise

import cv2
import numpy as np

from pipeline.schema import Annotations, Box
from stages.embedded.domains import DEMO, PRETRAIN, SIGN, SIGN_COLOUR, SceneDomain
from stages.embedded.scene_text import SceneObject
from stages.embedded.scene_truth import Drawing, VisibleObject, truth_of
from stages.embedded.sign import paint_sign

__all__ = ["DEMO", "PRETRAIN", "Scene", "SceneDomain", "render", "scenes"]

_ATTEMPTS = 200
# Share of a shape that later shapes must leave visible.
_MIN_VISIBLE = 0.45
# Each of the three largest shapes must be larger than the next by this factor, so that their order
# shows.
_MIN_AREA_RATIO = 1.15


@dataclass(frozen=True, slots=True)
class Scene:
    """A rendered image and its exact annotations."""

    image: np.ndarray
    """(height, width, 3) uint8 RGB, read-only."""

    truth: Annotations
    """Annotations with the source 'truth'."""

    hidden: Sequence[float]
    """The share of each true region, in their order, that other things hide."""


@dataclass(frozen=True, slots=True)
class _Layer:
    """One painted shape or sign."""

    size: str
    """Size word; empty for a sign."""

    colour: str
    """Name of the colour."""

    category: str
    """Name of the drawing."""

    alpha: np.ndarray
    """(height, width) uint8 coverage, 0 to 255."""


def render(domain: SceneDomain, seed: int, index: int) -> Scene:
    """Scene number `index` of the endless series of this domain and seed.

    Raises ValueError if the domain is too crowded, so that no clear scene is found.
    """
    rng = np.random.default_rng([seed, index, sum(domain.name.encode())])
    for _ in range(_ATTEMPTS):
        drawing = _draw(domain, rng)
        if _is_clear(drawing.objects):
            break
    else:
        raise ValueError(
            f"domain {domain.name!r} is too crowded for scene {index}: lower its objects or sizes"
        )
    noise = rng.normal(0.0, domain.noise, drawing.image.shape)
    noisy = drawing.image + noise
    # Rounded to the nearest number, since the conversion cuts off.
    pixels = np.clip(noisy + 0.5, 0, 255).astype(np.uint8)
    pixels.setflags(write=False)
    hidden = [item.hidden for item in drawing.objects]
    return Scene(pixels, truth_of(domain, drawing), hidden)


def scenes(domain: SceneDomain, seed: int, count: int) -> Iterator[Scene]:
    """The first `count` scenes of the series."""
    return (render(domain, seed, index) for index in range(count))


def _draw(domain: SceneDomain, rng: np.random.Generator) -> Drawing:
    """Draws a random scene. The order of the random numbers fixes the bytes of every scene."""
    image = _background(domain.image_size, rng)
    shapes = list(domain.shapes)
    colours = list(domain.colours)
    fewest, most = domain.objects
    count = int(rng.integers(fewest, most + 1))
    # No two shapes of a scene share both category and colour.
    combination_count = len(shapes) * len(colours)
    chances = _chances(domain)
    combinations = rng.choice(combination_count, count, replace=False, p=chances)
    layers = []
    for combination in combinations:
        colour_index, shape_index = divmod(combination, len(shapes))
        category = shapes[shape_index]
        colour = colours[colour_index]
        layers.append(_paint_shape(image, domain, category, colour, rng))

    word = ""
    if rng.random() < domain.sign_rate:
        word = str(rng.choice(domain.sign_words))
        alpha = paint_sign(image, word, rng)
        sign = _Layer(
            size="",
            colour=SIGN_COLOUR,
            category=SIGN,
            alpha=alpha,
        )
        layers.append(sign)
    return Drawing(image, _visible_objects(layers), word)


def _chances(domain: SceneDomain) -> np.ndarray | None:
    """The probability of each colour and shape, (colours * shapes,) float64; None if all are alike.

    The shapes of one colour stand next to each other.
    """
    if not domain.zipf:
        # Without probabilities numpy draws other numbers, which are those of all earlier scenes.
        return None
    ranks = np.arange(1, len(domain.shapes) + 1)
    weights = ranks**-domain.zipf
    by_colour = np.tile(weights, len(domain.colours))
    return by_colour / by_colour.sum()


def _paint_shape(
    image: np.ndarray,
    domain: SceneDomain,
    category: str,
    colour: str,
    rng: np.random.Generator,
) -> _Layer:
    """Paints a shape of random size, place and shade into the image.

    Args:
        image: (height, width, 3) float64 RGB, 0 to 255, changed in place.
        domain: gives the sizes, the drawings and the colours.
        category: name of the drawing.
        colour: name of the colour.
        rng: where the random numbers come from.
    """
    sizes = list(domain.sizes)
    size_index = rng.integers(len(sizes))
    size = sizes[size_index]
    low, high = domain.sizes[size]
    radius = rng.uniform(low, high)
    alpha = _shape_alpha(domain, category, radius, rng)
    variation = rng.integers(-8, 9, 3)
    shade = np.clip(np.array(domain.colours[colour]) + variation, 0, 255)
    # Pixels at the edge are covered in part only.
    weight = alpha[..., None] / 255.0
    image += weight * (shade - image)
    return _Layer(size, colour, category, alpha)


def _visible_objects(layers: Sequence[_Layer]) -> list[VisibleObject]:
    """The visible part of each layer, largest first, the sign last.

    A layer that is hidden too much gives an object without pixels.
    """
    hidden = np.zeros(layers[0].alpha.shape, bool)
    objects = []
    for layer in reversed(layers):
        whole = layer.alpha >= 128
        visible = whole & ~hidden
        hidden |= whole
        least = _MIN_VISIBLE * whole.sum()
        hidden_share = 1 - float(visible.sum() / whole.sum())
        if visible.sum() < least:
            visible = np.zeros_like(visible)
        item = SceneObject(
            size=layer.size,
            colour=layer.colour,
            category=layer.category,
            box=_tight_box(visible),
        )
        objects.append(VisibleObject(item, visible, hidden_share))
    return sorted(objects, key=lambda item: (item.is_sign, -item.area))


def _is_clear(objects: Sequence[VisibleObject]) -> bool:
    """Whether every shape can be seen, and the order of the three largest is beyond doubt."""
    areas = [item.area for item in objects if not item.is_sign]
    if min(areas) == 0:
        return False
    largest = areas[:3]
    return all(larger >= _MIN_AREA_RATIO * smaller for larger, smaller in pairwise(largest))


def _background(size: int, rng: np.random.Generator) -> np.ndarray:
    """A linear gradient between two greyish tints in a random direction.

    The result is (size, size, 3) float64, 0 to 255.
    """
    greys = rng.uniform(95, 165, 2)
    tints = rng.uniform(-14, 14, (2, 3))
    start, end = greys[:, None] + tints
    angle = rng.uniform(0, 2 * np.pi)
    # Coordinates from -0.5 to 0.5 around the centre.
    y, x = np.mgrid[0:size, 0:size] / size - 0.5
    distance = x * np.cos(angle) + y * np.sin(angle)
    ramp = distance / np.sqrt(2) + 0.5
    return start + ramp[..., None] * (end - start)


def _shape_alpha(
    domain: SceneDomain,
    category: str,
    radius: float,
    rng: np.random.Generator,
) -> np.ndarray:
    """Coverage of a randomly rotated shape at a random place wholly inside the image.

    Args:
        domain: gives the size of the image and the drawings.
        category: name of the drawing.
        radius: of the circle around the drawing, in pixels.
        rng: where the random numbers come from.

    Returns:
        (height, width) uint8, 0 to 255.
    """
    size = domain.image_size
    degrees = rng.uniform(-domain.turn, domain.turn)
    turn = np.deg2rad(degrees)
    cosine = np.cos(turn)
    sine = np.sin(turn)
    rotation = np.array([[cosine, -sine], [sine, cosine]])
    matrix = rotation * radius
    margin = radius * 1.1
    centre = rng.uniform(margin, size - margin, 2)
    polygons = []
    for outline in domain.shapes[category]:
        points = np.asarray(outline) @ matrix.T + centre
        # OpenCV takes fixed-point coordinates: 4 bits behind the point, so a unit is 1/16 pixel.
        polygons.append(np.round(points * 16).astype(np.int32))
    alpha = np.zeros((size, size), np.uint8)
    cv2.fillPoly(alpha, polygons, 255, cv2.LINE_AA, 4)
    return alpha


def _tight_box(visible: np.ndarray) -> Box:
    """The smallest box around a (height, width) bool mask, xyxy in pixels.

    All zeros for an empty mask.
    """
    if not visible.any():
        return (0.0, 0.0, 0.0, 0.0)
    columns = np.flatnonzero(visible.any(axis=0))
    rows = np.flatnonzero(visible.any(axis=1))
    left = float(columns[0])
    top = float(rows[0])
    # Boxes end behind their last pixel.
    right = float(columns[-1] + 1)
    bottom = float(rows[-1] + 1)
    return (left, top, right, bottom)
