"""Random mistakes about words and objects: other letters, names and things.

In: a word or an object of a scene. Out: the same with a mistake. All random numbers come from one
generator, one after the other, so the order of the calls fixes which number goes where.
"""

from __future__ import annotations

from collections.abc import Iterable
from dataclasses import dataclass, replace

import numpy as np

from pipeline.schema import Box, Region
from stages.embedded.domains import SIGN, SceneDomain, categories, palette
from stages.embedded.scene_text import SceneObject

LETTERS = "ABCDEFGHIJKLMNOPQRSTUVWXYZ"
# Parameters (alpha, beta) of the beta distributions of the scores.
TRUE_SCORE = (6.0, 3.0)
SPURIOUS_SCORE = (3.0, 4.0)


@dataclass(frozen=True, slots=True)
class Mistakes:
    """Draws mistakes in the words of one domain."""

    domain: SceneDomain
    """Where other categories, sizes and colours come from."""

    rng: np.random.Generator
    """All random numbers come from it."""

    def misread(self, word: str) -> str:
        """The word with one other letter."""
        index = int(self.rng.integers(len(word)))
        letter = self._another(LETTERS, word[index])
        before = word[:index]
        after = word[index + 1 :]
        return before + letter + after

    def misnamed(
        self, item: SceneObject, wrong_category: float, wrong_attribute: float
    ) -> SceneObject:
        """The object, sometimes with another category, and sometimes with another size or colour.

        Both arguments are rates, 0 to 1.
        """
        if self.rng.random() < wrong_category:
            all_categories = categories(self.domain)
            category = self._another(all_categories, item.category)
            item = replace(item, category=category)
        if self.rng.random() >= wrong_attribute:
            return item
        # Signs have no size word, so only their colour can be wrong.
        if item.category != SIGN and self.rng.random() < 0.5:
            size = self._another(self.domain.sizes, item.size)
            return replace(item, size=size)
        all_colours = palette(self.domain)
        colour = self._another(all_colours, item.colour)
        return replace(item, colour=colour)

    def other_object(self, item: SceneObject) -> SceneObject:
        """Another category and colour at the same place; a sign stays as it is."""
        if item.category == SIGN:
            return item
        category = self._another(self.domain.shapes, item.category)
        colour = self._another(self.domain.colours, item.colour)
        return replace(item, category=category, colour=colour)

    def random_object(self) -> SceneObject:
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

    def region(self, item: SceneObject, box: Box, score: tuple[float, float]) -> Region:
        """A region with the names of `item` and a random score; see `score`."""
        return Region(
            box=box,
            phrase=item.category,
            brief=item.brief,
            brief_kind="chunk",
            score=self.score(score),
        )

    def score(self, parameters: tuple[float, float]) -> float:
        """A random score from a beta distribution, rounded to four digits.

        `parameters` are alpha and beta of the distribution.
        """
        score = self.rng.beta(*parameters)
        return round(float(score), 4)

    def _any(self, names: Iterable[str]) -> str:
        """A random one of the names."""
        name = self.rng.choice(list(names))
        return str(name)

    def _another(self, names: Iterable[str], old: str) -> str:
        """A random name other than `old`."""
        return self._any(name for name in names if name != old)
