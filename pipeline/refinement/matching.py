"""When two annotations are of the same thing, and when they say the same of it: by kind."""

from __future__ import annotations

from collections import Counter
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from typing import Any

import numpy as np

from pipeline.quality.wording import bare_phrase, letters, normalise
from pipeline.schema import Region, Text, Triplet
from stages.geometry import box_iou, quad_iou


@dataclass(frozen=True, slots=True)
class Kind:
    """How much annotations of a kind overlap (IoU; triplets: of one text and span only; texts: `_text_overlap`), what
    they say, and the field that holds their place."""

    overlap: Callable[[Sequence[Any], Sequence[Any]], np.ndarray]
    label: Callable[[Any], Any]
    place: str | None = "box"
    given: bool = False  # the label is part of the question, so that only the place is an answer


def _region_label(region: Region) -> tuple[str, str]:
    return normalise(region.phrase), bare_phrase(region.brief or region.phrase)


def shared_words(a: Any, b: Any) -> float:
    """The share of words (a multiset) that two labels have in common (Dice)."""
    first, second = (
        Counter((label if isinstance(label, str) else " ".join(label)).split()) for label in (a, b)
    )
    return 2 * (first & second).total() / max(first.total() + second.total(), 1)


def _text_overlap(a: Sequence[Text], b: Sequence[Text]) -> np.ndarray:
    """Of one granularity 1, and the share of their words above it: of several captions the most alike are the same
    one. Elsewhere 0."""
    alike = [
        [
            1 + shared_words(normalise(x.text), normalise(y.text))
            if x.granularity == y.granularity
            else 0.0
            for y in b
        ]
        for x in a
    ]
    return np.array(alike, float).reshape(len(a), len(b))


def turned(quad: Sequence[float], like: Sequence[float]) -> tuple[float, ...]:
    """The quad beginning at the corner from which its points lie nearest those of `like`."""
    turns = [tuple([*quad[i:], *quad[:i]]) for i in (0, 2, 4, 6)]
    return min(turns, key=lambda turn: sum((a - b) ** 2 for a, b in zip(turn, like, strict=True)))


def _boxes(a: Sequence[Any], b: Sequence[Any]) -> np.ndarray:
    return box_iou([x.box for x in a], [x.box for x in b])


def _quads(a: Sequence[Any], b: Sequence[Any]) -> np.ndarray:
    return quad_iou([x.quad for x in a], [x.quad for x in b])


def _grounded(a: Sequence[Triplet], b: Sequence[Triplet]) -> np.ndarray:
    """Box overlap of triplets of the same text and span, elsewhere 0."""
    same = [[(x.text_id, x.start, x.end) == (y.text_id, y.start, y.end) for y in b] for x in a]
    return _boxes(a, b) * np.array(same, float).reshape(len(a), len(b))


MATCHING = {
    "texts": Kind(_text_overlap, lambda a: normalise(a.text), place=None),
    "regions": Kind(_boxes, _region_label),
    "text_regions": Kind(_quads, lambda a: letters(a.text) or a.text, place="quad"),
    "triplets": Kind(_grounded, lambda a: bare_phrase(a.phrase), given=True),
}
