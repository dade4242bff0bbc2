"""The sentences of the rendered worlds: what a scene's things are called and how they stand to each other, as
a function of their visible boxes. The truth is told with these, and so may any specialist that found the
boxes."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass

from pipeline.schema import Box, NounPhrase
from stages.embedded.worlds import SIGN, World


@dataclass(frozen=True, slots=True, kw_only=True)
class Thing:
    """A shape or a sign as a text speaks of it: size word ('' for none), colour, category, visible box."""

    size: str
    colour: str
    category: str
    box: Box

    @property
    def brief(self) -> str:
        return " ".join(word for word in (self.size, self.colour, self.category) if word)


@dataclass(frozen=True, slots=True)
class Mention:
    """A noun phrase of a text and the index of the thing that it speaks of."""

    phrase: NounPhrase
    thing: int


def relation(subject: Box, other: Box) -> str:
    """`overlap` when the boxes share an eighth of the smaller one, else where the subject's centre lies."""
    width = min(subject[2], other[2]) - max(subject[0], other[0])
    height = min(subject[3], other[3]) - max(subject[1], other[1])
    smaller = min((b[2] - b[0]) * (b[3] - b[1]) for b in (subject, other))
    if width > 0 and height > 0 and width * height > smaller / 8:
        return "overlap"
    dx = (subject[0] + subject[2] - other[0] - other[2]) / 2
    dy = (subject[1] + subject[3] - other[1] - other[3]) / 2
    if abs(dx) > abs(dy):
        return "beside"
    return "above" if dy < 0 else "below"


def tell(
    world: World, things: Sequence[Thing], words: Sequence[str] = ()
) -> tuple[str, str, list[list[Mention]]]:
    """The brief and the detailed text of a scene and the mentions of each (no shape: empty texts).

    `things` come by descending visible area; `words` are what the signs among them read, in the same order.
    The brief text relates the largest shape to the second; the detailed one goes on with the others, each
    related to the largest, and with the signs.
    """
    shapes = [i for i, thing in enumerate(things) if thing.category != SIGN]
    writer = _Writer(things)
    if not shapes:
        return "", "", [[], []]
    largest = shapes[0]
    if len(shapes) == 1:
        writer.write("A ", largest, f" {world.alone_verb} alone.")
    else:
        first_verb = world.relations[relation(things[largest].box, things[shapes[1]].box)]
        writer.write("A ", largest, f" {first_verb} a ", shapes[1], ".")
    for i in shapes[2:]:
        verb = world.relations[relation(things[i].box, things[largest].box)]
        writer.write("A ", i, f" {verb} the ", largest, ".")
    brief = writer.sentences[0]
    first = [m for m in writer.mentions if m.phrase.end <= len(brief)]
    signs = [i for i, thing in enumerate(things) if thing.category == SIGN]
    for sign, word in zip(signs, words, strict=False):
        writer.write("A ", sign, f" {world.sign_verb} {word}.")
    return brief, " ".join(writer.sentences), [first, writer.mentions]


class _Writer:
    """Sentences from words and thing indices, remembering where each thing's noun phrase stands."""

    def __init__(self, things: Sequence[Thing]) -> None:
        self.things, self.sentences, self.mentions = things, list[str](), list[Mention]()

    def write(self, *parts: str | int) -> None:
        offset = sum(len(s) + 1 for s in self.sentences)
        text = ""
        for part in parts:
            if isinstance(part, str):
                text += part
                continue
            article = text.rsplit(" ", 2)[-2]
            brief = self.things[part].brief
            if article.lower() == "a" and brief[0] in "aeiou":
                text, article = text[:-1] + "n ", article + "n"
            start = offset + len(text) - len(article) - 1
            text += brief
            phrase = NounPhrase(text=f"{article} {brief}", start=start, end=offset + len(text))
            self.mentions.append(Mention(phrase, part))
        self.sentences.append(text)
