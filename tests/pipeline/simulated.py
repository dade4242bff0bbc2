"""A simulated model of known quality: what the refine stage would say of a rendered scene, with
log-probabilities."""

from __future__ import annotations

import math
from dataclasses import dataclass, replace

import numpy as np

from pipeline.refinement.second_look import SecondLook
from pipeline.schema import Annotations, Box, Region
from stages.base import Sample
from stages.embedded.boxes import jittered
from stages.embedded.noise import NoiseConfig, NoisyTruth
from stages.embedded.scenes import DEMO, render
from stages.geometry import box_iou

SIZE = (192, 192)


@dataclass(frozen=True, slots=True, kw_only=True)
class Quality:
    """How good a simulated model is."""

    recall: float = 0.82
    """Share of the objects that it finds, 0 to 1."""

    right: float = 0.9
    """Share of the names that are right, 0 to 1."""

    invented: float = 0.08
    """Boxes of nothing that it finds, per true object."""

    jitter: float = 0.05
    """Deviation of the edges of a box, as a share of its side."""


@dataclass(frozen=True, slots=True)
class Belief:
    """A name that the model gives to a thing."""

    phrase: str
    brief: str

    log_probability: float
    """In nats per token."""


class Simulated:
    """A model that says the same of a sample whenever it is asked."""

    def __init__(self, quality: Quality, seed: int) -> None:
        self.quality = quality
        self.rng = np.random.default_rng(seed)

    def __call__(self, truth: Annotations, old: Annotations, number: int) -> Annotations:
        """The revisions and additions of round `number`."""
        beliefs = [self._belief(region) for region in truth.regions]
        regions = self._found(truth, beliefs)
        judged = []
        for region in old.kept().regions:
            belief = self._belief_at(region, truth, beliefs)
            support = belief.log_probability
            if (belief.phrase, belief.brief) != name_of(region):
                support = support - self.rng.gamma(4.0, 0.25) - 0.1
            judged.append(replace(region, support=support))
        for i, region in enumerate(regions):
            id_ = f"{number}.refine.regions.{i:02d}"
            judged.append(replace(region, id=id_, source="refine", round=number))
        return Annotations(regions=judged)

    def second_look(self, truth: Annotations, old: Annotations, number: int) -> SecondLook:
        """What it finds on the mirrored image, and its support of old labels at wrong places."""
        beliefs = [self._belief(region) for region in truth.regions]
        mirrored = []
        for i, region in enumerate(self._found(truth, beliefs)):
            mirrored.append(replace(region, id=f"{number}.witness.regions.{i}", round=number))
        decoys = []
        for region in old.kept().regions:
            nothing = Belief(*random_name(self.rng), -0.5 - self.rng.gamma(3.0, 0.25))
            support = nothing.log_probability - self.rng.gamma(4.0, 0.25) - 0.1
            decoys.append(replace(region, support=support))
        return SecondLook(Annotations(regions=mirrored), Annotations(regions=decoys))

    def _found(self, truth: Annotations, beliefs: list[Belief]) -> list[Region]:
        """What the model finds by itself."""
        seen = []
        for region, belief in zip(truth.regions, beliefs, strict=True):
            box = jittered(region.box, SIZE, self.quality.jitter, self.rng)
            seen.append(believed(box, belief))
        found = [region for region in seen if self.rng.random() < self.quality.recall]
        for _ in truth.regions:
            if self.rng.random() < self.quality.invented:
                found.append(self._invented())
        return found

    def _belief(self, region: Region) -> Belief:
        """The name that the model would give to a true object: less likely if it is wrong."""
        if self.rng.random() < self.quality.right:
            return Belief(*name_of(region), -0.05 - self.rng.gamma(1.5, 0.1))
        return Belief(*random_name(self.rng), -0.1 - self.rng.gamma(2.0, 0.25))

    def _belief_at(self, region: Region, truth: Annotations, beliefs: list[Belief]) -> Belief:
        """The name that the model would give to what is in a box."""
        true_boxes = [other.box for other in truth.regions]
        overlap = box_iou([region.box], true_boxes)[0]
        if overlap.max(initial=0.0) >= 0.25:
            return beliefs[int(overlap.argmax())]
        return Belief(*random_name(self.rng), -0.5 - self.rng.gamma(3.0, 0.25))

    def _invented(self) -> Region:
        x, y = self.rng.uniform(0, 130, 2).tolist()
        belief = Belief(*random_name(self.rng), -0.4 - self.rng.gamma(2.0, 0.25))
        return believed((x, y, x + 50, y + 50), belief)


def name_of(region: Region) -> tuple[str, str]:
    """Its category and its brief text; without a brief text the category stands for it."""
    return region.phrase, region.brief or region.phrase


def random_name(rng: np.random.Generator) -> tuple[str, str]:
    """A category and a brief text of the demo scenes."""
    shape = str(rng.choice(list(DEMO.shapes)))
    colour = str(rng.choice(list(DEMO.colours)))
    size = str(rng.choice(list(DEMO.sizes)))
    words = [word for word in (size, colour, shape) if word]
    return shape, " ".join(words)


def believed(box: Box, belief: Belief) -> Region:
    """A region as the model says it. Its score is a little lower than the likelihood of its name,
    because the place counts, too."""
    return Region(
        box=box,
        phrase=belief.phrase,
        brief=belief.brief,
        score=math.exp(belief.log_probability - 0.1),
        support=belief.log_probability,
    )


def noisy_scenes(count: int) -> list[tuple[Annotations, Annotations]]:
    """(labels as specialists with known mistakes give them, truth) of rendered scenes."""
    config = NoiseConfig()
    stage = NoisyTruth(config)
    scenes = []
    for index in range(count):
        labels = stage.corrupt(Sample(key=f"scene_{index:06d}", size=SIZE))
        regions = []
        for i, region in enumerate(labels.regions):
            if (region.score or 0) >= 0.3:
                regions.append(replace(region, id=f"0.noisy.regions.{i:02d}", source="noisy"))
        texts = []
        for i, text in enumerate(labels.texts):
            texts.append(replace(text, id=f"0.noisy.texts.{i}", source="noisy"))
        truth = render(DEMO, config.scenes, index).truth
        scenes.append((Annotations(texts=texts, regions=regions), truth))
    return scenes
