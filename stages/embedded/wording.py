"""Words for boxes: what the weight-free specialists need to name colours, sizes, counts and relations.

A `Style` is a vocabulary: `demo` is that of the rendered scenes, `photo` is made for COCO's categories.
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, field

from pipeline.schema import Region
from stages.embedded.telling import relation
from stages.embedded.worlds import DEMO, SIGN, Colour, palette

NUMBERS = ("no", "one", "two", "three", "four", "five", "six", "seven", "eight", "nine")
PLURALS = {
    "person": "people",
    "mouse": "mice",
    "knife": "knives",
    "sheep": "sheep",
    "skis": "skis",
    "broccoli": "broccoli",
    "scissors": "scissors",
}
ANIMATE = frozenset(
    (
        "person",
        "bird",
        "cat",
        "dog",
        "horse",
        "sheep",
        "cow",
        "elephant",
        "bear",
        "zebra",
        "giraffe",
    )
)

# What a person does with a thing that their box overlaps.
HANDLING = {
    "rides": ("bicycle", "motorcycle", "horse", "skateboard", "surfboard", "snowboard", "elephant"),
    "sits on": ("chair", "couch", "bench", "toilet", "bed"),
    "sits at": ("dining table",),
    "holds": (
        "cell phone",
        "umbrella",
        "book",
        "cup",
        "bottle",
        "handbag",
        "tennis racket",
        "baseball bat",
        "remote",
        "teddy bear",
        "kite",
        "frisbee",
    ),
    "carries": ("backpack", "suitcase"),
    "wears": ("tie", "skis"),
    "eats": ("pizza", "sandwich", "banana", "apple", "donut", "cake", "hot dog"),
    "watches": ("tv", "sports ball"),
}


@dataclass(frozen=True, slots=True, kw_only=True)
class Style:
    """`relations` maps `telling.relation` to a verb phrase, `handling` (subject, object) of overlapping
    boxes to one; `small` and `large` bound the unnamed size, as shares of the image's longer side, or are
    None; `unsized` and `uncoloured` categories are never given a size or a colour."""

    colours: Mapping[str, Colour]
    relations: Mapping[str, str]
    handling: Mapping[tuple[str, str], str] = field(default_factory=dict)
    small: float | None = None
    large: float | None = None
    unsized: frozenset[str] = frozenset()
    uncoloured: frozenset[str] = frozenset()
    sign_verb: str = "reads"


STYLES = {
    "demo": Style(
        colours=palette(DEMO),
        relations=DEMO.relations,
        small=0.205,
        large=0.32,
        unsized=frozenset((SIGN,)),
        sign_verb=DEMO.sign_verb,
    ),
    "photo": Style(
        colours={
            "black": (25, 25, 25),
            "white": (240, 240, 240),
            "gray": (128, 128, 128),
            "red": (190, 35, 40),
            "orange": (235, 130, 35),
            "yellow": (235, 210, 60),
            "green": (50, 125, 55),
            "blue": (45, 85, 180),
            "purple": (125, 60, 150),
            "pink": (235, 150, 175),
            "brown": (110, 70, 40),
        },
        relations={
            "above": "appears above",
            "below": "appears below",
            "beside": "stands next to",
            "overlap": "stands close to",
        },
        uncoloured=frozenset(
            ("person",)
        ),  # a colour said of a person means something else than clothes
        handling={("person", thing): verb for verb, things in HANDLING.items() for thing in things},
    ),
}


def style(name: str) -> Style:
    if name not in STYLES:
        raise ValueError(f"style={name!r}: use one of {', '.join(STYLES)}")
    return STYLES[name]


def name_of(region: Region) -> str:
    """A noun phrase for the region: its brief text, or its best noun chunk where that is a whole caption."""
    if region.brief_kind != "caption":
        return region.brief or region.phrase
    chunks = [c for c in region.candidates if c.kind == "chunk" and region.phrase in c.text]
    return max(chunks, key=lambda c: c.score or 0.0).text if chunks else region.phrase


def size_word(region: Region, image_side: int, words: Style) -> str:
    """'small', 'large' or neither, by the box's longer side."""
    if region.phrase in words.unsized:
        return ""
    share = max(region.box[2] - region.box[0], region.box[3] - region.box[1]) / image_side
    if words.small is not None and share < words.small:
        return "small"
    return "large" if words.large is not None and share > words.large else ""


def with_article(noun: str) -> str:
    if PLURALS.get(noun) == noun:
        return noun
    return f"an {noun}" if noun[0].lower() in "aeiou" else f"a {noun}"


def plural(noun: str) -> str:
    """The plural of a noun phrase that ends in its head."""
    head = noun.rsplit(" ", 1)[-1]
    if head in PLURALS:
        return noun[: -len(head)] + PLURALS[head]
    if head.endswith(("s", "x", "ch", "sh")):
        return noun + "es"
    return noun[:-1] + "ies" if head.endswith("y") and head[-2:-1] not in "aeiou" else noun + "s"


def counted(noun: str, count: int) -> str:
    if count == 1:
        return with_article(noun)
    return f"{NUMBERS[count] if count < len(NUMBERS) else 'many'} {plural(noun)}"


def verb(words: Style, subject: Region, other: Region, count: int = 1) -> str:
    """What the subject does to the other, in the singular or the plural."""
    where = relation(subject.box, other.box)
    handled = (
        words.handling.get((subject.phrase, other.phrase))
        if where == "overlap" and count == 1
        else None
    )
    phrase = handled or words.relations[where]
    return phrase if count == 1 else _plural_verb(phrase)


def _plural_verb(phrase: str) -> str:
    first, _, rest = phrase.partition(" ")
    if first.endswith("ies"):
        first = first.removesuffix("ies") + ("ie" if len(first) == 4 else "y")
    else:
        first = (
            first.removesuffix("es")
            if first.endswith(("ches", "shes", "sses"))
            else first.removesuffix("s")
        )
    return f"{first} {rest}".strip()


def sentence(*parts: str) -> str:
    text = " ".join(part for part in parts if part)
    return text[0].upper() + text[1:] + "."


def is_sign(region: Region) -> bool:
    """Signs are told of by what they read, not by where they are."""
    return region.phrase == SIGN
