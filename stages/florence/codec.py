"""Coordinates and labelled places as Florence-2's target strings, and back.

Boxes, quads and polygons are absolute pixels of an image of `size` (width, height). In strings
they are bins 0..999, written `<loc_N>` (Florence-2 paper, section 3, "Task formulation"). The
parsers agree with `Florence2PostProcessor` of `transformers` wherever a string is well formed. They
differ where that class loses information:

- It truncates the centres of bins to whole pixels. We keep the fractions.
- It drops characters outside ASCII, and all places whose label holds a newline. We keep both.
- It drops phrases on its blacklist. Here filters drop them, with a reason.
- If a label is missing, it reads "loc_1>" as the label and shifts the box. We read an empty label.
- It keeps only the first quad of a label. We give each quad the label.
- It puts bins above 999 outside the image. We put them on the last bin.
"""

from __future__ import annotations

import math
import re
from collections.abc import Iterable, Sequence
from dataclasses import dataclass

BINS = 1000
"""Number of bins along each side of an image."""

SEPARATOR = "<sep>"
POLYGON = "<poly>"

Size = tuple[int, int]
"""Width and height of an image, in pixels."""

Points = Sequence[float]
"""Coordinates x, y, x, y ... in absolute pixels."""

_MIN_OUTLINE = 6  # numbers of the smallest outline: three points

_LOCATION = re.compile(r"<loc_(\d+)>")
_LABELLED = re.compile(r"([^<]*)((?:<loc_\d+>)+)")
_OUTLINES = re.compile(r"([^<]*)((?:<loc_\d+>|<sep>|<poly>|</poly>)+)")
_POLYGON_BODY = re.compile(r"<poly>(.*?)</poly>")
_CONTROL = re.compile(r"<s>|</s>|<pad>")


@dataclass(frozen=True, slots=True)
class Place:
    """One box or quad of an answer, with its label."""

    label: str
    """Text before the locations; empty if there is none."""

    points: tuple[float, ...]
    """Coordinates x, y, x, y ... in absolute pixels."""

    spans: tuple[tuple[int, int], ...]
    """Where the answer says it, as (start, end) in characters: the label, then the locations."""


@dataclass(frozen=True, slots=True)
class Instance:
    """One object of an answer that is given by its outlines."""

    label: str
    """Text before the outlines; empty if there is none."""

    polygons: tuple[tuple[float, ...], ...]
    """Outlines of the object; each is x, y, x, y ... in absolute pixels."""


def quantise(points: Points, size: Size) -> list[int]:
    """Convert pixels to bins 0..999 as the released quantiser does: floor, then clamp.

    Bins of x are a thousandth of the width, bins of y a thousandth of the height.
    """
    bins = []
    for i, value in enumerate(points):
        bin_side = size[i % 2] / BINS
        bins.append(min(max(math.floor(value / bin_side), 0), BINS - 1))
    return bins


def dequantise(bins: Iterable[int], size: Size) -> tuple[float, ...]:
    """Convert bins 0..999 to the pixels at their centres."""
    points = []
    for i, number in enumerate(bins):
        bin_side = size[i % 2] / BINS
        points.append((number + 0.5) * bin_side)
    return tuple(points)


def location_tokens(points: Points, size: Size) -> str:
    """Write pixels as location tokens, for example `<loc_10><loc_20>`."""
    return "".join(f"<loc_{number}>" for number in quantise(points, size))


def clean_label(label: str) -> str:
    """Remove `<`, so that no part of a label can be read as a special token."""
    return label.replace("<", "").strip()


def truncate_target(ids: Sequence[int], longest: int, group: int, first: int) -> list[int]:
    """Shorten a target to `longest` tokens without cutting a place in half.

    The end token is kept and counted. `group` is the number of locations that make one place, and
    `first` is the id of `<loc_0>`. A label is kept only together with a place after it.
    """
    if len(ids) <= longest:
        return list(ids)
    kept = list(ids[: longest - 1])
    shortest = group if group > 2 else _MIN_OUTLINE
    while len(kept) > 1:
        run = _trailing_locations(kept, first)
        if run >= shortest and run % group == 0:
            break
        kept.pop()
    return [*kept, ids[-1]]


def _trailing_locations(ids: Sequence[int], first: int) -> int:
    """Count the location tokens at the end of `ids`."""
    count = 0
    for token in reversed(ids):
        if not first <= token < first + BINS:
            break
        count += 1
    return count


def strip_control(text: str) -> str:
    """Remove the start, end and padding tokens."""
    return _CONTROL.sub("", text)


def places(text: str, size: Size, group: int) -> list[Place]:
    """Read every whole group of `group` locations (4: a box, 8: a quad), with the label before it.

    Several groups may follow one label and share it. Locations that fill no group are ignored.
    """
    found = []
    for match in _LABELLED.finditer(text):
        label = match[1].strip()
        tokens = list(_LOCATION.finditer(text, match.start(2), match.end(2)))
        for i in range(0, len(tokens) - group + 1, group):
            members = tokens[i : i + group]
            points = dequantise([_bin(token[1]) for token in members], size)
            spans = (match.span(1), (members[0].start(), members[-1].end()))
            found.append(Place(label, points, spans))
    return found


def outlines(text: str, size: Size) -> list[Instance]:
    """Read the instances of a polygon answer.

    Each `<poly>...</poly>` is an instance; without such marks the whole run of locations is one.
    `<sep>` separates the outlines of an instance. An odd last coordinate is ignored.
    """
    found = []
    for match in _OUTLINES.finditer(text):
        bodies = [match[2]]
        if POLYGON in match[2]:
            bodies = _POLYGON_BODY.findall(match[2])
        for body in bodies:
            polygons = [_polygon(part, size) for part in body.split(SEPARATOR)]
            polygons = [polygon for polygon in polygons if polygon]
            if polygons:
                found.append(Instance(match[1].strip(), tuple(polygons)))
    return found


def _polygon(text: str, size: Size) -> tuple[float, ...]:
    """Read one outline: x, y, x, y ... in pixels."""
    bins = [_bin(digits) for digits in _LOCATION.findall(text)]
    even = len(bins) // 2 * 2
    return dequantise(bins[:even], size)


def _bin(digits: str) -> int:
    """Read the number of a location token; bins above 999 become the last one."""
    return min(int(digits), BINS - 1)
