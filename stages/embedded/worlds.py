"""The two rendered worlds: their words, drawings and statistics. `DEMO` and `PRETRAIN` share no shape,
colour, size word, verb or sign word (only the white sign), so that a model pre-trained on one has never seen
the other."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass

from stages.embedded.shapes import DEMO_SHAPES, PRETRAIN_SHAPES, Shape

Colour = tuple[int, int, int]  # RGB

SIGN = "sign"
SIGN_COLOUR = "white"
SIGN_RGB: Colour = (246, 246, 246)


@dataclass(frozen=True, slots=True, kw_only=True)
class World:
    """What scenes are made of. `sizes` maps a size word ('' for none) to radii in pixels; `relations` maps
    what `telling.relation` returns to a verb phrase; `objects` counts a scene's shapes, the sign not
    included."""

    name: str
    shapes: Mapping[str, Shape]
    colours: Mapping[str, Colour]
    sizes: Mapping[str, tuple[float, float]]
    relations: Mapping[str, str]
    sign_words: Sequence[str]
    sign_rate: float
    sign_verb: str
    alone_verb: str
    objects: tuple[int, int]
    image_size: int
    noise: float  # standard deviation in grey levels
    turn: float  # largest rotation of a shape in degrees


DEMO = World(
    name="demo",
    shapes=DEMO_SHAPES,
    colours={
        "red": (214, 38, 40),
        "green": (44, 156, 62),
        "blue": (40, 82, 214),
        "yellow": (240, 212, 44),
        "purple": (142, 56, 186),
        "orange": (242, 136, 28),
    },
    sizes={"small": (15, 18), "": (22, 27), "large": (34, 42)},
    relations={
        "above": "hangs above",
        "below": "rests below",
        "beside": "sits beside",
        "overlap": "touches",
    },
    sign_words=("STOP", "OPEN", "EXIT", "TAXI", "HOTEL", "PARK", "SALE", "CAFE", "BUS", "NORTH"),
    sign_rate=0.6,
    sign_verb="reads",
    alone_verb="waits",
    objects=(2, 5),
    image_size=192,
    noise=5.0,
    turn=10.0,
)

PRETRAIN = World(
    name="pretrain",
    shapes=PRETRAIN_SHAPES,
    colours={
        "pink": (246, 138, 178),
        "teal": (12, 124, 124),
        "brown": (124, 72, 32),
        "lime": (160, 232, 48),
        "navy": (24, 30, 104),
        "crimson": (164, 8, 62),
        "cyan": (64, 216, 236),
        "olive": (116, 116, 16),
        "violet": (184, 122, 238),
        "black": (26, 24, 28),
    },
    sizes={"tiny": (13, 16), "": (20, 25), "huge": (31, 46)},
    relations={
        "above": "hovers over",
        "below": "lies under",
        "beside": "stands near",
        "overlap": "crosses",
    },
    sign_words=("LAKE", "FIRE", "GIFT", "ZOO", "MUSIC", "BOOK", "DOCK", "RAIN", "VISIT", "JAZZ"),
    sign_rate=0.3,
    sign_verb="says",
    alone_verb="remains",
    objects=(1, 6),
    image_size=192,
    noise=7.0,
    turn=25.0,
)


def palette(world: World) -> dict[str, Colour]:
    """Colour name to RGB, with the white of the signs."""
    return {**world.colours, SIGN_COLOUR: SIGN_RGB}


def categories(world: World) -> list[str]:
    """Every category word a region of this world can have."""
    return [*world.shapes, SIGN]
