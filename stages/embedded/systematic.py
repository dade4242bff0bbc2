"""Systematic mistakes of a detector: the same things go wrong in the same way in every scene.

In: the true objects of a scene. Out: the objects as the detector sees them, and regions that it
invents. Random mistakes come on top (`noise.py`), from other random numbers. A model that is
trained on such labels learns these mistakes with the rest, unless other witnesses contradict:
another specialist with other faults, or people.
"""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from dataclasses import dataclass, replace
from typing import Literal

import numpy as np

from pipeline.schema import Region
from stages.base import no_effect
from stages.embedded.boxes import edge_box, scaled
from stages.embedded.domains import DEMO, SceneDomain, categories, palette
from stages.embedded.mistakes import TRUE_SCORE, Mistakes
from stages.embedded.scene_text import SceneObject
from stages.embedded.scenes import Scene
from stages.ranges import NotNegative, Share

Condition = Literal["always", "small", "dark", "hidden"]
# Brightness of a colour below which an object is dark, 0 to 255: red, blue and purple are.
DARK = 100.0
# Weights of red, green and blue in the brightness (ITU-R BT.709).
LUMA = (0.2126, 0.7152, 0.0722)
# Share of an object that others hide from which on it is partly hidden.
HIDDEN = 0.05


@dataclass(frozen=True, slots=True, kw_only=True)
class SystematicConfig:
    """The systematic mistakes of `noisy_truth`."""

    renamed: Share = 0.0
    """Rate at which an object of `category` is called `called` where the condition `when` holds."""

    category: str = "block"
    """The category that gets a wrong name."""

    called: str = "cross"
    """The wrong name."""

    when: Condition = "always"
    """Where the name is wrong: `always`; `small`: on objects with the smallest size word; `dark`:
    on red, blue and purple ones; `hidden`: where other things hide a part."""

    enlarged: NotNegative = 0.0
    """Share by which each side of every box is too long; the centre stays."""

    unseen_below: NotNegative = 0.0
    """Objects whose longer side is shorter are never found, in pixels."""

    invented: Share = 0.0
    """Rate at which a scene gets a region at an edge of the image. It is as certain as true
    ones."""

    def __post_init__(self) -> None:
        if not self.renamed:
            return
        known = categories(DEMO)
        for name, value in (("category", self.category), ("called", self.called)):
            if value not in known:
                raise ValueError(
                    f"{name}={value}: no such category; choose from {', '.join(known)}"
                )

    def without_effect(self) -> Iterator[str]:
        if not self.renamed:
            reason = "no name is wrong; set renamed"
            yield from no_effect(self, ("category", "called", "when"), reason)


@dataclass(frozen=True, slots=True)
class TrueObject:
    """An object of a scene, and how well it can be seen."""

    object: SceneObject
    """Its names and its box."""

    hidden: float
    """The share of it that other things hide."""

    @property
    def side(self) -> float:
        """The longer side of its box, in pixels."""
        left, top, right, bottom = self.object.box
        return max(right - left, bottom - top)

    def meets(self, condition: Condition, domain: SceneDomain) -> bool:
        """Whether a condition holds for it."""
        if condition == "small":
            return self.object.size == min(domain.sizes, key=lambda size: domain.sizes[size])
        if condition == "dark":
            colour = palette(domain)[self.object.colour]
            return float(np.dot(LUMA, colour)) < DARK
        if condition == "hidden":
            return self.hidden >= HIDDEN
        return True


def true_objects(scene: Scene) -> list[TrueObject]:
    """The objects of a scene, in the order of its true regions."""
    objects = []
    for region, hidden in zip(scene.truth.regions, scene.hidden, strict=True):
        objects.append(TrueObject(_scene_object(region), hidden))
    return objects


def is_renamable(true: TrueObject, config: SystematicConfig, domain: SceneDomain) -> bool:
    """Whether an object is one of those that get a wrong name."""
    return true.object.category == config.category and true.meets(config.when, domain)


def as_seen(
    objects: Sequence[TrueObject],
    size: tuple[int, int],
    config: SystematicConfig,
    mistakes: Mistakes,
) -> list[SceneObject]:
    """The objects as the detector sees them, in the same order; unseen ones are left out.

    Args:
        objects: all objects of the scene.
        size: (width, height) of the image in pixels.
        config: the mistakes.
        mistakes: draws where a rate is not 0 or 1.
    """
    seen = []
    for true in objects:
        item = true.object
        if true.side < config.unseen_below:
            continue
        if is_renamable(true, config, mistakes.domain) and mistakes.rng.random() < config.renamed:
            item = replace(item, category=config.called)
        if config.enlarged:
            item = replace(item, box=scaled(item.box, 1 + config.enlarged, size))
        seen.append(item)
    return seen


def invented(size: tuple[int, int], config: SystematicConfig, mistakes: Mistakes) -> list[Region]:
    """At most one region at an edge of the image, which is (width, height) pixels large."""
    if mistakes.rng.random() >= config.invented:
        return []
    thing = mistakes.random_object()
    box = edge_box(size, mistakes.rng)
    return [mistakes.region(thing, box, TRUE_SCORE)]


def _scene_object(region: Region) -> SceneObject:
    """The object of a true region.

    Its brief text is an optional size word, the colour and the category.
    """
    words = (region.brief or "").split()
    colour = words[-2]
    size = words[-3] if len(words) > 2 else ""
    return SceneObject(size=size, colour=colour, category=region.phrase, box=region.box)
