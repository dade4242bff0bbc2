"""Turns annotations with their picture: what an EXIF orientation does to boxes, quads and masks.

`drawn_upright` says whether annotations were drawn on the upright picture or on that in the file.

Points lie on the edges of pixels, 0 to width and 0 to height. Orientations are those of the EXIF
standard: 1 leaves a picture as it is, 2 mirrors it, 3 turns it by 180 degrees, 4 mirrors it upside
down; 5 to 8 exchange width and height. Sizes are (width, height) in pixels.
"""

from __future__ import annotations

from dataclasses import dataclass, replace
from typing import TypeVar

from pipeline.schema import Annotation, Annotations, Box, Mask, Polygon, Quad, Region, Triplet
from stages.geometry import decode_mask, encode_mask

SIZE_MISMATCH = "size_mismatch"

Size = tuple[int, int]
Point = tuple[float, float]
Boxed = TypeVar("Boxed", Region, Triplet)
Kind = TypeVar("Kind", bound=Annotation)


@dataclass(frozen=True, slots=True)
class Picture:
    """How a picture lies in its file."""

    size: Size
    """(width, height) in the file, in pixels."""

    orientation: int
    """The EXIF orientation, 1 to 8."""

    @classmethod
    def of_upright(cls, size: Size, orientation: int) -> Picture:
        """That of which the upright picture has this (width, height)."""
        return cls(_exchanged(size, orientation), orientation)

    @property
    def upright_size(self) -> Size:
        """(width, height) of the upright picture, in pixels."""
        return _exchanged(self.size, self.orientation)


def _exchanged(size: Size, orientation: int) -> Size:
    """The size on the other side of an orientation: from 5 on, width and height change places."""
    return size[::-1] if orientation >= 5 else size


def upright_by_size(declared: Size | None, picture: Picture) -> bool | None:
    """Whether the size declared with annotations is that of the upright picture alone.

    None if it does not tell: there is none, or it fits both pictures or neither.
    """
    if declared is None or picture.size == picture.upright_size:
        return None
    if declared == picture.upright_size:
        return True
    return False if declared == picture.size else None


def drawn_upright(
    declared: Size | None, picture: Picture, told: bool | None, otherwise: bool | None
) -> bool:
    """Whether annotations were drawn on the upright picture, not on the pixels of the file.

    Args:
        declared: (width, height) that came with the annotations; None if none did.
        picture: how the picture lies in its file.
        told: what the user says; None if nothing.
        otherwise: what counts if neither the user nor the size tells; None as False.
    """
    if told is not None:
        return told
    by_size = upright_by_size(declared, picture)
    return bool(otherwise) if by_size is None else by_size


def turned_back(annotations: Annotations, picture: Picture) -> Annotations:
    """Annotations of the upright picture, moved to the picture as it lies in its file."""
    # Orientations 6 and 8 undo each other; each of the others undoes itself.
    back = {6: 8, 8: 6}.get(picture.orientation, picture.orientation)
    return turned(annotations, back, picture.upright_size)


def turned(annotations: Annotations, orientation: int, size: Size) -> Annotations:
    """Annotations of a picture as it lies in its file, moved to the upright picture.

    Args:
        annotations: what was drawn on the picture in its file.
        orientation: the EXIF orientation, 1 to 8.
        size: (width, height) of the picture in its file, in pixels.
    """
    if orientation == 1:
        return annotations
    text_regions = []
    for text_region in annotations.text_regions:
        quad = turned_quad(text_region.quad, orientation, size)
        text_regions.append(replace(text_region, quad=quad))
    return Annotations(
        texts=annotations.texts,
        regions=_turned_boxed(annotations.regions, orientation, size),
        text_regions=text_regions,
        triplets=_turned_boxed(annotations.triplets, orientation, size),
    )


def _turned_boxed(items: list[Boxed], orientation: int, size: Size) -> list[Boxed]:
    """Annotations with a box and perhaps a mask."""
    result = []
    for item in items:
        box = turned_box(item.box, orientation, size)
        mask = turned_mask(item.mask, orientation, size)
        result.append(replace(item, box=box, mask=mask))
    return result


def fitted(annotations: Annotations, declared: Size, size: Size) -> Annotations:
    """The annotations, if they were drawn on a picture of the right size.

    If the size `declared` with them is not `size`, everything that has a place comes back dropped.
    """
    if declared == size:
        return annotations
    return Annotations(
        texts=annotations.texts,
        regions=_mismatched(annotations.regions),
        text_regions=_mismatched(annotations.text_regions),
        triplets=_mismatched(annotations.triplets),
    )


def _mismatched(items: list[Kind]) -> list[Kind]:
    """The items, all of them dropped; an item that was dropped before keeps its reason."""
    result = []
    for item in items:
        reason = item.dropped or SIZE_MISMATCH
        result.append(replace(item, dropped=reason))
    return result


def turned_point(point: Point, orientation: int, size: Size) -> Point:
    """A point of a picture in its file, in the upright picture.

    Args:
        point: x and y in pixels.
        orientation: the EXIF orientation, 2 to 8.
        size: (width, height) of the picture in its file, in pixels.
    """
    width, height = size
    x, y = point
    if orientation == 2:
        return width - x, y
    if orientation == 3:
        return width - x, height - y
    if orientation == 4:
        return x, height - y
    if orientation == 5:
        return y, x
    if orientation == 6:
        return height - y, x
    if orientation == 7:
        return height - y, width - x
    assert orientation == 8, orientation
    return y, width - x


def turned_box(box: Box, orientation: int, size: Size) -> Box:
    """A box, xyxy in pixels, in the upright picture."""
    x1, y1 = turned_point(box[:2], orientation, size)
    x2, y2 = turned_point(box[2:], orientation, size)
    left = min(x1, x2)
    top = min(y1, y2)
    right = max(x1, x2)
    bottom = max(y1, y2)
    return left, top, right, bottom


def turned_quad(quad: Quad, orientation: int, size: Size) -> Quad:
    """A quad in the upright picture, still clockwise from the top left."""
    points = []
    xs = quad[::2]
    ys = quad[1::2]
    for corner in zip(xs, ys, strict=True):
        points.append(turned_point(corner, orientation, size))
    if orientation in (2, 4, 5, 7):
        # These orientations mirror, so that the corners run the other way round.
        points.reverse()
    # The top left corner is the one with the smallest sum of x and y; it comes first.
    sums = [x + y for x, y in points]
    first = sums.index(min(sums))
    ordered = points[first:] + points[:first]
    (x1, y1), (x2, y2), (x3, y3), (x4, y4) = ordered
    return x1, y1, x2, y2, x3, y3, x4, y4


def turned_mask(mask: Mask | None, orientation: int, size: Size) -> Mask | None:
    """A mask in the upright picture.

    A mask of another size comes back as it is, because `fitted` has dropped its annotation.
    """
    if mask is None or mask.size != size[::-1]:
        return mask
    pixels = decode_mask(mask)
    if orientation >= 5:
        pixels = pixels.T
    if orientation in (3, 4, 7, 8):
        pixels = pixels[::-1]
    if orientation in (2, 3, 6, 7):
        pixels = pixels[:, ::-1]
    return replace(encode_mask(pixels), polygons=_turned_polygons(mask, orientation, size))


def _turned_polygons(mask: Mask, orientation: int, size: Size) -> tuple[Polygon, ...] | None:
    """The polygons of a mask in the upright picture, None if it has none."""
    if mask.polygons is None:
        return None
    result = []
    for polygon in mask.polygons:
        turned_values: list[float] = []
        for point in zip(polygon[::2], polygon[1::2], strict=True):
            turned_values += turned_point(point, orientation, size)
        result.append(tuple(turned_values))
    return tuple(result)
