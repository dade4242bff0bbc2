"""Rendered scenes with exact truth: the images of the demo, and of the checkpoint in the
repository.

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
from functools import cache
from itertools import pairwise

import cv2
import numpy as np
from PIL import Image, ImageDraw, ImageFont

from pipeline.schema import Annotations, Box, Mask, Quad, Region, Text, TextRegion, Triplet
from stages.embedded.domains import DEMO, PRETRAIN, SIGN, SIGN_COLOUR, SIGN_RGB, SceneDomain
from stages.embedded.scene_text import Mention, SceneObject, describe_scene
from stages.geometry import encode_mask

__all__ = ["DEMO", "PRETRAIN", "Scene", "SceneDomain", "render", "scenes"]

_INK_RGB = (16, 16, 16)
_MARGIN_X, _MARGIN_Y = 8, 7  # pixels of a sign around the ink of its word
_ATTEMPTS = 200
_MIN_VISIBLE = 0.45  # share of a shape that later shapes must leave visible
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


@dataclass(frozen=True, slots=True)
class _Layer:
    """One painted shape or sign; `alpha` is its (height, width) uint8 coverage, 0 to 255."""

    size: str
    colour: str
    category: str
    alpha: np.ndarray


@dataclass(frozen=True, slots=True)
class _VisibleObject:
    """An object with the (height, width) bool mask of its visible pixels."""

    object: SceneObject
    visible: np.ndarray

    @property
    def area(self) -> int:
        return int(self.visible.sum())

    @property
    def is_sign(self) -> bool:
        return self.object.category == SIGN


@dataclass(frozen=True, slots=True)
class _Drawing:
    """A scene before noise is added: a (height, width, 3) float64 image, its objects and the sign's
    word.
    """

    image: np.ndarray
    objects: list[_VisibleObject]
    word: str


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
    noisy = drawing.image + rng.normal(0.0, domain.noise, drawing.image.shape)
    pixels = np.clip(noisy + 0.5, 0, 255).astype(np.uint8)
    pixels.setflags(write=False)
    return Scene(pixels, _truth(domain, drawing))


def scenes(domain: SceneDomain, seed: int, count: int) -> Iterator[Scene]:
    """The first `count` scenes of the series."""
    return (render(domain, seed, index) for index in range(count))


def _draw(domain: SceneDomain, rng: np.random.Generator) -> _Drawing:
    image = _background(domain.image_size, rng)
    shapes, colours, sizes = list(domain.shapes), list(domain.colours), list(domain.sizes)
    count = int(rng.integers(domain.objects[0], domain.objects[1] + 1))
    # No two shapes of a scene share both category and colour.
    combinations = rng.choice(len(shapes) * len(colours), count, replace=False)
    layers = []
    for combination in combinations:
        category = shapes[combination % len(shapes)]
        colour = colours[combination // len(shapes)]
        size = sizes[rng.integers(len(sizes))]
        radius = rng.uniform(*domain.sizes[size])
        alpha = _shape_alpha(domain, category, radius, rng)
        shade = np.array(domain.colours[colour]) + rng.integers(-8, 9, 3)
        _paint(image, alpha, np.clip(shade, 0, 255))
        layers.append(_Layer(size, colour, category, alpha))

    word = ""
    if rng.random() < domain.sign_rate:
        word = str(rng.choice(domain.sign_words))
        layers.append(_Layer("", SIGN_COLOUR, SIGN, _paint_sign(image, word, rng)))
    return _Drawing(image, _visible_objects(layers), word)


def _visible_objects(layers: Sequence[_Layer]) -> list[_VisibleObject]:
    """The visible part of each layer, largest first, the sign last.

    A layer that is hidden too much gives an object without pixels.
    """
    hidden = np.zeros(layers[0].alpha.shape, bool)
    objects = []
    for layer in reversed(layers):
        whole = layer.alpha >= 128
        visible = whole & ~hidden
        hidden |= whole
        if visible.sum() < _MIN_VISIBLE * whole.sum():
            visible = np.zeros_like(visible)
        item = SceneObject(
            size=layer.size, colour=layer.colour, category=layer.category, box=_tight_box(visible)
        )
        objects.append(_VisibleObject(item, visible))
    return sorted(objects, key=lambda item: (item.is_sign, -item.area))


def _is_clear(objects: Sequence[_VisibleObject]) -> bool:
    """Whether every shape can be seen, and the order of the three largest is beyond doubt."""
    areas = [item.area for item in objects if not item.is_sign]
    if min(areas) == 0:
        return False
    return all(larger >= _MIN_AREA_RATIO * smaller for larger, smaller in pairwise(areas[:3]))


def _background(size: int, rng: np.random.Generator) -> np.ndarray:
    """A linear gradient between two greyish tints in a random direction.

    The result is (size, size, 3) float64, 0 to 255.
    """
    greys = rng.uniform(95, 165, 2)[:, None]
    start, end = greys + rng.uniform(-14, 14, (2, 3))
    angle = rng.uniform(0, 2 * np.pi)
    y, x = np.mgrid[0:size, 0:size] / size - 0.5
    ramp = (x * np.cos(angle) + y * np.sin(angle)) / np.sqrt(2) + 0.5
    return start + ramp[..., None] * (end - start)


def _shape_alpha(
    domain: SceneDomain, category: str, radius: float, rng: np.random.Generator
) -> np.ndarray:
    """Coverage (0 to 255) of a rotated shape at a random place wholly inside the image."""
    turn = np.deg2rad(rng.uniform(-domain.turn, domain.turn))
    rotation = np.array([[np.cos(turn), -np.sin(turn)], [np.sin(turn), np.cos(turn)]])
    matrix = rotation * radius
    margin = radius * 1.1
    centre = rng.uniform(margin, domain.image_size - margin, 2)
    polygons = []
    for outline in domain.shapes[category]:
        points = np.asarray(outline) @ matrix.T + centre
        # OpenCV takes fixed-point coordinates: 4 bits behind the point, so a unit is 1/16 pixel.
        polygons.append(np.round(points * 16).astype(np.int32))
    alpha = np.zeros((domain.image_size, domain.image_size), np.uint8)
    cv2.fillPoly(alpha, polygons, 255, cv2.LINE_AA, 4)
    return alpha


def _paint(image: np.ndarray, alpha: np.ndarray, colour: np.ndarray) -> None:
    weight = alpha[..., None] / 255.0
    image += weight * (colour - image)


def _paint_sign(image: np.ndarray, word: str, rng: np.random.Generator) -> np.ndarray:
    """Draws a white plate with a word at a random place, and returns the plate's coverage."""
    size = image.shape[0]
    font = _font(int(rng.integers(24, 29)))
    ink = _ink(word, font)
    height, width = ink.shape[0] + 2 * _MARGIN_Y, ink.shape[1] + 2 * _MARGIN_X
    x = int(rng.integers(2, size - width - 1))
    y = int(rng.integers(2, size - height - 1))
    plate = np.pad(ink, ((_MARGIN_Y, _MARGIN_Y), (_MARGIN_X, _MARGIN_X)))[..., None]
    pixels = plate * np.array(_INK_RGB) + (1 - plate) * np.array(SIGN_RGB)
    image[y : y + height, x : x + width] = pixels
    alpha = np.zeros((size, size), np.uint8)
    alpha[y : y + height, x : x + width] = 255
    return alpha


def _ink(word: str, font: ImageFont.FreeTypeFont) -> np.ndarray:
    """Coverage (0 to 1) of a word, cropped to the pixels that it touches."""
    em = int(font.size)
    canvas = Image.new("L", (em * (len(word) + 1), 2 * em))
    ImageDraw.Draw(canvas).text((4, 4), word, fill=255, font=font)
    return np.asarray(canvas.crop(canvas.getbbox())) / 255.0


@cache
def _font(size: int) -> ImageFont.FreeTypeFont:
    # This outline font is part of Pillow's wheel, so the letters are the same on every machine.
    font = ImageFont.load_default(size)
    assert isinstance(font, ImageFont.FreeTypeFont), "Pillow was built without FreeType"
    return font


def _truth(domain: SceneDomain, drawing: _Drawing) -> Annotations:
    objects = [item.object for item in drawing.objects]
    masks = [encode_mask(item.visible) for item in drawing.objects]
    sign_texts = [drawing.word] if drawing.word else []
    texts = describe_scene(domain, objects, sign_texts)
    brief = Text(id="truth.t0", source="truth", granularity="brief", text=texts.brief)
    detailed = Text(id="truth.t1", source="truth", granularity="detailed", text=texts.detailed)

    triplets: list[Triplet] = []
    for text, mentions in ((brief, texts.brief_mentions), (detailed, texts.detailed_mentions)):
        for mention in mentions:
            index = mention.object_index
            triplet_id = f"truth.p{len(triplets)}"
            box = objects[index].box
            triplets.append(_triplet(triplet_id, text.id, mention, box, masks[index]))
    return Annotations(
        texts=[brief, detailed],
        regions=_regions(objects, masks),
        text_regions=_sign_text_regions(objects, drawing.word),
        triplets=triplets,
    )


def _regions(objects: Sequence[SceneObject], masks: Sequence[Mask]) -> list[Region]:
    regions = []
    for index, (item, mask) in enumerate(zip(objects, masks, strict=True)):
        region = Region(
            id=f"truth.r{index}",
            source="truth",
            box=item.box,
            phrase=item.category,
            brief=item.brief,
            mask=mask,
        )
        regions.append(region)
    return regions


def _sign_text_regions(objects: Sequence[SceneObject], word: str) -> list[TextRegion]:
    signs = [item for item in objects if item.category == SIGN]
    return [
        TextRegion(id="truth.o0", source="truth", quad=_ink_quad(sign.box), text=word)
        for sign in signs
    ]


def _triplet(triplet_id: str, text_id: str, mention: Mention, box: Box, mask: Mask) -> Triplet:
    phrase = mention.phrase
    return Triplet(
        id=triplet_id,
        source="truth",
        text_id=text_id,
        phrase=phrase.text,
        start=phrase.start,
        end=phrase.end,
        box=box,
        mask=mask,
    )


def _tight_box(visible: np.ndarray) -> Box:
    """The smallest box (xyxy in pixels) around a mask; all zeros for an empty mask."""
    if not visible.any():
        return (0.0, 0.0, 0.0, 0.0)
    columns = np.flatnonzero(visible.any(axis=0))
    rows = np.flatnonzero(visible.any(axis=1))
    return (float(columns[0]), float(rows[0]), float(columns[-1] + 1), float(rows[-1] + 1))


def _ink_quad(plate: Box) -> Quad:
    """The box of the word's ink as a quad: the plate without its margins."""
    x1, y1 = plate[0] + _MARGIN_X, plate[1] + _MARGIN_Y
    x2, y2 = plate[2] - _MARGIN_X, plate[3] - _MARGIN_Y
    return (x1, y1, x2, y1, x2, y2, x1, y2)
