"""Coordinates and labelled places as Florence-2's target strings, and back (spec 4.2-4.4, 6.3, 6.4).

Boxes, quads and polygons are absolute pixels of an image of `size` (width, height); in strings they are bins
0..999 written `<loc_N>`. Parsers agree with `transformers`' `Florence2PostProcessor` wherever a string is well formed,
except for what it loses:

- fractions of a pixel: it truncates the centres of bins to integers;
- characters outside ASCII in labels, and all places of a label that holds a newline;
- phrases on its blacklist (here filters drop those, with a reason);
- locations without a label where one should be: it reads "loc_1>" as the label and shifts the box, we read an empty
  label;
- all but the first quad of a label: we give each the label;
- bins above 999, which it places outside the image and we on the last bin.
"""

from __future__ import annotations

import math
import re
from collections.abc import Iterable, Sequence
from dataclasses import dataclass

from pipeline.schema import Box
from stages.geometry import area

BINS = 1000
SEPARATOR = "<sep>"
POLYGON, POLYGON_END = "<poly>", "</poly>"

Size = tuple[int, int]  # (width, height)
Points = Sequence[float]  # x, y, x, y ...

_LOCATION = re.compile(r"<loc_(\d+)>")
_LABELLED = re.compile(r"([^<]*)((?:<loc_\d+>)+)")
_OUTLINES = re.compile(r"([^<]*)((?:<loc_\d+>|<sep>|<poly>|</poly>)+)")
_CONTROL = re.compile(r"<s>|</s>|<pad>")


@dataclass(frozen=True, slots=True)
class Found:
    """One place in an answer. `spans` are the character spans of the answer that say it: its label, its
    locations."""

    label: str
    points: tuple[float, ...]
    spans: tuple[tuple[int, int], ...]


@dataclass(frozen=True, slots=True)
class Outlined:
    """One instance given by outlines; each polygon is x, y, x, y ..."""

    label: str
    polygons: tuple[tuple[float, ...], ...]


def quantise(points: Points, size: Size) -> list[int]:
    """The released quantiser: floor, then clamp to 0..999; x by the width, y by the height."""
    steps = (size[0] / BINS, size[1] / BINS)
    return [min(max(math.floor(v / steps[i % 2]), 0), BINS - 1) for i, v in enumerate(points)]


def dequantise(bins: Iterable[int], size: Size) -> tuple[float, ...]:
    """The centres of the bins."""
    steps = (size[0] / BINS, size[1] / BINS)
    return tuple((b + 0.5) * steps[i % 2] for i, b in enumerate(bins))


def locations(points: Points, size: Size) -> str:
    return "".join(f"<loc_{b}>" for b in quantise(points, size))


def by_area(boxes: Iterable[Box]) -> list[Box]:
    """Largest first, the order of boxes in targets; equal areas from the top left."""
    return sorted(boxes, key=lambda b: (-area(b), b[1], b[0]))


def clean(label: str) -> str:
    """A label that cannot be mistaken for a location: the target's only reserved character is `<`."""
    return label.replace("<", "").strip()


def whole(ids: Sequence[int], longest: int, group: int, first: int) -> list[int]:
    """At most `longest` ids of a target, its end token included, without a place that is cut in half: locations (ids
    from `first` on) come in groups of `group`, and a label stays only with a place behind it."""
    if len(ids) <= longest:
        return list(ids)
    kept, last = list(ids[: longest - 1]), ids[-1]
    least = group if group > 2 else 6  # an outline has three points
    while len(kept) > 1:
        run = next(
            (i for i, id_ in enumerate(reversed(kept)) if not first <= id_ < first + BINS),
            len(kept),
        )
        if run >= least and run % group == 0:
            break
        kept.pop()
    return [*kept, last]


def strip_control(text: str) -> str:
    return _CONTROL.sub("", text)


def places(text: str, size: Size, numbers: int) -> list[Found]:
    """Every whole group of `numbers` locations (4 a box, 8 a quad) with the label before its run; leftovers
    go."""
    found = []
    for match in _LABELLED.finditer(text):
        label, (start, end) = match[1].strip(), match.span(1)
        runs = list(_LOCATION.finditer(text, match.start(2), match.end(2)))
        for i in range(0, len(runs) - numbers + 1, numbers):
            group = runs[i : i + numbers]
            bins = [min(int(m[1]), BINS - 1) for m in group]
            spans = ((start, end), (group[0].start(), group[-1].end()))
            found.append(Found(label, dequantise(bins, size), spans))
    return found


def outlines(text: str, size: Size) -> list[Outlined]:
    """Instances from polygon answers: `<poly>...</poly>` each, or the whole run; `<sep>` parts outlines; an
    odd last coordinate goes."""
    found = []
    for match in _OUTLINES.finditer(text):
        bodies = re.findall(r"<poly>(.*?)</poly>", match[2]) if POLYGON in match[2] else [match[2]]
        for body in bodies:
            polygons = [_polygon(part, size) for part in body.split(SEPARATOR)]
            if any(polygons):
                found.append(Outlined(match[1].strip(), tuple(p for p in polygons if p)))
    return found


def _polygon(text: str, size: Size) -> tuple[float, ...]:
    bins = [min(int(n), BINS - 1) for n in _LOCATION.findall(text)]
    return dequantise(bins[: len(bins) // 2 * 2], size)
