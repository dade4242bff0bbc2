"""Specialists that make known mistakes: the truth of rendered scenes, spoilt at set rates.

In: a scene's key. Out: texts, regions with category and brief text, text regions, each with a score that is no better a
judge than a detector's. What is drawn is a function of key and seed alone. This is how refinement is measured: all its
errors are random, so a model that learns from many labels can know better than any one of them.
"""

from __future__ import annotations

import zlib
from collections.abc import Iterator, Sequence
from dataclasses import dataclass, replace
from typing import Annotated, ClassVar

import numpy as np
from pydantic import Field

from pipeline.schema import Annotations, Box, Region, Text, TextRegion
from stages.base import Batch, Result, Sample, SampleError
from stages.embedded.scenes import DEMO, SIGN, Thing, World, palette, render, tell

Rate = Annotated[float, Field(ge=0, le=1)]
ALT_TEXTS = (
    "stock image {} free download",
    "IMG {:04d} final copy",
    "wallpaper {} hd background",
    "top {} deals",
)
TRUE, SPURIOUS = (6.0, 3.0), (3.0, 4.0)  # parameters of the scores' beta distributions


@dataclass(frozen=True, slots=True, kw_only=True)
class NoiseConfig:
    """Rates of mistakes: of a region to be missed, to get a wrong category or a wrong size or colour, to be merged with
    its neighbour in one box; spurious regions per true one; texts that are wrong or read like alt-texts; words unread
    or misread. Each edge moves by a normal of `jitter` times the side. `detailed` is the share of scenes with a
    detailed text, a true one. `scenes` is the seed of the scenes."""

    missed: Rate = 0.2
    spurious: Rate = 0.2
    wrong_category: Rate = 0.15
    wrong_attribute: Rate = 0.15
    jitter: Rate = 0.12
    merged: Rate = 0.0
    wrong_text: Rate = 0.2
    alt_text: Rate = 0.1
    unread: Rate = 0.1
    misread: Rate = 0.1
    detailed: Rate = 0.0
    scenes: int = 0
    seed: int = 0


class NoisyTruth:
    version: ClassVar[int] = 1
    reads_images: ClassVar[bool] = False

    def __init__(self, config: NoiseConfig) -> None:
        self.config, self.world = config, DEMO

    def __call__(self, batch: Batch) -> list[Result]:
        return [self.spoilt(sample) for sample in batch]

    def spoilt(self, sample: Sample) -> Annotations:
        number = sample.key.rpartition("_")[2]
        if not number.isdigit():
            raise SampleError("no_scene", f"{sample.key} is not the key of a rendered scene")
        truth = render(self.world, self.config.scenes, int(number)).truth
        rng = np.random.default_rng([self.config.seed, zlib.crc32(sample.key.encode())])
        things = [_thing(region) for region in truth.regions]
        return Annotations(
            list(self._texts(truth, things, rng)),
            list(self._regions(things, sample.size, rng)),
            list(self._words(truth.text_regions, rng)),
        )

    def _regions(
        self, things: Sequence[Thing], size: tuple[int, int], rng: np.random.Generator
    ) -> Iterator[Region]:
        config = self.config
        for thing in _merged(things, config.merged, rng):
            if rng.random() >= config.missed:
                box = jittered(thing.box, size, config.jitter, rng)
                yield _region(_misnamed(self.world, thing, config, rng), box, TRUE, rng)
            if rng.random() < config.spurious:
                yield _region(_anything(self.world, rng), _anywhere(size, rng), SPURIOUS, rng)

    def _texts(
        self, truth: Annotations, things: Sequence[Thing], rng: np.random.Generator
    ) -> Iterator[Text]:
        draw, config = rng.random(), self.config
        brief, detailed = (text.text for text in truth.texts)
        if draw < config.wrong_text:
            brief = tell(self.world, [_other(self.world, thing, rng) for thing in things])[0]
        elif draw < config.wrong_text + config.alt_text:
            brief = str(rng.choice(ALT_TEXTS)).format(int(rng.integers(10_000)))
        yield Text(granularity="brief", text=brief, score=_score(TRUE, rng))
        if rng.random() < config.detailed:
            yield Text(granularity="detailed", text=detailed, score=_score(TRUE, rng))

    def _words(self, words: Sequence[TextRegion], rng: np.random.Generator) -> Iterator[TextRegion]:
        for word in words:
            draw, letters = rng.random(), list(word.text)
            if draw < self.config.unread:
                continue
            if draw < self.config.unread + self.config.misread:
                at = int(rng.integers(len(letters)))
                letters[at] = str(
                    rng.choice([c for c in "ABCDEFGHIJKLMNOPQRSTUVWXYZ" if c != letters[at]])
                )
            yield TextRegion(
                quad=word.quad, text="".join(letters), score=0.5 + 0.5 * _score(TRUE, rng)
            )


def jittered(box: Box, size: tuple[int, int], jitter: float, rng: np.random.Generator) -> Box:
    """Each edge moved by a normal of `jitter` times the side, inside the image, two pixels wide at least."""
    sides = (box[2] - box[0], box[3] - box[1]) * 2
    x1, y1, x2, y2 = (
        edge + rng.normal(0.0, jitter * side) for edge, side in zip(box, sides, strict=True)
    )
    (left, right), (top, bottom) = _inside(x1, x2, size[0]), _inside(y1, y2, size[1])
    return (left, top, right, bottom)


def _inside(a: float, b: float, side: int) -> tuple[float, float]:
    low = min(max(min(a, b), 0.0), side - 2.0)
    return low, max(min(max(a, b), float(side)), low + 2.0)


def _thing(region: Region) -> Thing:
    size, colour = ["", *(region.brief or "").split()][-3:-1]
    return Thing(size=size, colour=colour, category=region.phrase, box=region.box)


def _merged(things: Sequence[Thing], rate: float, rng: np.random.Generator) -> list[Thing]:
    """Some things and the next one become one box under the name of the first."""
    draws = rng.random(len(things)) < rate
    swallowed, made = set[int](), []
    for i, thing in enumerate(things):
        if i in swallowed:
            continue
        if draws[i] and i + 1 < len(things):
            swallowed.add(i + 1)
            a, b = thing.box, things[i + 1].box
            whole = (min(a[0], b[0]), min(a[1], b[1]), max(a[2], b[2]), max(a[3], b[3]))
            thing = replace(thing, box=whole)
        made.append(thing)
    return made


def _misnamed(world: World, thing: Thing, config: NoiseConfig, rng: np.random.Generator) -> Thing:
    if rng.random() < config.wrong_category:
        thing = replace(thing, category=_another([*world.shapes, SIGN], thing.category, rng))
    if rng.random() < config.wrong_attribute:
        if thing.category != SIGN and rng.random() < 0.5:
            return replace(thing, size=_another(list(world.sizes), thing.size, rng))
        return replace(thing, colour=_another(list(palette(world)), thing.colour, rng))
    return thing


def _other(world: World, thing: Thing, rng: np.random.Generator) -> Thing:
    """Another thing in its place."""
    if thing.category == SIGN:
        return thing
    shape, colour = (
        _another(list(names), old, rng)
        for names, old in (
            (world.shapes, thing.category),
            (world.colours, thing.colour),
        )
    )
    return replace(thing, category=shape, colour=colour)


def _anything(world: World, rng: np.random.Generator) -> Thing:
    size, colour, shape = (
        str(rng.choice(list(names))) for names in (world.sizes, world.colours, world.shapes)
    )
    return Thing(size=size, colour=colour, category=shape, box=(0.0, 0.0, 0.0, 0.0))


def _anywhere(size: tuple[int, int], rng: np.random.Generator) -> Box:
    """A box of a seventh to two fifths of the image's sides."""
    sides = rng.uniform(1 / 7, 2 / 5, 2) * size
    x, y = rng.uniform(0, np.array(size) - sides).tolist()
    return (x, y, x + float(sides[0]), y + float(sides[1]))


def _another(names: Sequence[str], old: str, rng: np.random.Generator) -> str:
    return str(rng.choice([name for name in names if name != old]))


def _region(thing: Thing, box: Box, score: tuple[float, float], rng: np.random.Generator) -> Region:
    return Region(
        box=box,
        phrase=thing.category,
        brief=thing.brief,
        brief_kind="chunk",
        score=_score(score, rng),
    )


def _score(parameters: tuple[float, float], rng: np.random.Generator) -> float:
    return round(float(rng.beta(*parameters)), 4)
