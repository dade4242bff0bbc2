"""Drops boxes that are degenerate, unsure or redundant. In: regions and text regions. Out: the dropped ones.

Paper section 4.2: a confidence threshold, then non-maximum suppression. The paper gives no values; the
defaults are usual ones. The score that counts is `confidence` where a merge has spoken, else the source's own
`score`; a label with neither (the source dataset's) passes the threshold. Human labels are never dropped, and
outrank all others: a machine's box of the same thing is their duplicate.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field, replace
from typing import ClassVar

import numpy as np

from pipeline.schema import Annotations, Box, Region, TextRegion, Triplet
from stages.base import Batch, Result
from stages.filters.nms import nms, overlapping_pairs, soft_nms

DEGENERATE_BOX = "degenerate_box"
EMPTY_TEXT = "empty_text"
LOW_SCORE = "low_score"
LOW_AGREEMENT = "low_agreement"
DUPLICATE_OF_HUMAN = "duplicate_of_human"
CLASS_OVERLAP = "class_overlap"
ANY_OVERLAP = "any_overlap"
# The rules in their order; `decide` gives the index of the first that speaks.
REASONS = (
    None,
    DEGENERATE_BOX,
    LOW_SCORE,
    LOW_AGREEMENT,
    DUPLICATE_OF_HUMAN,
    CLASS_OVERLAP,
    ANY_OVERLAP,
)


@dataclass(frozen=True, slots=True, kw_only=True)
class RegionFilterConfig:
    min_score: float = 0.3
    # Thresholds that replace `min_score`: by "source", by "/class", by "source/class"; the longest key wins.
    min_scores: Mapping[str, float] = field(default_factory=dict)
    min_agreement: float = 0.0  # share of an ensemble's members that must say the same
    human_iou: float = 0.5  # a machine's box of the class of a human one that it overlaps more goes; 1 turns it off
    class_iou: float = 0.6  # suppression among boxes of one class; 1 turns it off
    any_iou: float = 0.9  # suppression among all boxes of the image; 1 turns it off
    soft_sigma: float = (
        0.0  # above 0: within a class, Gaussian soft suppression in place of the hard one
    )
    min_side: float = 2.0  # pixels


@dataclass(frozen=True, slots=True)
class RegionColumns:
    """Regions of any number of images as columns; `score` is inf for those that may not be dropped."""

    image: np.ndarray  # int
    label: np.ndarray  # int
    score: np.ndarray
    min_score: np.ndarray
    box: np.ndarray  # (n, 4)
    agreement: np.ndarray | None = None  # None: no ensemble, all agree


def decide(regions: RegionColumns, config: RegionFilterConfig) -> np.ndarray:
    """For each region the index in REASONS: 0 for kept."""
    reasons = np.zeros(len(regions.score), np.uint8)
    free = regions.score != np.inf
    reasons[free & is_degenerate(regions.box, config.min_side)] = REASONS.index(DEGENERATE_BOX)
    reasons[(reasons == 0) & ~(regions.score >= regions.min_score)] = REASONS.index(LOW_SCORE)
    if regions.agreement is not None and config.min_agreement > 0:
        alone = free & (regions.agreement < config.min_agreement)
        reasons[(reasons == 0) & alone] = REASONS.index(LOW_AGREEMENT)
    by_class = regions.image * (int(regions.label.max(initial=0)) + 1) + regions.label
    if not free.all() and config.human_iou < 1:
        reasons[(reasons == 0) & _repeats_human(regions, free, by_class, config.human_iou)] = (
            REASONS.index(DUPLICATE_OF_HUMAN)
        )
    if config.soft_sigma > 0:
        left = np.flatnonzero(reasons == 0)
        score = soft_nms(regions.box[left], regions.score[left], by_class[left], config.soft_sigma)
        reasons[left[score < regions.min_score[left]]] = REASONS.index(CLASS_OVERLAP)
    else:
        _suppress(reasons, regions, by_class, config.class_iou, CLASS_OVERLAP)
    _suppress(reasons, regions, regions.image, config.any_iou, ANY_OVERLAP)
    reasons[~free] = 0
    return reasons


def _repeats_human(
    regions: RegionColumns, free: np.ndarray, by_class: np.ndarray, threshold: float
) -> np.ndarray:
    """True for the free boxes that overlap one that is not, of the same image and class."""
    rivals = np.flatnonzero(np.isin(by_class, by_class[~free]))
    rivals = rivals[np.argsort(by_class[rivals], kind="stable")]
    pairs = overlapping_pairs(regions.box[rivals], by_class[rivals], threshold)
    first, second = rivals[pairs[0]], rivals[pairs[1]]
    repeats = np.zeros(len(free), bool)
    repeats[first[~free[second]]] = True
    repeats[second[~free[first]]] = True
    return repeats & free


def is_degenerate(boxes: np.ndarray, min_side: float) -> np.ndarray:
    """Not a number, or narrower or lower than `min_side`."""
    sides = boxes[:, 2:] - boxes[:, :2]
    return ~(np.isfinite(boxes).all(1) & (sides >= min_side).all(1))


def _suppress(
    reasons: np.ndarray, regions: RegionColumns, groups: np.ndarray, threshold: float, reason: str
) -> None:
    if threshold >= 1:
        return
    left = np.flatnonzero(reasons == 0)
    kept = nms(regions.box[left], regions.score[left], groups[left], threshold)
    reasons[left[~kept]] = REASONS.index(reason)


def min_score(config: RegionFilterConfig, source: str, label: str) -> float:
    for key in (f"{source}/{label}", f"/{label}", source):
        if key in config.min_scores:
            return config.min_scores[key]
    return config.min_score


def bounds(region: Region | TextRegion | Triplet) -> Box:
    """The box, or the quad's upright bounds."""
    if not isinstance(region, TextRegion):
        return region.box
    xs, ys = region.quad[::2], region.quad[1::2]
    return min(xs), min(ys), max(xs), max(ys)


def columns(
    items: Sequence[tuple[int, Region | TextRegion]], config: RegionFilterConfig
) -> RegionColumns:
    """Columns of (image, region) pairs. A text region's class is its string."""
    names = [r.phrase if isinstance(r, Region) else f"text: {r.text}" for _, r in items]
    number = {name: i for i, name in enumerate(dict.fromkeys(names))}
    return RegionColumns(
        np.array([image for image, _ in items], np.int64),
        np.array([number[name] for name in names], np.int64),
        np.array([_score(r) for _, r in items], float),
        np.array([min_score(config, r.source, getattr(r, "phrase", "")) for _, r in items], float),
        np.array([bounds(r) for _, r in items], float).reshape(-1, 4),
        np.array([1.0 if r.agreement is None else r.agreement for _, r in items], float),
    )


def _score(region: Region | TextRegion) -> float:
    """What is compared with the threshold; labels without a score stand above all scores, human ones above
    those.
    """
    if region.locked:
        return np.inf
    score = region.confidence if region.confidence is not None else region.score
    return score if score is not None else float(np.finfo(float).max)


class RegionFilter:
    version: ClassVar[int] = 2
    reads_images: ClassVar[bool] = False

    def __init__(self, config: RegionFilterConfig) -> None:
        self.config = config

    def __call__(self, batch: Batch) -> list[Result]:
        kept = [sample.annotations.kept() for sample in batch]
        regions = self._drop([(i, r) for i, a in enumerate(kept) for r in a.regions])
        text_regions = self._drop([(i, r) for i, a in enumerate(kept) for r in a.text_regions])
        return [
            Annotations(regions=regions.get(i, []), text_regions=text_regions.get(i, []))
            for i in range(len(batch))
        ]

    def _drop(
        self, items: list[tuple[int, Region]] | list[tuple[int, TextRegion]]
    ) -> dict[int, list]:
        """The regions to drop, with their reasons, by image."""
        dropped: dict[int, list] = {}
        for (image, region), code in zip(
            items, decide(columns(items, self.config), self.config), strict=True
        ):
            reason = REASONS[code]
            if isinstance(region, TextRegion) and not region.text.strip() and not region.locked:
                reason = EMPTY_TEXT
            if reason:
                dropped.setdefault(image, []).append(replace(region, dropped=reason))
        return dropped
