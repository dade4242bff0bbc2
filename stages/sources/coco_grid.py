"""On which pixels the labels of a COCO file are drawn: those of the files, or upright pictures.

COCO's own tools draw on the pixels of a file. Other tools draw on the picture as viewers turn it by
its EXIF orientation, and most of them state its size so. One tool writes one file, so this is
decided for a whole file: if the sizes of some turned pictures can only be those of upright pictures
and no size says the opposite, all its pictures count as upright, and the other way round.
"""

from __future__ import annotations

from collections.abc import Iterable, Iterator, Sequence
from dataclasses import dataclass, field
from typing import IO, TYPE_CHECKING

from stages.base import SampleError
from stages.errors import StoreSilent
from stages.image_file import FORMATS, open_image, orientation_in_header
from stages.sources.files import Files, ahead
from stages.upright import Picture, upright_by_size

if TYPE_CHECKING:
    from pipeline.schema import Box
    from stages.sources.shapes import Size

# Headers that are read to decide about a COCO file; each may be a request to a store.
MAX_HEADERS = 5000
# TIFF tags of the width and the height in the file. Pillow exchanges them for some orientations.
TIFF_WIDTH, TIFF_HEIGHT = 256, 257
# Pixels that a box may stick out by rounding.
TOLERANCE = 1.0


@dataclass(slots=True)
class Grid:
    """What is known of the grid of a file: what somebody says of it, and its turned pictures."""

    told: bool | None = None
    """Whether the labels are drawn on upright pictures, if somebody says it; else None."""

    upright: int = 0
    """Pictures whose size is that of the upright picture and not that of the file."""

    raw: int = 0
    """Pictures whose size is that of the file and not that of the upright picture."""

    unclear: int = 0
    """Turned pictures with labels whose size fits both."""

    turned: dict[str, Picture] = field(default_factory=dict)
    """The turned pictures by name."""

    @property
    def is_upright(self) -> bool | None:
        """Whether the labels are drawn on upright pictures; None if it is not known."""
        if bool(self.upright) == bool(self.raw):
            return None
        return bool(self.upright)

    def add(self, name: str, declared: Size | None, picture: Picture, has_labels: bool) -> None:
        """Count one picture; `declared` is its size in the COCO file."""
        if picture.orientation == 1:
            return
        self.turned[name] = picture
        upright = upright_by_size(declared, picture)
        if upright is None:
            is_other = declared not in (None, picture.size, picture.upright_size)
            # A picture of another size is told about where its labels are placed.
            self.unclear += has_labels and not is_other
        elif upright:
            self.upright += 1
        else:
            self.raw += 1

    def problem(self, remedy: str) -> str | None:
        """What a user must know about it, in a line; None if all is clear.

        Args:
            remedy: how the user says on which pixels the labels are drawn.
        """
        if self.told is not None:
            return None
        turned = "pictures that viewers turn by their EXIF orientation"
        if self.upright and self.raw:
            return (
                f"of the {turned}, {self.upright} have the size of the upright picture and"
                f" {self.raw} that of the file; each counts by its own size, and {self.unclear}"
                f" whose sizes do not tell as in the file; {remedy}"
            )
        if self.unclear and self.is_upright is None:
            return (
                f"{self.unclear} {turned} have labels, and no size tells whether these were drawn"
                f" on the upright picture; they count as drawn on the pixels of the file; {remedy}"
            )
        return None


def headers(files: Files, names: Sequence[str]) -> Iterator[Picture | None]:
    """How each of some pictures lies in its file, by its header; None if that cannot be read."""

    def read(name: str) -> Picture | None:
        try:
            with files.open(name) as file:
                return header_of(file)
        except (OSError, ValueError, SampleError):
            return None

    if files.local:
        yield from map(read, names)
    else:
        yield from ahead(read, names)


def header_of(file: IO[bytes]) -> Picture | None:
    """How a picture lies in its file, by its header; None if that cannot be read."""
    from PIL.TiffImagePlugin import TiffImageFile

    try:
        with open_image(file, FORMATS) as image:
            orientation = orientation_in_header(image)
            width, height = image.size
            if isinstance(image, TiffImageFile):
                width, height = image.tag_v2[TIFF_WIDTH], image.tag_v2[TIFF_HEIGHT]
    except (MemoryError, StoreSilent):
        raise
    except Exception:
        # Decoders of broken files raise anything. Ingest tells what is wrong with the file.
        return None
    return Picture((width, height), orientation)


def sticks_out(boxes: Iterable[Box], picture: Picture) -> bool:
    """Whether some boxes leave the picture in its file, and all of them fit the upright one.

    `boxes` are xyxy in pixels.
    """
    boxes = list(boxes)
    return not fit(boxes, picture.size) and fit(boxes, picture.upright_size)


def fit(boxes: Iterable[Box], size: Size) -> bool:
    """Whether boxes, xyxy in pixels, lie inside a picture of this (width, height)."""
    width, height = size
    for x1, y1, x2, y2 in boxes:
        if min(x1, y1) < -TOLERANCE or x2 > width + TOLERANCE or y2 > height + TOLERANCE:
            return False
    return True
