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
    left, top, right, bottom = subject
    other_left, other_top, other_right, other_bottom = other
    width = min(right, other_right) - max(left, other_left)
    height = min(bottom, other_bottom) - max(top, other_top)
    area = (right - left) * (bottom - top)
    other_area = (other_right - other_left) * (other_bottom - other_top)
    smaller_area = min(area, other_area)
    is_overlap = width > 0 and height > 0
    if is_overlap and width * height > smaller_area / 8:
        return "overlap"

    # From the centre of the other box to the centre of the subject.
    dx = (left + right - other_left - other_right) / 2
    dy = (top + bottom - other_top - other_bottom) / 2
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
    shapes = [index for index, item in enumerate(objects) if item.category != SIGN]
    signs = [index for index, item in enumerate(objects) if item.category == SIGN]
    if not shapes:
        return SceneTexts(brief="", detailed="", brief_mentions=[], detailed_mentions=[])

    writer = _Writer(objects)
    largest = shapes[0]
    if len(shapes) == 1:
        writer.write("A ", largest, f" {domain.alone_verb} alone.")
    else:
        second = shapes[1]
        relation = spatial_relation(objects[largest].box, objects[second].box)
        predicate = domain.relations[relation]
        writer.write("A ", largest, f" {predicate} a ", second, ".")
    brief = writer.sentences[0]
    brief_mentions = list(writer.mentions)

    for shape in shapes[2:]:
        relation = spatial_relation(objects[shape].box, objects[largest].box)
        predicate = domain.relations[relation]
        writer.write("A ", shape, f" {predicate} the ", largest, ".")
    for sign, text in zip(signs, sign_texts, strict=False):
        writer.write("A ", sign, f" {domain.sign_verb} {text}.")
    return SceneTexts(
        brief=brief,
        detailed=" ".join(writer.sentences),
        brief_mentions=brief_mentions,
        detailed_mentions=writer.mentions,
    )


class _Writer:
    """Collects sentences, and the character span of every noun phrase in them."""

    def __init__(self, objects: Sequence[SceneObject]) -> None:
        """Starts without a sentence; `objects` are those that the sentences may name."""
        self.objects = objects
        self.sentences: list[str] = []
        self.mentions: list[Mention] = []

    def write(self, *parts: str | int) -> None:
        """Adds one sentence.

        A number is the index of an object; an article comes directly before it.
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
