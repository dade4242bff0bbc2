"""How many systematic mistakes of a specialist are left in labels.

In: the settings of the specialist (`noisy_truth`), and labels of scenes. Out: counts. They are read
by `fld bench systematic`.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, replace
from math import sqrt

import numpy as np

from pipeline.schema import Annotations, Region
from stages.embedded.boxes import at_edge
from stages.embedded.domains import DEMO
from stages.embedded.noise import NoiseConfig, scene_of
from stages.embedded.systematic import TrueObject, is_renamable, true_objects
from stages.geometry import area, box_iou

# IoU from which on a label shows an object.
SHOWN = 0.5
# IoU below which a label shows no object at all.
NOTHING = 0.1


@dataclass(frozen=True, slots=True, kw_only=True)
class MistakesLeft:
    """Counts over some scenes; of an object, the label that overlaps it most."""

    objects: int = 0
    """All true objects."""
    renamable: int = 0
    """Objects that the specialist calls by the wrong name."""
    renamed: int = 0
    """Those of them whose label has this wrong name."""
    small: int = 0
    """Objects that are too small for the specialist."""
    unseen: int = 0
    """Those of them that no label shows."""
    invented: int = 0
    """Labels at an edge of the image that show nothing."""
    placed: int = 0
    """Objects that a label shows."""
    stretch: float = 0.0
    """Sum over these of: how many times as long the label's sides are, less one."""

    def __add__(self, other: MistakesLeft) -> MistakesLeft:
        """The counts over both."""
        sums = {name: getattr(self, name) + getattr(other, name) for name in self.__slots__}
        return MistakesLeft(**sums)


def mistakes_left(config: NoiseConfig, labels: Mapping[str, Annotations]) -> MistakesLeft:
    """The systematic mistakes of the specialist `config` that are left in the kept labels.

    `labels` are those of each scene, by its key.
    """
    left = MistakesLeft()
    for key, found in labels.items():
        left += _of_scene(config, key, found)
    return left


def _of_scene(config: NoiseConfig, key: str, labels: Annotations) -> MistakesLeft:
    """The counts of one scene."""
    scene = scene_of(key, config)
    objects = true_objects(scene)
    regions = labels.kept().regions
    overlap = box_iou([true.object.box for true in objects], [region.box for region in regions])
    height, width = scene.image.shape[:2]
    left = MistakesLeft(invented=_invented(config, regions, overlap, (width, height)))
    for true, row in zip(objects, overlap, strict=True):
        best = int(row.argmax()) if len(row) else -1
        shown = regions[best] if len(row) and row[best] >= SHOWN else None
        left += _of_object(config, true, shown)
    return left


def _of_object(config: NoiseConfig, true: TrueObject, shown: Region | None) -> MistakesLeft:
    """The counts of one object; `shown` is the label that shows it, None if none does."""
    faults = config.systematic
    is_small = true.side < faults.unseen_below
    can_be_renamed = bool(faults.renamed) and is_renamable(true, faults, DEMO)
    left = MistakesLeft(objects=1, renamable=int(can_be_renamed), small=int(is_small))
    if shown is None:
        return replace(left, unseen=int(is_small))
    has_wrong_name = can_be_renamed and shown.phrase == faults.called
    stretch = sqrt(area(shown.box) / area(true.object.box)) - 1
    return replace(left, renamed=int(has_wrong_name), placed=1, stretch=stretch)


def _invented(
    config: NoiseConfig, regions: Sequence[Region], overlap: np.ndarray, size: tuple[int, int]
) -> int:
    """How many labels at an edge show nothing; none is counted for one that invents nothing.

    Args:
        config: the specialist.
        regions: the labels.
        overlap: (objects, labels) IoU.
        size: (width, height) of the image in pixels.
    """
    if not config.systematic.invented:
        return 0
    count = 0
    for region, column in zip(regions, overlap.T, strict=True):
        if at_edge(region.box, size) and column.max(initial=0.0) < NOTHING:
            count += 1
    return count
