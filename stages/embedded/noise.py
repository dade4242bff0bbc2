"""Specialists that make known mistakes: the truth of rendered scenes, corrupted at given rates.

In: a scene's key. Out: texts, regions with category and brief text, text regions. Each has a score
that tells right from wrong no better than a detector's. All random numbers depend on the key and
the seed alone. This is how refinement is measured: the mistakes are random, so a model that learns
from many labels can be right more often than any single label.
"""

from __future__ import annotations

import zlib
from collections.abc import Iterable, Iterator, Sequence
from dataclasses import dataclass, replace
from typing import Annotated, ClassVar

import numpy as np
from pydantic import Field

from pipeline.schema import Annotations, Box, Granularity, Region, Text, TextRegion
from stages.base import Batch, Result, Sample, SampleError, no_effect
from stages.embedded.boxes import jittered, joined, random_box
from stages.embedded.domains import DEMO, SIGN, SceneDomain, categories, palette
from stages.embedded.scene_text import SceneObject, describe_scene
from stages.embedded.scenes import render

Rate = Annotated[float, Field(ge=0, le=1)]
ALT_TEXTS = (
    "stock image {} free download",
    "IMG {:04d} final copy",
    "wallpaper {} hd background",
    "top {} deals",
)
LETTERS = "ABCDEFGHIJKLMNOPQRSTUVWXYZ"
# Parameters (alpha, beta) of the beta distributions of the scores.
TRUE_SCORE = (6.0, 3.0)
SPURIOUS_SCORE = (3.0, 4.0)


@dataclass(frozen=True, slots=True, kw_only=True)
class NoiseConfig:
    """Settings of `noisy_truth`. Every rate is a probability."""

    missed: Rate = 0.2
    """Rate at which a region is missing."""

    spurious: Rate = 0.2
    """Spurious regions per true region."""

    wrong_category: Rate = 0.15
    """Rate at which a region gets another category."""

    wrong_attribute: Rate = 0.15
    """Rate at which a region gets another size or colour."""

    jitter: Rate = 0.12
    """Standard deviation of each edge of a box, as a share of the box's side."""

    merged: Rate = 0.0
    """Rate at which a region and the next one become one box with the name of the first."""

    wrong_text: Rate = 0.2
    """Rate at which the brief text describes other objects."""

    alt_text: Rate = 0.1
    """Rate at which the brief text reads like a web page's alt-text."""

    unread: Rate = 0.1
    """Rate at which a word is missing."""

    misread: Rate = 0.1
    """Rate at which a word has one wrong letter."""

    detailed: Rate = 0.0
    """Rate at which a scene has a detailed text; it is always a true one."""

    scenes: int = 0
    """Seed of the scenes; it must be the one of the source."""

    seed: int = 0
    """Seed of the mistakes."""

    def class_names(self) -> list[str]:
        """The categories that regions can get."""
        return categories(DEMO)

    def without_effect(self) -> Iterator[str]:
        if self.missed == 1:
            reason = "missed=1 leaves no true region; lower missed"
            names = ("wrong_category", "wrong_attribute", "jitter")
            yield from no_effect(self, names, reason)
        if self.wrong_text == 1:
            reason = "wrong_text=1 makes every brief text wrong; lower wrong_text"
            yield from no_effect(self, ("alt_text",), reason)
        if self.unread == 1:
            yield from no_effect(self, ("misread",), "unread=1 leaves no word; lower unread")


class NoisyTruth:
    """Renders a scene again from its key, and corrupts its truth."""

    version: ClassVar[int] = 1
    reads_images: ClassVar[bool] = False
    gives: ClassVar[tuple[str, ...]] = ("texts", "regions", "text_regions")

    def __init__(self, config: NoiseConfig) -> None:
        self.config = config

    def __call__(self, batch: Batch) -> list[Result]:
        return [self.corrupt(sample) for sample in batch]

    def corrupt(self, sample: Sample) -> Annotations:
        """The corrupted truth of one scene.

        Raises:
            SampleError: the sample's key is not that of a rendered scene.
        """
        number = sample.key.rpartition("_")[2]
        if not number.isdigit():
            raise SampleError("no_scene", f"{sample.key} is not the key of a rendered scene")
        scene = render(DEMO, self.config.scenes, int(number))
        truth = scene.truth
        key_hash = zlib.crc32(sample.key.encode())
        rng = np.random.default_rng([self.config.seed, key_hash])
        corruption = _Corruption(DEMO, self.config, rng)
        objects = [_scene_object(region) for region in truth.regions]
        # The order of these calls fixes which random number goes where.
        texts = corruption.texts(truth.texts, objects)
        regions = corruption.regions(objects, sample.size)
        text_regions = corruption.text_regions(truth.text_regions)
        return Annotations(texts, regions, text_regions)


@dataclass(frozen=True, slots=True)
class _Corruption:
    """Draws the mistakes of one scene."""

    domain: SceneDomain
    """Where other categories, sizes and colours come from."""

    config: NoiseConfig
    """The rates."""

    rng: np.random.Generator
    """All random numbers come from it, one after the other."""

    def regions(self, objects: Sequence[SceneObject], size: tuple[int, int]) -> list[Region]:
        """The regions that are found, true and spurious ones.

        Args:
            objects: the true objects, in any order.
            size: (width, height) of the image in pixels.
        """
        config = self.config
        regions = []
        for item in self._merged(objects):
            if self.rng.random() >= config.missed:
                box = jittered(item.box, size, config.jitter, self.rng)
                named = self._misnamed(item)
                regions.append(self._region(named, box, TRUE_SCORE))
            if self.rng.random() < config.spurious:
                spurious = self._random_object()
                box = random_box(size, self.rng)
                regions.append(self._region(spurious, box, SPURIOUS_SCORE))
        return regions

    def texts(self, true_texts: Sequence[Text], objects: Sequence[SceneObject]) -> list[Text]:
        """A brief text, and sometimes a detailed one."""
        brief, detailed = (text.text for text in true_texts)
        # One draw decides between both mistakes, so that a text has one of them at most.
        wrong_rate = self.config.wrong_text
        alt_text_rate = self.config.alt_text
        draw = self.rng.random()
        is_wrong = draw < wrong_rate
        is_alt_text = draw < wrong_rate + alt_text_rate
        if is_wrong:
            others = [self._other_object(item) for item in objects]
            description = describe_scene(self.domain, others)
            brief = description.brief
        elif is_alt_text:
            template = str(self.rng.choice(ALT_TEXTS))
            number = int(self.rng.integers(10_000))
            brief = template.format(number)
        texts = [self._text("brief", brief)]
        if self.rng.random() < self.config.detailed:
            texts.append(self._text("detailed", detailed))
        return texts

    def text_regions(self, true_text_regions: Sequence[TextRegion]) -> list[TextRegion]:
        """The words that are read, some of them with a wrong letter."""
        unread_rate = self.config.unread
        misread_rate = self.config.misread
        text_regions = []
        for region in true_text_regions:
            draw = self.rng.random()
            if draw < unread_rate:
                continue
            text = region.text
            if draw < unread_rate + misread_rate:
                text = self._misread(text)
            # OCR is seldom unsure, so the scores lie between a half and one.
            score = 0.5 + 0.5 * self._score(TRUE_SCORE)
            text_regions.append(TextRegion(quad=region.quad, text=text, score=score))
        return text_regions

    def _misread(self, word: str) -> str:
        """The word with one other letter."""
        index = int(self.rng.integers(len(word)))
        letter = self._another(LETTERS, word[index])
        before = word[:index]
        after = word[index + 1 :]
        return before + letter + after

    def _merged(self, objects: Sequence[SceneObject]) -> list[SceneObject]:
        """The objects, some of them joined with the next one in a box around both."""
        draws = self.rng.random(len(objects))
        is_merged = draws < self.config.merged
        result = []
        index = 0
        while index < len(objects):
            item = objects[index]
            has_next = index + 1 < len(objects)
            if is_merged[index] and has_next:
                index += 1
                other = objects[index]
                box = joined(item.box, other.box)
                item = replace(item, box=box)
            result.append(item)
            index += 1
        return result

    def _misnamed(self, item: SceneObject) -> SceneObject:
        """The object, sometimes with another category, size or colour."""
        if self.rng.random() < self.config.wrong_category:
            all_categories = categories(self.domain)
            category = self._another(all_categories, item.category)
            item = replace(item, category=category)
        if self.rng.random() >= self.config.wrong_attribute:
            return item
        # Signs have no size word, so only their colour can be wrong.
        if item.category != SIGN and self.rng.random() < 0.5:
            size = self._another(self.domain.sizes, item.size)
            return replace(item, size=size)
        all_colours = palette(self.domain)
        colour = self._another(all_colours, item.colour)
        return replace(item, colour=colour)

    def _other_object(self, item: SceneObject) -> SceneObject:
        """Another category and colour at the same place; a sign stays as it is."""
        if item.category == SIGN:
            return item
        category = self._another(self.domain.shapes, item.category)
        colour = self._another(self.domain.colours, item.colour)
        return replace(item, category=category, colour=colour)

    def _random_object(self) -> SceneObject:
        """An object without a place."""
        size = self._any(self.domain.sizes)
        colour = self._any(self.domain.colours)
        category = self._any(self.domain.shapes)
        return SceneObject(
            size=size,
            colour=colour,
            category=category,
            box=(0.0, 0.0, 0.0, 0.0),
        )

    def _region(self, item: SceneObject, box: Box, score: tuple[float, float]) -> Region:
        """A region with the names of `item` and a random score."""
        return Region(
            box=box,
            phrase=item.category,
            brief=item.brief,
            brief_kind="chunk",
            score=self._score(score),
        )

    def _text(self, granularity: Granularity, text: str) -> Text:
        """A text with the score of a true one."""
        return Text(granularity=granularity, text=text, score=self._score(TRUE_SCORE))

    def _any(self, names: Iterable[str]) -> str:
        """A random one of the names."""
        name = self.rng.choice(list(names))
        return str(name)

    def _another(self, names: Iterable[str], old: str) -> str:
        """A random name other than `old`."""
        return self._any(name for name in names if name != old)

    def _score(self, parameters: tuple[float, float]) -> float:
        """A random score from a beta distribution, rounded to four digits.

        `parameters` are alpha and beta of the distribution.
        """
        score = self.rng.beta(*parameters)
        return round(float(score), 4)


def _scene_object(region: Region) -> SceneObject:
    """The object of a true region.

    Its brief text is an optional size word, the colour and the category.
    """
    words = (region.brief or "").split()
    colour = words[-2]
    size = words[-3] if len(words) > 2 else ""
    return SceneObject(size=size, colour=colour, category=region.phrase, box=region.box)
