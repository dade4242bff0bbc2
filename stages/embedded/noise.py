"""Specialists that make known mistakes: the truth of rendered scenes, corrupted at given rates.

In: a scene's key. Out: texts, regions with category and brief text, text regions. Each has a score
that tells right from wrong no better than a detector's. All random numbers depend on the key and
the seeds alone. This is how refinement is measured: most of the mistakes are random, so a model
that learns from many labels can be right more often than any single label. The mistakes of
`systematic` are not, and two specialists may share mistakes (`shared`).
"""

from __future__ import annotations

import zlib
from collections.abc import Iterator, Sequence
from dataclasses import dataclass, field, replace
from typing import ClassVar

import numpy as np

from pipeline.schema import Annotations, Granularity, Region, Text, TextRegion
from stages.base import ADDED, Batch, Result, Sample, SampleError, no_effect
from stages.embedded.boxes import jittered, joined, random_box
from stages.embedded.domains import DEMO, SceneDomain, categories
from stages.embedded.mistakes import SPURIOUS_SCORE, TRUE_SCORE, Mistakes
from stages.embedded.scene_text import SceneObject, describe_scene
from stages.embedded.scenes import Scene, render
from stages.embedded.systematic import (
    SystematicConfig,
    as_seen,
    invented,
    true_objects,
)
from stages.ranges import NotNegative, Share

ALT_TEXTS = (
    "stock image {} free download",
    "IMG {:04d} final copy",
    "wallpaper {} hd background",
    "top {} deals",
)
# Last numbers of seeds, which keep these draws apart from all others: which scenes share mistakes,
# the mistakes in them, and systematic mistakes.
IS_SHARED, SHARED, SYSTEMATIC = 1, 2, 3


@dataclass(frozen=True, slots=True, kw_only=True)
class NoiseConfig:
    """Settings of `noisy_truth`. Every rate is a probability."""

    missed: Share = 0.2
    """Rate at which a region is missing."""

    spurious: Share = 0.2
    """Spurious regions per true region."""

    wrong_category: Share = 0.15
    """Rate at which a region gets another category."""

    wrong_attribute: Share = 0.15
    """Rate at which a region gets another size or colour."""

    jitter: Share = 0.12
    """Standard deviation of each edge of a box, as a share of the box's side."""

    merged: Share = 0.0
    """Rate at which a region and the next one become one box with the name of the first."""

    wrong_text: Share = 0.2
    """Rate at which the brief text describes other objects."""

    alt_text: Share = 0.1
    """Rate at which the brief text reads like a web page's alt-text."""

    unread: Share = 0.1
    """Rate at which a word is missing."""

    misread: Share = 0.1
    """Rate at which a word has one wrong letter."""

    detailed: Share = 0.0
    """Rate at which a scene has a detailed text; it is always a true one."""

    scenes: int = 0
    """Seed of the scenes; it must be the one of the source."""

    zipf: NotNegative = field(default=0.0, metadata=ADDED)
    """Exponent of the long tail of categories in the scenes; it must be the one of the source."""

    seed: int = 0
    """Seed of the mistakes."""

    shared: Share = field(default=0.0, metadata=ADDED)
    """Share of the scenes whose mistakes come from `shared_seed`. Specialists with the same
    `shared` and `shared_seed` go wrong in the same scenes, and at equal rates in the same way."""

    shared_seed: int = field(default=0, metadata=ADDED)
    """Seed of the mistakes in these scenes."""

    systematic: SystematicConfig = field(default=SystematicConfig(), metadata=ADDED)
    """Mistakes of the regions that are the same in every scene."""

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
        if not self.shared:
            reason = "no mistakes are shared; set shared"
            yield from no_effect(self, ("shared_seed",), reason)
        if self.shared == 1:
            reason = "shared=1 takes all mistakes from shared_seed; lower shared"
            yield from no_effect(self, ("seed",), reason)
        for message in self.systematic.without_effect():
            yield f"systematic.{message}"


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
        scene = scene_of(sample.key, self.config)
        truth = scene.truth
        seeds = _seeds(sample.key, self.config)
        random = Mistakes(DEMO, np.random.default_rng(seeds))
        # The systematic mistakes have their own numbers, so that they leave the random ones alone.
        systematic = Mistakes(DEMO, np.random.default_rng([*seeds, SYSTEMATIC]))
        corruption = _Corruption(DEMO, self.config, random)
        objects = true_objects(scene)
        # The order of these calls fixes which random number goes where.
        texts = corruption.texts(truth.texts, [true.object for true in objects])
        seen = as_seen(objects, sample.size, self.config.systematic, systematic)
        regions = corruption.regions(seen, sample.size)
        regions += invented(sample.size, self.config.systematic, systematic)
        text_regions = corruption.text_regions(truth.text_regions)
        return Annotations(texts, regions, text_regions)


def scene_of(key: str, config: NoiseConfig) -> Scene:
    """The scene that has this key.

    Raises:
        SampleError: it is not the key of a rendered scene.
    """
    number = key.rpartition("_")[2]
    if not number.isdigit():
        raise SampleError("no_scene", f"{key} is not the key of a rendered scene")
    domain = replace(DEMO, zipf=config.zipf)
    return render(domain, config.scenes, int(number))


def _seeds(key: str, config: NoiseConfig) -> list[int]:
    """The numbers that fix the random mistakes of one scene."""
    key_hash = zlib.crc32(key.encode())
    draw = np.random.default_rng([config.shared_seed, key_hash, IS_SHARED])
    if draw.random() < config.shared:
        return [config.shared_seed, key_hash, SHARED]
    return [config.seed, key_hash]


@dataclass(frozen=True, slots=True)
class _Corruption:
    """Draws the random mistakes of one scene."""

    domain: SceneDomain
    """Where the words of descriptions come from."""

    config: NoiseConfig
    """The rates."""

    mistakes: Mistakes
    """All random numbers come from it, one after the other."""

    @property
    def rng(self) -> np.random.Generator:
        """Where the random numbers come from."""
        return self.mistakes.rng

    def regions(self, objects: Sequence[SceneObject], size: tuple[int, int]) -> list[Region]:
        """The regions that are found, true and spurious ones.

        Args:
            objects: the objects that can be seen, in any order.
            size: (width, height) of the image in pixels.
        """
        config = self.config
        mistakes = self.mistakes
        regions = []
        for item in self._merged(objects):
            if self.rng.random() >= config.missed:
                box = jittered(item.box, size, config.jitter, self.rng)
                named = mistakes.misnamed(item, config.wrong_category, config.wrong_attribute)
                regions.append(mistakes.region(named, box, TRUE_SCORE))
            if self.rng.random() < config.spurious:
                spurious = mistakes.random_object()
                box = random_box(size, self.rng)
                regions.append(mistakes.region(spurious, box, SPURIOUS_SCORE))
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
            others = [self.mistakes.other_object(item) for item in objects]
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
                text = self.mistakes.misread(text)
            # OCR is seldom unsure, so the scores lie between a half and one.
            score = 0.5 + 0.5 * self.mistakes.score(TRUE_SCORE)
            text_regions.append(TextRegion(quad=region.quad, text=text, score=score))
        return text_regions

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

    def _text(self, granularity: Granularity, text: str) -> Text:
        """A text with the score of a true one."""
        return Text(granularity=granularity, text=text, score=self.mistakes.score(TRUE_SCORE))
