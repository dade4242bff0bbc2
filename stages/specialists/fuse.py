"""Several detectors heard as one. In: regions of several sources. Out: fused regions; the members are
dropped.

Paper section 1 speaks of specialists that reach a consensus ("wisdom of crowds"). This is weighted boxes
fusion (Solovyev et al., 2021): boxes of one category that overlap make a cluster, whose box is the mean of
theirs, weighted by score, and whose score is their mean times the share of the sources that agree. `parents`
are the members, so that the agreement can be read off later.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass, replace
from typing import ClassVar

import numpy as np

from pipeline.schema import Annotations, Box, Region
from stages.base import Batch, Result, Sample
from stages.filters.nms import iou_matrix

FUSED = "fused"


@dataclass(frozen=True, slots=True, kw_only=True)
class FuseConfig:
    sources: tuple[str, ...]  # the detectors' stage names; one that finds nothing counts as not agreeing
    iou: float = 0.55  # from which on two boxes of a category are the same thing
    min_score: float = 0.05  # regions below are left out, and alone


def mean_box(members: Sequence[Region]) -> Box:
    """The mean of the members' boxes, weighted by score."""
    weights = np.array([r.score or 0.0 for r in members])
    x1, y1, x2, y2 = (weights @ np.array([r.box for r in members]) / weights.sum()).tolist()
    return x1, y1, x2, y2


def clusters(regions: Sequence[Region], threshold: float) -> list[list[Region]]:
    """Regions of one category that overlap: each, best first, joins the cluster whose mean box it overlaps
    most.
    """
    found: list[list[Region]] = []
    boxes: list[Box] = []
    for region in sorted(regions, key=lambda r: (-(r.score or 0.0), r.id)):
        overlap = iou_matrix(np.array([region.box]), np.array(boxes).reshape(-1, 4))[0]
        same = np.array([members[0].phrase == region.phrase for members in found], bool)
        near = np.where(same, overlap, 0.0)
        if len(near) and near.max() > threshold:
            best = int(near.argmax())
            found[best].append(region)
            boxes[best] = mean_box(found[best])
        else:
            found.append([region])
            boxes.append(region.box)
    return found


def fuse(members: Sequence[Region], sources: int) -> Region:
    agreement = len({r.source for r in members}) / sources
    score = float(np.mean([r.score or 0.0 for r in members])) * agreement
    return Region(box=mean_box(members), phrase=members[0].phrase, score=score, parents=[r.id for r in members])


class Fuse:
    version: ClassVar[int] = 1
    reads_images: ClassVar[bool] = False

    def __init__(self, config: FuseConfig) -> None:
        if len(set(config.sources)) < 2:
            raise ValueError(f"sources={list(config.sources)}: name at least two detectors, or leave `fuse` out")
        self.config = config

    def __call__(self, batch: Batch) -> list[Result]:
        return [self.fuse(sample) for sample in batch]

    def fuse(self, sample: Sample) -> Annotations:
        regions = [
            r
            for r in sample.annotations.regions
            if sample.fresh(r) and r.source in self.config.sources and (r.score or 0.0) >= self.config.min_score
        ]
        made = [fuse(members, len(self.config.sources)) for members in clusters(regions, self.config.iou)]
        made.sort(key=lambda r: -(r.score or 0.0))
        return Annotations(regions=[*(replace(r, dropped=FUSED) for r in regions), *made])
