"""Answers of a model as annotations: regions, words and grounded phrases with how surely it said them."""

from __future__ import annotations

import math
import re
from collections.abc import Iterator, Sequence
from dataclasses import replace
from itertools import groupby
from typing import Any

from pipeline.schema import Box, Candidate, Quad, Region, Text, TextRegion, Triplet
from stages.florence import codec
from stages.florence.inference import Reading
from stages.florence.tasks import Pair
from stages.geometry import area, iou


def label_support(pair: Pair, reading: Reading) -> dict[str, float]:
    """The mean belief in every annotation's own tokens of a forced target; one that was cut off has none."""
    return {
        identity: reading.mean(spans)
        for identity, spans in pair.labels.items()
        if all(end <= len(reading.text) for _, end in spans)
    }


def regions(
    detected: Reading | None, dense: Reading | None, size: codec.Size, same_place: float
) -> list[Region]:
    """Detected boxes, each with the description of the dense caption that lies on it, and the described boxes on which
    no detected one lies: they have no category (an empty phrase) yet."""
    described = list(_told(dense, size))
    found = []
    for place, score in _told(detected, size):
        box = _box(place)
        near = max((d for d, _ in described), key=lambda d: iou(_box(d), box), default=None)
        brief = near.label if near is not None and iou(_box(near), box) >= same_place else ""
        found.append(named(Region(box=box, phrase=place.label, score=score), place.label, brief))
    for place, score in described:
        if all(iou(_box(place), region.box) < same_place for region in found):
            found.append(
                Region(
                    box=_box(place), phrase="", brief=place.label, brief_kind="caption", score=score
                )
            )
    return found


def _told(reading: Reading | None, size: codec.Size) -> Iterator[tuple[codec.Found, float]]:
    """The labelled boxes of an answer and how surely they were said; a model that has learned little says many without
    any area."""
    for place in codec.places(reading.text, size, 4) if reading else ():
        assert reading is not None
        if place.label and area(_box(place)) > 0:
            yield place, math.exp(reading.mean(place.spans))


def named(region: Region, phrase: str, brief: str) -> Region:
    """The region under another name; without a description the category is its brief text."""
    candidates = [Candidate(text=phrase, kind="phrase")]
    if brief and brief != phrase:
        candidates.append(Candidate(text=brief, kind="caption"))
    return replace(
        region,
        phrase=phrase,
        brief=brief or phrase,
        brief_kind=candidates[-1].kind,
        candidates=candidates,
    )


def label(reading: Reading | None, size: codec.Size, otherwise: str) -> tuple[str, float]:
    """What a region is called and the mean belief in those words; `otherwise`, surely, when it was not asked."""
    if reading is None:
        return otherwise, 0.0
    for place in codec.places(reading.text, size, 4):
        return place.label, reading.mean(place.spans[:1])
    return "", -math.inf


def words(reading: Reading, size: codec.Size) -> list[TextRegion]:
    return [
        TextRegion(
            quad=_quad(place),
            text=place.label,
            score=math.exp(reading.mean(place.spans)),
            support=reading.mean(place.spans[:1]),
        )
        for place in codec.places(reading.text, size, 8)
        if place.label
    ]


def triplets(text: Text, reading: Reading, size: codec.Size) -> list[Triplet]:
    """The grounded phrases that stand in the text, each with its boxes."""
    return [
        Triplet(
            text_id=text.id,
            phrase=text.text[start:end],
            start=start,
            end=end,
            box=_box(place),
            score=math.exp(reading.mean(place.spans[1:])),
            phrase_score=math.exp(reading.mean(place.spans[:1])),
            support=reading.mean(place.spans),
        )
        for start, end, place in find_phrases(text, codec.places(reading.text, size, 4))
        if area(_box(place)) > 0
    ]


def find_phrases(text: Text, found: Sequence[codec.Found]) -> list[tuple[int, int, codec.Found]]:
    """Where each grounded phrase stands in its text, from left to right; a phrase that is not there goes.

    A phrase written again means its next occurrence, or the last one when there is none. Only whole words count, and a
    box that is said again of the same phrase does not.
    """
    placed: dict[Any, tuple[int, int, codec.Found]] = {}
    offset = 0
    for (label, _), group in groupby(found, key=lambda place: (place.label, place.spans[0])):
        starts = (
            [m.start() for m in re.finditer(rf"(?<!\w){re.escape(label)}(?!\w)", text.text)]
            if label
            else []
        )
        if not starts:
            continue
        start = next((start for start in starts if start >= offset), starts[-1])
        offset = max(offset, start + len(label))
        for place in group:
            placed.setdefault((start, place.points), (start, start + len(label), place))
    return list(placed.values())


def _box(place: codec.Found) -> Box:
    x1, y1, x2, y2 = place.points
    return (x1, y1, x2, y2)


def _quad(place: codec.Found) -> Quad:
    x1, y1, x2, y2, x3, y3, x4, y4 = place.points
    return (x1, y1, x2, y2, x3, y3, x4, y4)
