"""The drawings of the two scene domains.

A shape is a tuple of closed outlines around the origin, within a circle of radius about 1, with y
pointing down. Where two outlines overlap there is a hole (even-odd rule).
"""

from __future__ import annotations

from math import cos, pi, sin

Outline = tuple[tuple[float, float], ...]
Shape = tuple[Outline, ...]


def _arc(radius: float, start: float, end: float, steps: int, stretch: float = 1.0) -> Outline:
    """Points of an arc between two angles, in degrees clockwise from the right.

    The points are stretched along y.
    """
    points = []
    for step in range(steps + 1):
        angle = (start + (end - start) * step / steps) * pi / 180
        points.append((radius * cos(angle), stretch * radius * sin(angle)))
    return tuple(points)


def _polygon(corners: int, radius: float = 1.0, start: float = -90.0) -> Outline:
    """A regular polygon whose first corner is at the angle `start`."""
    return _arc(radius, start, start + 360, corners)[:-1]


def _spikes(points: int, inner_radius: float) -> Outline:
    """A star: corners at radius 1 and at `inner_radius` in turn."""
    outer = _polygon(points)
    inner = _polygon(points, inner_radius, -90 + 180 / points)
    outline = []
    for tip, notch in zip(outer, inner, strict=True):
        outline += [tip, notch]
    return tuple(outline)


def _heart() -> Outline:
    """The well-known heart curve of sines and cosines."""
    points = []
    for step in range(48):
        angle = 2 * pi * step / 48
        x = sin(angle) ** 3
        height = 13 * cos(angle) - 5 * cos(2 * angle)
        height = height - 2 * cos(3 * angle) - cos(4 * angle)
        points.append((x, -height / 16.5))
    return tuple(points)


def _moon() -> Outline:
    """A crescent: the left part of a circle, and back along a smaller, shifted arc."""
    inner = [(x + 0.5, 0.82 * y) for x, y in _arc(0.98, 270, 90, 24)]
    return (*_arc(1.0, 60, 300, 32), *inner)


_PLUS: Outline = (
    (-0.34, -1),
    (0.34, -1),
    (0.34, -0.34),
    (1, -0.34),
    (1, 0.34),
    (0.34, 0.34),
    (0.34, 1),
    (-0.34, 1),
    (-0.34, 0.34),
    (-1, 0.34),
    (-1, -0.34),
    (-0.34, -0.34),
)
_HOUSE: Outline = (
    (0, -1),
    (0.9, -0.2),
    (0.65, -0.2),
    (0.65, 0.85),
    (-0.65, 0.85),
    (-0.65, -0.2),
    (-0.9, -0.2),
)
_BRIDGE: Outline = (
    (-1, 0.6),
    (-1, -0.6),
    (1, -0.6),
    (1, 0.6),
    (0.5, 0.6),
    (0.5, 0),
    (-0.5, 0),
    (-0.5, 0.6),
)
_ARROW: Outline = (
    (-1, -0.3),
    (0.1, -0.3),
    (0.1, -0.8),
    (1, 0),
    (0.1, 0.8),
    (0.1, 0.3),
    (-1, 0.3),
)
_BOLT: Outline = (
    (0.25, -1),
    (-0.6, 0.15),
    (-0.05, 0.15),
    (-0.3, 1),
    (0.6, -0.2),
    (0.05, -0.2),
)
_BLOCK: Outline = ((-0.85, -0.85), (0.85, -0.85), (0.85, 0.85), (-0.85, 0.85))
_KITE: Outline = ((0, -1), (0.6, -0.25), (0, 1), (-0.6, -0.25))
_FLAG: Outline = ((-0.7, -1), (0.9, -0.55), (-0.4, -0.1), (-0.4, 1), (-0.7, 1))

DEMO_SHAPES: dict[str, Shape] = {
    "circle": (_polygon(48),),
    "block": (_BLOCK,),
    "triangle": (_polygon(3, 1.1),),
    "star": (_spikes(5, 0.42),),
    "ring": (_polygon(48), _polygon(48, 0.5)),
    "cross": (_PLUS,),
}

PRETRAIN_SHAPES: dict[str, Shape] = {
    "hexagon": (_polygon(6),),
    "oval": (_arc(1.0, 0, 360, 48, 0.58)[:-1],),
    "heart": (_heart(),),
    "arrow": (_ARROW,),
    "moon": (_moon(),),
    "kite": (_KITE,),
    "bolt": (_BOLT,),
    "house": (_HOUSE,),
    "bridge": (_BRIDGE,),
    "frame": (_polygon(4, 1.2, -45), _polygon(4, 0.7, -45)),
    "flower": (_spikes(8, 0.66),),
    "flag": (_FLAG,),
}
