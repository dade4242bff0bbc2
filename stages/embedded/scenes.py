"""Rendered scenes with exact truth: the images of the demo, and of the checkpoint in the repository.

In: a `World` (words, drawings, statistics), a seed and an index. Out: a `Scene`, the same bytes on every
call: an RGB image and its `Annotations` (texts, regions with visible masks, signs, grounded noun phrases),
all exact.

A scene is a noisy gradient with flat shapes of one colour each, later ones hiding parts of earlier ones, and
often a white sign with a word. Texts and regions go from the largest to the smallest visible area, the sign
last.
"""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass
from functools import cache
from itertools import pairwise

import cv2
import numpy as np
from PIL import Image, ImageDraw, ImageFont

from pipeline.schema import Annotations, Box, Quad, Region, Text, TextRegion, Triplet
from stages.embedded.telling import Mention, Thing, relation, tell
from stages.embedded.worlds import (
    DEMO,
    PRETRAIN,
    SIGN,
    SIGN_COLOUR,
    SIGN_RGB,
    World,
    categories,
    palette,
)
from stages.geometry import encode_mask

__all__ = [
    "DEMO",
    "PRETRAIN",
    "SIGN",
    "Mention",
    "Scene",
    "Thing",
    "World",
    "categories",
    "palette",
    "relation",
    "render",
    "scenes",
    "tell",
]

_INK_RGB = (16, 16, 16)
_MARGIN = (8, 7)  # of a sign around the ink of its word, horizontally and vertically
_ATTEMPTS = 200
_MIN_VISIBLE = 0.45  # of a shape's own area
_MIN_AREA_RATIO = (
    1.15  # between the first, second and third largest, so that their order can be seen
)


@dataclass(frozen=True, slots=True)
class Scene:
    image: np.ndarray  # (height, width, 3) uint8 RGB
    truth: Annotations


@dataclass(frozen=True, slots=True)
class _Piece:
    """A thing with its visible pixels."""

    thing: Thing
    visible: np.ndarray


def render(world: World, seed: int, index: int) -> Scene:
    """Scene number `index` of the endless series that `seed` names."""
    rng = np.random.default_rng([seed, index, sum(world.name.encode())])
    for _ in range(_ATTEMPTS):
        image, pieces, word = _draw(world, rng)
        if _clear(pieces):
            break
    else:
        raise ValueError(
            f"world {world.name!r} is too crowded for scene {index}: lower its objects or sizes"
        )
    image += rng.normal(0.0, world.noise, image.shape)
    pixels = np.clip(image + 0.5, 0, 255).astype(np.uint8)
    pixels.setflags(write=False)
    return Scene(pixels, _truth(world, pieces, word))


def scenes(world: World, seed: int, count: int) -> Iterator[Scene]:
    return (render(world, seed, index) for index in range(count))


def _draw(world: World, rng: np.random.Generator) -> tuple[np.ndarray, list[_Piece], str]:
    """A scene without noise, its pieces in descending visible area the sign last, and its word."""
    image = _background(world.image_size, rng)
    count = int(rng.integers(world.objects[0], world.objects[1] + 1))
    kinds = rng.choice(len(world.shapes) * len(world.colours), count, replace=False)
    layers = []
    shapes, colours, sizes = list(world.shapes), list(world.colours), list(world.sizes)
    for kind in kinds:
        category, colour = shapes[kind % len(shapes)], colours[kind // len(shapes)]
        size = sizes[rng.integers(len(sizes))]
        alpha = _shape_alpha(world, category, rng.uniform(*world.sizes[size]), rng)
        _paint(
            image, alpha, np.clip(np.array(world.colours[colour]) + rng.integers(-8, 9, 3), 0, 255)
        )
        layers.append((size, colour, category, alpha))
    word = ""
    if rng.random() < world.sign_rate:
        word = str(rng.choice(world.sign_words))
        layers.append(("", SIGN_COLOUR, SIGN, _sign(image, word, rng)))
    return image, _pieces(layers), word


def _pieces(layers: list[tuple[str, str, str, np.ndarray]]) -> list[_Piece]:
    """What can be seen of each layer; one that is hidden too much gives a piece without pixels."""
    hidden = np.zeros(layers[0][3].shape, bool)
    pieces = []
    for size, colour, category, alpha in reversed(layers):
        whole = alpha >= 128
        visible = whole & ~hidden
        hidden |= whole
        if visible.sum() < _MIN_VISIBLE * whole.sum():
            visible = np.zeros_like(visible)
        thing = Thing(size=size, colour=colour, category=category, box=_box(visible))
        pieces.append(_Piece(thing, visible))
    return sorted(pieces, key=lambda p: (p.thing.category == SIGN, -int(p.visible.sum())))


def _clear(pieces: list[_Piece]) -> bool:
    """Every piece can be seen, and the order of the three largest is beyond doubt."""
    areas = [int(p.visible.sum()) for p in pieces if p.thing.category != SIGN]
    return min(areas) > 0 and all(a >= _MIN_AREA_RATIO * b for a, b in pairwise(areas[:3]))


def _background(size: int, rng: np.random.Generator) -> np.ndarray:
    """A linear gradient between two greyish tints, in a random direction."""
    start, end = rng.uniform(95, 165, 2)[:, None] + rng.uniform(-14, 14, (2, 3))
    angle = rng.uniform(0, 2 * np.pi)
    y, x = np.mgrid[0:size, 0:size] / size - 0.5
    ramp = (x * np.cos(angle) + y * np.sin(angle)) / np.sqrt(2) + 0.5
    return start + ramp[..., None] * (end - start)


def _shape_alpha(
    world: World, category: str, radius: float, rng: np.random.Generator
) -> np.ndarray:
    """Coverage (0..255) of a turned, shifted shape that lies wholly inside the image."""
    turn = np.deg2rad(rng.uniform(-world.turn, world.turn))
    matrix = np.array([[np.cos(turn), -np.sin(turn)], [np.sin(turn), np.cos(turn)]]) * radius
    margin = radius * 1.1
    centre = rng.uniform(margin, world.image_size - margin, 2)
    polygons = [np.asarray(p) @ matrix.T + centre for p in world.shapes[category]]
    alpha = np.zeros((world.image_size, world.image_size), np.uint8)
    cv2.fillPoly(alpha, [np.round(p * 16).astype(np.int32) for p in polygons], 255, cv2.LINE_AA, 4)
    return alpha


def _paint(image: np.ndarray, alpha: np.ndarray, colour: np.ndarray) -> None:
    weight = alpha[..., None] / 255.0
    image += weight * (colour - image)


def _sign(image: np.ndarray, word: str, rng: np.random.Generator) -> np.ndarray:
    """Draws a white plate with a word somewhere and returns the plate's coverage."""
    size = image.shape[0]
    font = _font(int(rng.integers(24, 29)))
    ink = _ink(word, font)
    height, width = ink.shape[0] + 2 * _MARGIN[1], ink.shape[1] + 2 * _MARGIN[0]
    x, y = int(rng.integers(2, size - width - 1)), int(rng.integers(2, size - height - 1))
    plate = np.pad(ink, ((_MARGIN[1], _MARGIN[1]), (_MARGIN[0], _MARGIN[0])))[..., None]
    image[y : y + height, x : x + width] = plate * np.array(_INK_RGB) + (1 - plate) * np.array(
        SIGN_RGB
    )
    alpha = np.zeros((size, size), np.uint8)
    alpha[y : y + height, x : x + width] = 255
    return alpha


def _ink(word: str, font: ImageFont.FreeTypeFont) -> np.ndarray:
    """Coverage (0..1) of a word, cropped to the pixels that it touches."""
    canvas = Image.new("L", (int(font.size) * (len(word) + 1), 2 * int(font.size)))
    ImageDraw.Draw(canvas).text((4, 4), word, fill=255, font=font)
    return np.asarray(canvas.crop(canvas.getbbox())) / 255.0


@cache
def _font(size: int) -> ImageFont.FreeTypeFont:
    font = ImageFont.load_default(size)  # the outline font inside Pillow's wheel
    assert isinstance(font, ImageFont.FreeTypeFont), "Pillow was built without FreeType"
    return font


def _truth(world: World, pieces: list[_Piece], word: str) -> Annotations:
    things = [p.thing for p in pieces]
    masks = [encode_mask(p.visible) for p in pieces]
    brief, detailed, mentions = tell(world, things, [word] if word else [])
    texts = [
        Text(id="truth.t0", source="truth", granularity="brief", text=brief),
        Text(id="truth.t1", source="truth", granularity="detailed", text=detailed),
    ]
    regions = [
        Region(
            id=f"truth.r{i}", source="truth", box=t.box, phrase=t.category, brief=t.brief, mask=mask
        )
        for i, (t, mask) in enumerate(zip(things, masks, strict=True))
    ]
    signs = [
        TextRegion(id="truth.o0", source="truth", quad=_quad(t.box), text=word)
        for t in things
        if t.category == SIGN
    ]
    found = [
        (text, mention) for text, group in zip(texts, mentions, strict=True) for mention in group
    ]
    triplets = [
        _triplet(f"truth.p{i}", text.id, m, pieces[m.thing]) for i, (text, m) in enumerate(found)
    ]
    return Annotations(texts, regions, signs, triplets)


def _triplet(identity: str, text_id: str, mention: Mention, piece: _Piece) -> Triplet:
    phrase = mention.phrase
    return Triplet(
        id=identity,
        source="truth",
        text_id=text_id,
        phrase=phrase.text,
        start=phrase.start,
        end=phrase.end,
        box=piece.thing.box,
        mask=encode_mask(piece.visible),
    )


def _box(visible: np.ndarray) -> Box:
    """The tight box of a mask, edges included."""
    if not visible.any():
        return (0.0, 0.0, 0.0, 0.0)
    xs, ys = np.flatnonzero(visible.any(0)), np.flatnonzero(visible.any(1))
    return (float(xs[0]), float(ys[0]), float(xs[-1] + 1), float(ys[-1] + 1))


def _quad(plate: Box) -> Quad:
    """The word's ink box: the plate without its margins."""
    x1, y1 = plate[0] + _MARGIN[0], plate[1] + _MARGIN[1]
    x2, y2 = plate[2] - _MARGIN[0], plate[3] - _MARGIN[1]
    return (x1, y1, x2, y1, x2, y2, x1, y2)
