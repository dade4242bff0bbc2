"""Annotations turned with their picture: what an EXIF orientation does to boxes, quads and masks.

Points lie on pixel edges, 0..width and 0..height. Orientations are those of EXIF, 1 to 8.
"""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import replace

import numpy as np

from pipeline.schema import Annotation, Annotations, Box, Mask, Quad, Text

SIZE_MISMATCH = "size_mismatch"

Size = tuple[int, int]  # width, height
Point = tuple[float, float]


def turned(annotations: Annotations, orientation: int, size: Size) -> Annotations:
    """Annotations of a picture of `size` as it lies in its file, on the upright picture."""
    if orientation == 1:
        return annotations
    return Annotations(
        texts=annotations.texts,
        regions=[
            replace(
                r,
                box=turned_box(r.box, orientation, size),
                mask=turned_mask(r.mask, orientation, size),
            )
            for r in annotations.regions
        ],
        text_regions=[
            replace(t, quad=turned_quad(t.quad, orientation, size))
            for t in annotations.text_regions
        ],
        triplets=[
            replace(
                t,
                box=turned_box(t.box, orientation, size),
                mask=turned_mask(t.mask, orientation, size),
            )
            for t in annotations.triplets
        ],
    )


def fitted(annotations: Annotations, declared: Size, size: Size) -> Annotations:
    """The annotations, or, when they were drawn on a picture of another size, the same with the places dropped."""
    if declared == size:
        return annotations

    def without(a: Annotation) -> Annotation:
        return a if isinstance(a, Text) else replace(a, dropped=a.dropped or SIZE_MISMATCH)

    kinds: list[list] = [
        [without(a) for a in kind]
        for kind in (
            annotations.texts,
            annotations.regions,
            annotations.text_regions,
            annotations.triplets,
        )
    ]
    return Annotations(*kinds)


def turned_point(point: Point, orientation: int, size: Size) -> Point:
    width, height = size
    x, y = point
    moves: dict[int, Callable[[], Point]] = {
        2: lambda: (width - x, y),
        3: lambda: (width - x, height - y),
        4: lambda: (x, height - y),
        5: lambda: (y, x),
        6: lambda: (height - y, x),
        7: lambda: (height - y, width - x),
        8: lambda: (y, width - x),
    }
    return moves[orientation]()


def turned_box(box: Box, orientation: int, size: Size) -> Box:
    corners = (turned_point(corner, orientation, size) for corner in (box[:2], box[2:]))
    (x1, x2), (y1, y2) = (sorted(values) for values in zip(*corners, strict=True))
    return x1, y1, x2, y2


def turned_quad(quad: Quad, orientation: int, size: Size) -> Quad:
    """Still clockwise from the top left."""
    points = [
        turned_point((x, y), orientation, size) for x, y in zip(quad[::2], quad[1::2], strict=True)
    ]
    if orientation in (2, 4, 5, 7):  # a mirror turns the other way round
        points.reverse()
    first = min(range(4), key=lambda i: sum(points[i]))
    (a, b), (c, d), (e, f), (g, h) = points[first:] + points[:first]
    return a, b, c, d, e, f, g, h


def turned_mask(mask: Mask | None, orientation: int, size: Size) -> Mask | None:
    """A mask of another size stays as it is: `fitted` has dropped it."""
    from pycocotools import mask as rle

    if mask is None or mask.size != size[::-1]:
        return mask
    pixels = rle.decode({"size": list(mask.size), "counts": mask.counts.encode()})
    if orientation >= 5:
        pixels = pixels.T
    if orientation in (3, 4, 7, 8):
        pixels = pixels[::-1]
    if orientation in (2, 3, 6, 7):
        pixels = pixels[:, ::-1]
    encoded = rle.encode(np.asfortranarray(pixels))
    return Mask(size=(pixels.shape[0], pixels.shape[1]), counts=encoded["counts"].decode())
