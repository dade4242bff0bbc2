"""What a user must know about COCO files before they are used, as messages of one line each."""

from __future__ import annotations

import difflib
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from typing import TYPE_CHECKING

from stages.sources.coco_grid import Grid, sticks_out
from stages.sources.coco_names import base_name
from stages.sources.shapes import outline_of
from stages.upright import drawn_upright

if TYPE_CHECKING:
    from stages.sources.coco_file import CocoEntries
    from stages.sources.coco_labels import SourceImage
    from stages.sources.coco_names import Matches

REMEDY = "say it with source.upright=true or false"
# Files among which the one with the nearest name is looked for.
MAX_NEAREST = 10_000


@dataclass(slots=True)
class Checks:
    """Messages about the files of a source."""

    messages: list[str] = field(default_factory=list)

    def entries(self, where: str, entries: CocoEntries) -> None:
        """Tell of entries without an image, and of ids that come twice."""
        if entries.without_image:
            self.messages.append(
                f"{where}: {entries.without_image} annotations of images that it does not list are"
                " left out"
            )
        if entries.repeated_ids:
            self.messages.append(
                f"{where}: {entries.repeated_ids} annotations have the id of an earlier one; they"
                " are kept and get other ids"
            )

    def outlines(self, where: str, images: Mapping[str, SourceImage]) -> None:
        """Tell how many outlines are left out, as a whole or in part."""
        damaged = []
        for image in images.values():
            for entry in image.instances:
                if outline_of(entry.get("segmentation"), image.size).is_damaged:
                    damaged.append(entry.get("id"))
        if damaged:
            self.messages.append(
                f"{where}: {len(damaged)} annotations have outlines that make no sense (the first"
                f" has the id {str(damaged[0])[:40]}); these are left out, and the boxes are kept"
            )

    def names(self, where: str, names: Mapping[str, SourceImage], matches: Matches) -> None:
        """Tell of images without a file, and of files that were found by their base names."""
        missing = [name for name in names if name not in matches.found]
        ambiguous = matches.ambiguous
        if missing:
            first = missing[0]
            problem = f"{where}: {len(missing)} of the {len(names)} images that the COCO file lists"
            if first in ambiguous:
                nearest = f"{first} may be {' or '.join(ambiguous[first])}"
            else:
                nearest = f"{first}{_nearest(first, matches.there)}"
            self.messages.append(f"{problem} are not there: {nearest}")
        if matches.by_base:
            name, place = next(iter(matches.by_base.items()))
            self.messages.append(
                f"{where}: {len(matches.by_base)} images were found by their names without folders:"
                f" {name} as {place}"
            )

    def grid(self, where: str, grid: Grid) -> None:
        """Tell if it is not clear on which pixels the labels are drawn."""
        problem = grid.problem(REMEDY)
        if problem:
            self.messages.append(f"{where}: {problem}")

    def boxes(self, where: str, grid: Grid, images: Mapping[str, SourceImage]) -> None:
        """Tell of boxes that stick out of the picture in its file, but not of the upright one."""
        out = []
        for name, picture in grid.turned.items():
            image = images[name]
            upright = drawn_upright(image.drawn_size(), picture, grid.told, grid.is_upright)
            if not upright and sticks_out(image.boxes(), picture):
                out.append(name)
        if out:
            self.messages.append(
                f"{where}: boxes of {len(out)} pictures stick out of the picture in the file and"
                f" fit the upright picture ({out[0]} first); if they were drawn on upright"
                " pictures, set source.upright=true"
            )


def _nearest(name: str, there: Sequence[str]) -> str:
    """The nearest name that exists, as the end of a message."""
    by_base = {base_name(other).casefold(): other for other in there[:MAX_NEAREST]}
    found = difflib.get_close_matches(base_name(name).casefold(), by_base, n=1)
    return f" (the nearest name is {by_base[found[0]]})" if found else ""
