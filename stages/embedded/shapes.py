"""The drawings of the rendered worlds: each shape is a tuple of closed outlines around the origin within a
circle of radius about 1, y down; where two outlines overlap there is a hole (even-odd rule)."""

from __future__ import annotations

from math import cos, pi, sin

Outline = tuple[tuple[float, float], ...]
Shape = tuple[Outline, ...]


def _arc(radius: float, start: float, end: float, steps: int, stretch: float = 1.0) -> Outline:
    """Points of an arc from one angle to another (degrees, clockwise from the right), stretched along y."""
    angles = [(start + (end - start) * i / steps) * pi / 180 for i in range(steps + 1)]
    return tuple((radius * cos(a), stretch * radius * sin(a)) for a in angles)


def _regular(corners: int, radius: float = 1.0, start: float = -90.0) -> Outline:
    return _arc(radius, start, start + 360, corners)[:-1]


def _spikes(points: int, inner: float) -> Outline:
    outer, hollow = _regular(points), _regular(points, inner, -90 + 180 / points)
    return tuple(p for pair in zip(outer, hollow, strict=True) for p in pair)


def _heart() -> Outline:
    angles = [2 * pi * i / 48 for i in range(48)]
    return tuple(
        (sin(a) ** 3, -(13 * cos(a) - 5 * cos(2 * a) - 2 * cos(3 * a) - cos(4 * a)) / 16.5)
        for a in angles
    )


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

DEMO_SHAPES: dict[str, Shape] = {
    "circle": (_regular(48),),
    "block": (((-0.85, -0.85), (0.85, -0.85), (0.85, 0.85), (-0.85, 0.85)),),
    "triangle": (_regular(3, 1.1),),
    "star": (_spikes(5, 0.42),),
    "ring": (_regular(48), _regular(48, 0.5)),
    "cross": (_PLUS,),
}

PRETRAIN_SHAPES: dict[str, Shape] = {
    "hexagon": (_regular(6),),
    "oval": (_arc(1.0, 0, 360, 48, 0.58)[:-1],),
    "heart": (_heart(),),
    "arrow": (((-1, -0.3), (0.1, -0.3), (0.1, -0.8), (1, 0), (0.1, 0.8), (0.1, 0.3), (-1, 0.3)),),
    "moon": (
        _arc(1.0, 60, 300, 32) + tuple((x + 0.5, 0.82 * y) for x, y in _arc(0.98, 270, 90, 24)),
    ),
    "kite": (((0, -1), (0.6, -0.25), (0, 1), (-0.6, -0.25)),),
    "bolt": (((0.25, -1), (-0.6, 0.15), (-0.05, 0.15), (-0.3, 1), (0.6, -0.2), (0.05, -0.2)),),
    "house": (
        (
            (0, -1),
            (0.9, -0.2),
            (0.65, -0.2),
            (0.65, 0.85),
            (-0.65, 0.85),
            (-0.65, -0.2),
            (-0.9, -0.2),
        ),
    ),
    "bridge": (
        ((-1, 0.6), (-1, -0.6), (1, -0.6), (1, 0.6), (0.5, 0.6), (0.5, 0), (-0.5, 0), (-0.5, 0.6)),
    ),
    "frame": (_regular(4, 1.2, -45), _regular(4, 0.7, -45)),
    "flower": (_spikes(8, 0.66),),
    "flag": (((-0.7, -1), (0.9, -0.55), (-0.4, -0.1), (-0.4, 1), (-0.7, 1)),),
}
