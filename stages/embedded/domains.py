"""The two domains of rendered scenes: their words, drawings and statistics.

`DEMO` and `PRETRAIN` share no shape, colour, size word, verb or sign word; only the white sign is
common to both. So a model that was pre-trained on one domain has never seen the other.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass

from stages.embedded.shapes import DEMO_SHAPES, PRETRAIN_SHAPES, Shape

Colour = tuple[int, int, int]
"""RGB, 0 to 255 each."""

SIGN = "sign"
SIGN_COLOUR = "white"
SIGN_RGB: Colour = (246, 246, 246)


@dataclass(frozen=True, slots=True, kw_only=True)
class SceneDomain:
    """Vocabulary, drawings and statistics of one family of rendered scenes."""

    name: str
    """Name of the domain. It is part of the random seed of every scene."""

    shapes: Mapping[str, Shape]
    """Drawing of each category except the sign."""

    colours: Mapping[str, Colour]
    """RGB of each colour name."""

    sizes: Mapping[str, tuple[float, float]]
    """Lowest and highest radius in pixels for each size word; the word '' stands for no size word.
    """

    relations: Mapping[str, str]
    """Verb phrase for each relation that `scene_text.spatial_relation` returns."""

    sign_words: Sequence[str]
    """Words that a sign may show."""

    sign_rate: float
    """Probability that a scene has a sign."""

    sign_verb: str
    """Verb between a sign and its word."""

    alone_verb: str
    """Verb for the only shape of a scene."""

    objects: tuple[int, int]
    """Lowest and highest number of shapes in a scene; the sign is not counted."""

    image_size: int
    """Width and height of the image in pixels."""

    noise: float
    """Standard deviation of the pixel noise in grey levels (0 to 255)."""

    turn: float
    """Largest rotation of a shape in degrees, in both directions."""

    zipf: float = 0.0
    """Exponent of Zipf's law: the category at place n of `shapes` is drawn with a probability that
    is proportional to n ** -zipf. With 0 all are equally likely."""


DEMO = SceneDomain(
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

PRETRAIN = SceneDomain(
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

DOMAINS = {domain.name: domain for domain in (DEMO, PRETRAIN)}


def palette(domain: SceneDomain) -> dict[str, Colour]:
    """Every colour name of the domain with its RGB, the white of the signs included."""
    return {**domain.colours, SIGN_COLOUR: SIGN_RGB}


def categories(domain: SceneDomain) -> list[str]:
    """Every category that a region of this domain can have."""
    return [*domain.shapes, SIGN]
