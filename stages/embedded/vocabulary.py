"""The words that the specialists without weights use for colours, sizes, counts and relations.

A `Vocabulary` holds these words: `demo` is for the rendered scenes, `photo` for COCO's categories.
"""

from __future__ import annotations

import difflib
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field

from pipeline.schema import Region
from stages.base import StageError
from stages.embedded.colours import SHADES
from stages.embedded.domains import DEMO, SIGN, Colour, palette
from stages.embedded.relations import photo_relation
from stages.embedded.scene_text import spatial_relation

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


@dataclass(frozen=True, slots=True, kw_only=True)
class Vocabulary:
    """Words for what a region looks like, and for how two regions relate."""

    colours: Mapping[str, Colour] = field(default_factory=dict)
    """RGB of each colour name, for scenes whose colours are known."""

    shades: Mapping[str, tuple[Colour, ...]] = field(default_factory=dict)
    """Shades (RGB) of each colour name, for photos; see `colours.sure_colours`."""

    relations: Mapping[str, str] = field(default_factory=dict)
    """Verb phrase for each relation that `scene_text.spatial_relation` returns.

    Without any, texts state only what `relations.photo_relation` is sure of.
    """

    small: float | None = None
    """Longer side, as a share of the image's longer side, below which a region is 'small'.

    None: there is no such word.
    """

    large: float | None = None
    """Longer side, as a share of the image's longer side, above which a region is 'large'.

    None: there is no such word.
    """

    unsized: frozenset[str] = frozenset()
    """Categories that never get a size word."""

    uncoloured: frozenset[str] = frozenset()
    """Categories that never get a colour word."""

    sign_verb: str = "reads"
    """Verb between a sign and its word."""

    @property
    def is_cautious(self) -> bool:
        """Whether texts state only what is sure. Of rendered scenes, all of it is."""
        return not self.relations


VOCABULARIES = {
    "demo": Vocabulary(
        colours=palette(DEMO),
        relations=DEMO.relations,
        small=0.205,
        large=0.32,
        unsized=frozenset((SIGN,)),
        sign_verb=DEMO.sign_verb,
    ),
    "photo": Vocabulary(
        shades=SHADES,
        # A colour word before a person does not mean the colour of the clothes.
        uncoloured=frozenset(("person",)),
    ),
}


def check_style(style: str) -> None:
    """Check a stage's setting `style`.

    Raises:
        ValueError: there is no such vocabulary.
    """
    if style not in VOCABULARIES:
        near = difflib.get_close_matches(style, VOCABULARIES, n=1)
        hint = f"did you mean {near[0]}?" if near else f"known: {', '.join(VOCABULARIES)}"
        raise ValueError(f"style={style}: no such vocabulary; {hint}")


def vocabulary(name: str) -> Vocabulary:
    """The vocabulary of a stage's setting `style`; raises StageError for an unknown name."""
    if name not in VOCABULARIES:
        raise StageError(f"style={name!r}: use one of {', '.join(VOCABULARIES)}")
    return VOCABULARIES[name]


def name_of(region: Region) -> str:
    """The noun phrase that names a region.

    This is its brief text. If that is a whole caption, it is the best noun chunk that has the
    category in it, or else the category.
    """
    if region.brief_kind != "caption":
        return region.brief or region.phrase
    chunks = []
    for candidate in region.candidates:
        if candidate.kind == "chunk" and region.phrase in candidate.text:
            chunks.append(candidate)
    if not chunks:
        return region.phrase
    return max(chunks, key=lambda chunk: chunk.score or 0.0).text


def size_word(region: Region, image_side: int, words: Vocabulary) -> str:
    """The word for the size of a region: 'small', 'large' or ''.

    It depends on the longer side of the box; `image_side` is the image's, in pixels.
    """
    if region.phrase in words.unsized:
        return ""
    x1, y1, x2, y2 = region.box
    share = max(x2 - x1, y2 - y1) / image_side
    if words.small is not None and share < words.small:
        return "small"
    if words.large is not None and share > words.large:
        return "large"
    return ""


def with_article(noun: str) -> str:
    """The noun phrase with 'a' or 'an'; a plural such as 'skis' gets none."""
    if PLURALS.get(noun) == noun:
        return noun
    article = "an" if noun[0].lower() in "aeiou" else "a"
    return f"{article} {noun}"


def plural(noun: str) -> str:
    """The plural of a noun phrase that ends in its head."""
    head = noun.rsplit(" ", 1)[-1]
    if head in PLURALS:
        return noun[: -len(head)] + PLURALS[head]
    if head.endswith(("s", "x", "ch", "sh")):
        return noun + "es"
    if head.endswith("y") and head[-2:-1] not in "aeiou":
        return noun[:-1] + "ies"
    return noun + "s"


def counted(noun: str, count: int) -> str:
    """The noun phrase with its number, such as 'three people'."""
    if count == 1:
        return with_article(noun)
    number = NUMBERS[count] if count < len(NUMBERS) else "many"
    return f"{number} {plural(noun)}"


def verb(words: Vocabulary, subjects: Sequence[Region], others: Sequence[Region]) -> str:
    """The verb phrase between two groups of regions, in the number of the first; '' if unsure.

    Of a rendered scene, the first of each group decide.
    """
    if words.is_cautious:
        return photo_relation(subjects, others)
    phrase = words.relations[spatial_relation(subjects[0].box, others[0].box)]
    return phrase if len(subjects) == 1 else _plural_verb(phrase)


def lone_verb(words: Vocabulary) -> str:
    """The verb of a thing that is there, such as 'sits'."""
    return "is" if words.is_cautious else words.relations["beside"].split()[0]


def _plural_verb(phrase: str) -> str:
    """The verb phrase for several subjects: 'sits beside' becomes 'sit beside'."""
    first, _, rest = phrase.partition(" ")
    if first.endswith("ies"):
        stem = first.removesuffix("ies")
        first = stem + ("ie" if len(first) == 4 else "y")
    elif first.endswith(("ches", "shes", "sses")):
        first = first.removesuffix("es")
    else:
        first = first.removesuffix("s")
    return f"{first} {rest}".strip()


def existence(nouns: Sequence[str], count: int) -> str:
    """The sentence that things are there; `count` is the number of things of the first noun."""
    return sentence("there", "is" if count == 1 else "are", " and ".join(nouns))


def sentence(*parts: str) -> str:
    """The non-empty parts as one sentence, with a capital letter and a full stop."""
    text = " ".join(part for part in parts if part)
    return text[0].upper() + text[1:] + "."


def is_sign(region: Region) -> bool:
    """Whether the region is a sign. Texts say what a sign reads, not where it is."""
    return region.phrase == SIGN
