"""Samples of many sizes for adapters, and the type of the fixture `checkpoint`."""

from __future__ import annotations

from collections.abc import Callable

import numpy as np

from pipeline.schema import Annotations
from stages.base import Sample

Checkpoint = Callable[[str], str]
SIZES = [
    (60, 50),
    (64, 64),
    (60, 50),
    (40, 90),
    (1, 4000),
    (64, 64),
    (1, 1),
    (60, 50),
]  # (width, height)


def samples(annotations: Annotations | None = None) -> list[Sample]:
    rng = np.random.default_rng(0)
    return [
        Sample(
            key=str(i),
            size=size,
            image=rng.integers(0, 256, (size[1], size[0], 3), np.uint8),
            annotations=annotations or Annotations(),
        )
        for i, size in enumerate(SIZES)
    ]
