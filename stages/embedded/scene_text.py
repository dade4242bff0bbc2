"""Descriptions of rendered scenes, and the noun phrase that refers to each object.

The exact truth of a scene is written with these functions. They need only the visible box, size
word, colour and category of each object, so a specialist that detects these can use them, too.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass

from pipeline.schema import Box, NounPhrase
from stages.embedded.domains import SIGN, SceneDomain


@dataclass(frozen=True, slots=True, kw_only=True)
class SceneObject:
    """A shape or a sign of a scene, as a text describes it."""

    size: str
    """Size word; '' if the object has none."""

    colour: str
    """Colour name."""

    category: str
    """Category name."""

    box: Box
    """Box of the visible part, xyxy in pixels."""

    @property
    def brief(self) -> str:
        """The noun phrase without its article, such as 'small red star'."""
        return " ".join(word for word in (self.size, self.colour, self.category) if word)


@dataclass(frozen=True, slots=True)
class Mention:
    """A noun phrase of a text, and the object that it refers to."""

    phrase: NounPhrase
    object_index: int


@dataclass(frozen=True, slots=True)
class SceneTexts:
    """The texts of a scene, with every mention of an object in reading order."""

    brief: str
    detailed: str
    brief_mentions: list[Mention]
    detailed_mentions: list[Mention]


def spatial_relation(subject: Box, other: Box) -> str:
    """How `subject` lies to `other`: 'overlap', 'above', 'below' or 'beside'.

    The boxes are xyxy in pixels. They overlap if they share more than an eighth of the smaller box.
    """
    width = min(subject[2], other[2]) - max(subject[0], other[0])
    height = min(subject[3], other[3]) - max(subject[1], other[1])
    subject_area = (subject[2] - subject[0]) * (subject[3] - subject[1])
    other_area = (other[2] - other[0]) * (other[3] - other[1])
    if width > 0 and height > 0 and width * height > min(subject_area, other_area) / 8:
        return "overlap"

    dx = (subject[0] + subject[2] - other[0] - other[2]) / 2
    dy = (subject[1] + subject[3] - other[1] - other[3]) / 2
    if abs(dx) > abs(dy):
        return "beside"
    return "above" if dy < 0 else "below"


def describe_scene(
    domain: SceneDomain, objects: Sequence[SceneObject], sign_texts: Sequence[str] = ()
) -> SceneTexts:
    """The brief and the detailed text of a scene; both are empty if the scene has no shape.

    `objects` are sorted by visible area, largest first. `sign_texts` are the words on the signs
    among them, in the same order. The brief text relates the largest shape to the second largest.
    The detailed text goes on with the other shapes, each related to the largest, and with the
    signs.
    """
    shapes = [i for i, item in enumerate(objects) if item.category != SIGN]
    signs = [i for i, item in enumerate(objects) if item.category == SIGN]
    if not shapes:
        return SceneTexts("", "", [], [])

    writer = _Writer(objects)
    largest = shapes[0]
    if len(shapes) == 1:
        writer.write("A ", largest, f" {domain.alone_verb} alone.")
    else:
        second = shapes[1]
        relation = spatial_relation(objects[largest].box, objects[second].box)
        writer.write("A ", largest, f" {domain.relations[relation]} a ", second, ".")
    brief = writer.sentences[0]
    brief_mentions = list(writer.mentions)

    for shape in shapes[2:]:
        relation = spatial_relation(objects[shape].box, objects[largest].box)
        writer.write("A ", shape, f" {domain.relations[relation]} the ", largest, ".")
    for sign, text in zip(signs, sign_texts, strict=False):
        writer.write("A ", sign, f" {domain.sign_verb} {text}.")
    return SceneTexts(brief, " ".join(writer.sentences), brief_mentions, writer.mentions)


class _Writer:
    """Collects sentences, and the character span of every noun phrase in them."""

    def __init__(self, objects: Sequence[SceneObject]) -> None:
        self.objects = objects
        self.sentences: list[str] = []
        self.mentions: list[Mention] = []

    def write(self, *parts: str | int) -> None:
        """Adds one sentence. A number is the index of an object; an article comes directly before
        it.
        """
        # Sentences are joined with one space.
        offset = sum(len(sentence) + 1 for sentence in self.sentences)
        text = ""
        for part in parts:
            if isinstance(part, str):
                text += part
                continue
            brief = self.objects[part].brief
            article = text.rsplit(" ", 2)[-2]
            if article.lower() == "a" and brief[0] in "aeiou":
                article += "n"
                text = text[:-1] + "n "
            start = offset + len(text) - len(article) - 1
            text += brief
            phrase = NounPhrase(text=f"{article} {brief}", start=start, end=offset + len(text))
            self.mentions.append(Mention(phrase, part))
        self.sentences.append(text)
