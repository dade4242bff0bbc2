"""What mistakes do to boxes: moved edges, other sizes, two boxes in one, and boxes of nothing.

Boxes are xyxy in pixels.
"""

from __future__ import annotations

import numpy as np

from pipeline.schema import Box

# Pixels between a box and the edge of the image at which it lies.
EDGE = 6.0


def jittered(
    box: Box,
    size: tuple[int, int],
    jitter: float,
    rng: np.random.Generator,
) -> Box:
    """The box with each edge moved by a random distance, drawn from a normal distribution.

    Args:
        box: xyxy in pixels.
        size: (width, height) of the image in pixels.
        jitter: standard deviation of the distances, as a share of the box's side.
        rng: where the random numbers come from.

    Returns:
        A box inside the image, at least two pixels wide and high.
    """
    left, top, right, bottom = box
    width = right - left
    height = bottom - top
    deviation_x = jitter * width
    deviation_y = jitter * height
    # In this order, which fixes which random number goes where.
    x1 = left + rng.normal(0.0, deviation_x)
    y1 = top + rng.normal(0.0, deviation_y)
    x2 = right + rng.normal(0.0, deviation_x)
    y2 = bottom + rng.normal(0.0, deviation_y)
    left, right = _inside(x1, x2, size[0])
    top, bottom = _inside(y1, y2, size[1])
    return (left, top, right, bottom)


def random_box(size: tuple[int, int], rng: np.random.Generator) -> Box:
    """A box at a random place, each side a seventh to two fifths of the image's side.

    Args:
        size: (width, height) of the image in pixels.
        rng: where the random numbers come from.

    Returns:
        A box inside the image.
    """
    shares = rng.uniform(1 / 7, 2 / 5, 2)
    sides = shares * size
    # The top left corner, such that the whole box lies in the image.
    most = np.array(size) - sides
    corner = rng.uniform(0, most)
    x, y = corner.tolist()
    width, height = sides.tolist()
    return (x, y, x + width, y + height)


def _inside(a: float, b: float, side: int) -> tuple[float, float]:
    """Two edges of a box, put in order and into the image.

    The result lies within 0 to `side`, and its edges are at least two pixels apart.
    """
    low = max(min(a, b), 0.0)
    low = min(low, side - 2.0)
    high = min(max(a, b), float(side))
    high = max(high, low + 2.0)
    return low, high


def joined(a: Box, b: Box) -> Box:
    """The smallest box around two boxes, xyxy in pixels."""
    left = min(a[0], b[0])
    top = min(a[1], b[1])
    right = max(a[2], b[2])
    bottom = max(a[3], b[3])
    return (left, top, right, bottom)


def scaled(box: Box, factor: float, size: tuple[int, int]) -> Box:
    """The box with sides `factor` times as long about the same centre, cut at the image's edges.

    The box is xyxy in pixels, `size` the (width, height) of the image.
    """
    left, top, right, bottom = box
    more_x = (factor - 1) * (right - left) / 2
    more_y = (factor - 1) * (bottom - top) / 2
    left, right = _inside(left - more_x, right + more_x, size[0])
    top, bottom = _inside(top - more_y, bottom + more_y, size[1])
    return (left, top, right, bottom)


def edge_box(size: tuple[int, int], rng: np.random.Generator) -> Box:
    """A box that lies along an edge of the image, a seventh to two fifths of the edge long.

    It reaches a tenth to a fifth of the image's other side into the image.

    Args:
        size: (width, height) of the image in pixels.
        rng: where the random numbers come from.
    """
    width, height = size
    edge = int(rng.integers(4))
    is_upright = edge < 2
    along, across = (height, width) if is_upright else (width, height)
    length = float(rng.uniform(1 / 7, 2 / 5)) * along
    depth = float(rng.uniform(1 / 10, 1 / 5)) * across
    start = float(rng.uniform(0, along - length))
    # Edges 0 and 2 are those at the coordinate 0.
    near = 0.0 if edge % 2 == 0 else across - depth
    if is_upright:
        return (near, start, near + depth, start + length)
    return (start, near, start + length, near + depth)


def at_edge(box: Box, size: tuple[int, int]) -> bool:
    """Whether a box lies at an edge of the image, within `EDGE` pixels.

    The box is xyxy in pixels, `size` the (width, height) of the image.
    """
    left, top, right, bottom = box
    width, height = size
    nearest = min(left, top, width - right, height - bottom)
    return nearest < EDGE
