"""What people say of samples, whatever program they said it in."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, field
from typing import cast

from pipeline.rows import Record
from pipeline.schema import Box
from stages.geometry import area, clipped_box
from stages.sources.shapes import is_number


@dataclass(frozen=True, slots=True, kw_only=True)
class SaidBox:
    """A box that a person left, moved, or drew."""

    id: str
    """As the tool has it: the label's own id, or one that the tool has made."""
    box: Box
    """xyxy in pixels of the stored image, clipped to it."""
    phrase: str


@dataclass(frozen=True, slots=True, kw_only=True)
class Answer:
    """What a person says of one sample."""

    key: str
    groups: frozenset[str] = frozenset()
    """Groups of labels that are complete now."""
    boxes: list[SaidBox] = field(default_factory=list)
    """All boxes, if `regions` is among the groups."""
    texts: Mapping[str, list[str]] = field(default_factory=dict)
    """All texts of each granularity that is among the groups."""
    verdicts: Mapping[str, bool] = field(default_factory=dict)
    """Whether single labels are right, by their ids."""
    why: str = ""
    """Why the sample was picked; empty if the file does not say it."""
    reviewer: str = ""
    """Who says it; empty if the file does not say it."""


def text_in(value: object, name: str) -> str:
    """A value of a JSON object as text; empty if it is no object, or has no such value."""
    return str(value.get(name, "")) if isinstance(value, Mapping) else ""


def four(values: object, where: str) -> Box:
    """Left, top, width and height of a box.

    Raises:
        ValueError: they are not four numbers.
    """
    if isinstance(values, list) and len(values) == 4 and all(map(is_number, values)):
        return cast(Box, tuple(map(float, values)))
    raise ValueError(f"{where} has no left, top, width and height: {str(values)[:100]}")


def inside(box: Box, record: Record) -> Box:
    """A box clipped to the image.

    Raises:
        ValueError: nothing of it is inside.
    """
    part = clipped_box(box, (record.width, record.height))
    if not area(part):
        raise ValueError(f"{record.key}: the box {box} has no area inside of the image")
    return part
