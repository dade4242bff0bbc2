"""The JSON export of Label Studio: the newest annotation of a task, and its rectangles.

The source `labelstudio` and `fld review import` read it with this. Positions are percentages of the
picture. Source of the format: https://labelstud.io/guide/export.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass

from pipeline.schema import Box
from stages.sources.shapes import is_number

SIDES = ("x", "y", "width", "height")
"""The fields of a rectangle."""
PERCENT = 100

Json = Mapping[str, object]


@dataclass(frozen=True, slots=True)
class Rectangle:
    """A rectangle as it stands in the file."""

    id: str
    names: Sequence[str]
    """Its classes; one, if nothing is wrong."""
    sides: Sequence[object]
    """Its values of `SIDES`: percentages of the picture's width and height, if nothing is wrong."""
    is_turned: bool
    """Whether it, or the picture under it, was turned while it was drawn."""

    def box(self, size: tuple[int, int]) -> Box | None:
        """The box, xyxy in pixels on a picture of (width, height); None if a side is no number."""
        numbers = [float(side) for side in self.sides if is_number(side)]
        if len(numbers) < len(SIDES):
            return None
        x, y, width, height = numbers
        across = size[0] / PERCENT
        down = size[1] / PERCENT
        return x * across, y * down, (x + width) * across, (y + height) * down


def newest(annotations: object) -> Json | None:
    """The annotation that was changed last, of those that are not cancelled; None if none is."""
    found = None
    latest = ""
    for annotation in objects(annotations):
        if annotation.get("was_cancelled"):
            continue
        changed = str(annotation.get("updated_at") or "")
        if found is None or changed >= latest:
            found, latest = annotation, changed
    return found


def rectangle(result: Json) -> Rectangle:
    """A result of the type `rectanglelabels`."""
    value = result.get("value")
    value = value if isinstance(value, Mapping) else {}
    names = value.get("rectanglelabels")
    return Rectangle(
        id=str(result.get("id") or ""),
        names=[str(name) for name in names] if isinstance(names, list) else [],
        sides=[value.get(side) for side in SIDES],
        is_turned=bool(value.get("rotation") or result.get("image_rotation")),
    )


def objects(value: object) -> list[Json]:
    """Those of a list that are objects of JSON; none if it is no list."""
    if not isinstance(value, list):
        return []
    return [entry for entry in value if isinstance(entry, Mapping)]
