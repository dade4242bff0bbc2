"""A model of known quality, played: what the refine stage would say of a rendered scene, likelihoods included."""

from __future__ import annotations

import math
from dataclasses import dataclass, replace

import numpy as np

from pipeline.schema import Annotations, Region
from stages.base import Sample
from stages.embedded.noise import NoiseConfig, NoisyTruth, jittered
from stages.embedded.scenes import DEMO, render
from stages.geometry import box_iou

SIZE = (192, 192)


@dataclass(frozen=True, slots=True, kw_only=True)
class Quality:
    """Share of objects it finds, of names that are right, boxes it invents per true one, deviation of its edges."""

    recall: float = 0.82
    right: float = 0.9
    invented: float = 0.08
    jitter: float = 0.05


def names(rng: np.random.Generator) -> tuple[str, str]:
    shape, colour, size = (
        str(rng.choice(list(words))) for words in (DEMO.shapes, DEMO.colours, DEMO.sizes)
    )
    return shape, " ".join(word for word in (size, colour, shape) if word)


class Simulated:
    """Says the same of a sample whenever it is asked."""

    def __init__(self, quality: Quality, seed: int) -> None:
        self.quality, self.rng = quality, np.random.default_rng(seed)

    def __call__(self, truth: Annotations, old: Annotations, number: int) -> Annotations:
        """The revisions and additions of round `number`."""
        beliefs = [self._belief((r.phrase, r.brief or r.phrase)) for r in truth.regions]
        found = [self._found(r, b) for r, b in zip(truth.regions, beliefs, strict=True)]
        kept = [r for r in found if self.rng.random() < self.quality.recall]
        kept += [
            self._invented() for _ in truth.regions if self.rng.random() < self.quality.invented
        ]
        judged, others = [], []
        for region in old.kept().regions:
            top = self._at(region, truth, beliefs)
            name, support = (region.phrase, region.brief or region.phrase), top[1]
            if name != top[0]:
                support = top[1] - self.rng.gamma(4.0, 0.25) - 0.1
                others.append(replace(self._region(region.box, top), parents=[region.id]))
            judged.append(replace(region, support=support))
        stamped = [
            replace(r, id=f"{number}.refine.regions.{i:02d}", source="refine", round=number)
            for i, r in enumerate(kept + others)
        ]
        return Annotations(regions=judged + stamped)

    def _belief(self, name: tuple[str, str]) -> tuple[tuple[str, str], float]:
        """The name that it would give and how likely that is: less so when it is wrong."""
        if self.rng.random() < self.quality.right:
            return name, -0.05 - float(self.rng.gamma(1.5, 0.1))
        return names(self.rng), -0.1 - float(self.rng.gamma(2.0, 0.25))

    def _at(
        self, region: Region, truth: Annotations, beliefs: list[tuple[tuple[str, str], float]]
    ) -> tuple[tuple[str, str], float]:
        overlap = box_iou([region.box], [r.box for r in truth.regions])[0]
        if overlap.max(initial=0.0) >= 0.25:
            return beliefs[int(overlap.argmax())]
        return names(self.rng), -0.5 - float(self.rng.gamma(3.0, 0.25))

    def _found(self, region: Region, belief: tuple[tuple[str, str], float]) -> Region:
        return self._region(jittered(region.box, SIZE, self.quality.jitter, self.rng), belief)

    def _invented(self) -> Region:
        x, y = self.rng.uniform(0, 130, 2).tolist()
        return self._region(
            (x, y, x + 50, y + 50), (names(self.rng), -0.4 - float(self.rng.gamma(2.0, 0.25)))
        )

    def _region(
        self, box: tuple[float, float, float, float], belief: tuple[tuple[str, str], float]
    ) -> Region:
        (phrase, brief), support = belief
        return Region(
            box=box, phrase=phrase, brief=brief, score=math.exp(support - 0.1), support=support
        )


def noisy_scenes(count: int) -> list[tuple[Annotations, Annotations]]:
    """(labels as specialists with known mistakes give them, truth)."""
    config = NoiseConfig()
    stage, made = NoisyTruth(config), []
    for index in range(count):
        labels = stage.spoilt(Sample(key=f"scene_{index:06d}", size=SIZE))
        regions = [
            replace(r, id=f"0.noisy.regions.{i:02d}", source="noisy")
            for i, r in enumerate(labels.regions)
            if (r.score or 0) >= 0.3
        ]
        texts = [
            replace(t, id=f"0.noisy.texts.{i}", source="noisy") for i, t in enumerate(labels.texts)
        ]
        made.append(
            (Annotations(texts=texts, regions=regions), render(DEMO, config.scenes, index).truth)
        )
    return made
