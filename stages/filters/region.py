"""Drops boxes that are degenerate, uncertain or redundant.

In: regions and text regions. Out: the dropped ones, with their reasons, and what was made from them
(`stages.links`). Paper section 4.2: a confidence threshold, then non-maximum suppression. The paper
gives no values; the defaults are usual ones.

The score of a label is its `confidence` after a merge, else the `score` of its source. A label
without either (from the source data set) passes the threshold. Human labels are never dropped and
outrank all others: a machine's box of the same thing is dropped as their duplicate.

Labels of machines that a review has dropped are decided, too, as if nobody had reviewed the sample.
So `reviewed` remains the reason of those labels only that people could see.
"""

from __future__ import annotations

from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass, field, replace
from operator import attrgetter
from typing import ClassVar, TypeVar

import numpy as np

from pipeline.schema import Annotations, Region, TextRegion
from stages import links
from stages.base import Batch, Result, no_effect
from stages.filters.nms import nms, overlapping_pairs, soft_nms
from stages.geometry import bounds, is_degenerate
from stages.ranges import NotNegative, ScoreThreshold, Share

DEGENERATE_BOX = "degenerate_box"
EMPTY_TEXT = "empty_text"
LOW_SCORE = "low_score"
LOW_AGREEMENT = "low_agreement"
DUPLICATE_OF_HUMAN = "duplicate_of_human"
CLASS_OVERLAP = "class_overlap"
ANY_OVERLAP = "any_overlap"
# The rules in their order. `decide` gives the index of the first one that applies.
REASONS = (
    None,
    DEGENERATE_BOX,
    LOW_SCORE,
    LOW_AGREEMENT,
    DUPLICATE_OF_HUMAN,
    CLASS_OVERLAP,
    ANY_OVERLAP,
)

_DROPPED_BY_REVIEW = attrgetter("is_dropped_by_review")
Item = TypeVar("Item", Region, TextRegion)


@dataclass(frozen=True, slots=True, kw_only=True)
class RegionFilterConfig:
    min_score: Share = 0.3
    """Labels with a lower score are dropped. Scores go from 0 to 1."""

    min_scores: Mapping[str, ScoreThreshold] = field(default_factory=dict)
    """Thresholds that replace `min_score`, by "source", "/class" or "source/class".

    If several apply, "source/class" comes before "/class", and "/class" before "source". 1.1 drops
    all.
    """

    min_agreement: Share = 0.0
    """Least share of an ensemble's members that must find the box, 0 to 1."""

    human_iou: Share = 0.5
    """A machine's box goes if its IoU with a human box of its class is higher; 1 turns this off."""

    class_iou: Share = 0.6
    """IoU above which boxes of one class suppress each other; 1 turns this off."""

    any_iou: Share = 0.9
    """IoU above which any two boxes of an image suppress each other; 1 turns this off."""

    soft_sigma: NotNegative = 0.0
    """Above 0, Gaussian soft suppression with this sigma replaces the one of `class_iou`."""

    min_side: NotNegative = 2.0
    """Boxes with a shorter side are degenerate, in pixels."""

    def without_effect(self) -> Iterator[str]:
        if self.soft_sigma > 0:
            reason = f"soft_sigma={self.soft_sigma} replaces it; set soft_sigma=0"
            yield from no_effect(self, ("class_iou",), reason)


@dataclass(frozen=True, slots=True)
class RegionColumns:
    """Regions of any number of images, a column per property; each column has n rows."""

    image: np.ndarray
    """(n,) int: the number of the image."""

    label: np.ndarray
    """(n,) int: the number of the class."""

    score: np.ndarray
    """(n,) float: the score; infinite for labels that may not be dropped."""

    min_score: np.ndarray
    """(n,) float: the threshold for the score."""

    box: np.ndarray
    """(n, 4) float: xyxy, in pixels."""

    agreement: np.ndarray | None = None
    """(n,) float: share of an ensemble's members that agree; None if there is no ensemble."""


class _Decision:
    """The reasons so far. A later rule judges only the regions that no earlier rule has dropped."""

    def __init__(self, count: int) -> None:
        self.reasons = np.zeros(count, np.uint8)

    @property
    def is_kept(self) -> np.ndarray:
        """Which regions are still kept: (n,) bool."""
        return self.reasons == 0

    def kept(self) -> np.ndarray:
        """The indices of the regions that are still kept: (kept,) int, ascending."""
        return np.flatnonzero(self.is_kept)

    def drop(self, where: np.ndarray, reason: str) -> None:
        """Drop for `reason` what is still kept and true in `where`, (n,) bool."""
        self.reasons[self.is_kept & where] = REASONS.index(reason)

    def drop_indices(self, indices: np.ndarray, reason: str) -> None:
        """Drop the regions at `indices`, (dropped,) int, for `reason`."""
        self.reasons[indices] = REASONS.index(reason)


def decide(regions: RegionColumns, config: RegionFilterConfig) -> np.ndarray:
    """For each region its index in `REASONS`: (n,) uint8, 0 for kept."""
    decision = _Decision(len(regions.score))
    is_human = regions.score == np.inf
    is_machine = np.logical_not(is_human)
    is_unusable = is_degenerate(regions.box, config.min_side)
    decision.drop(is_machine & is_unusable, DEGENERATE_BOX)
    # Written so that a score that is not a number is dropped.
    is_sure = regions.score >= regions.min_score
    decision.drop(np.logical_not(is_sure), LOW_SCORE)
    if regions.agreement is not None and config.min_agreement > 0:
        is_alone = regions.agreement < config.min_agreement
        decision.drop(is_machine & is_alone, LOW_AGREEMENT)

    class_count = int(regions.label.max(initial=0)) + 1
    image_and_class = regions.image * class_count + regions.label
    if is_human.any() and config.human_iou < 1:
        repeats = _repeats_human(regions, is_human, image_and_class, config.human_iou)
        decision.drop(repeats, DUPLICATE_OF_HUMAN)
    if config.soft_sigma > 0:
        _suppress_softly(decision, regions, image_and_class, config.soft_sigma)
    else:
        _suppress(decision, regions, image_and_class, config.class_iou, CLASS_OVERLAP)
    _suppress(decision, regions, regions.image, config.any_iou, ANY_OVERLAP)
    decision.reasons[is_human] = 0
    return decision.reasons


def _repeats_human(
    regions: RegionColumns, is_human: np.ndarray, image_and_class: np.ndarray, threshold: float
) -> np.ndarray:
    """True for machines' boxes that overlap a human one of the same image and class: (n,) bool."""
    groups_of_humans = image_and_class[is_human]
    rivals = np.flatnonzero(np.isin(image_and_class, groups_of_humans))
    # The members of a group must be adjacent.
    order = np.argsort(image_and_class[rivals], kind="stable")
    rivals = rivals[order]
    groups = image_and_class[rivals]
    first, second = overlapping_pairs(regions.box[rivals], groups, threshold)
    one = rivals[first]
    other = rivals[second]
    repeats = np.zeros(len(is_human), bool)
    repeats[one[is_human[other]]] = True
    repeats[other[is_human[one]]] = True
    repeats[is_human] = False
    return repeats


def _suppress(
    decision: _Decision, regions: RegionColumns, groups: np.ndarray, threshold: float, reason: str
) -> None:
    if threshold >= 1:
        return
    rows = decision.kept()
    boxes = regions.box[rows]
    scores = regions.score[rows]
    survives = nms(boxes, scores, groups[rows], threshold)
    suppressed = rows[np.logical_not(survives)]
    decision.drop_indices(suppressed, reason)


def _suppress_softly(
    decision: _Decision, regions: RegionColumns, groups: np.ndarray, sigma: float
) -> None:
    rows = decision.kept()
    boxes = regions.box[rows]
    scores = soft_nms(boxes, regions.score[rows], groups[rows], sigma)
    suppressed = rows[scores < regions.min_score[rows]]
    decision.drop_indices(suppressed, CLASS_OVERLAP)


def min_score(config: RegionFilterConfig, source: str, label: str) -> float:
    """The threshold for labels of a source and class."""
    if not config.min_scores:
        return config.min_score
    for key in (f"{source}/{label}", f"/{label}", source):
        if key in config.min_scores:
            return config.min_scores[key]
    return config.min_score


def columns(
    items: Sequence[tuple[int, Region | TextRegion]], config: RegionFilterConfig
) -> RegionColumns:
    """The columns of (number of the image, region) pairs. A text region's class is its string."""
    label_of: dict[str, int] = {}
    images, labels, boxes = [], [], []
    scores, thresholds, agreements = [], [], []
    for image, item in items:
        if isinstance(item, Region):
            phrase = name = item.phrase
        else:
            phrase, name = "", f"text: {item.text}"
        images.append(image)
        label = label_of.setdefault(name, len(label_of))
        labels.append(label)
        scores.append(_score(item))
        thresholds.append(min_score(config, item.source, phrase))
        boxes.append(bounds(item))
        agreements.append(1.0 if item.agreement is None else item.agreement)
    return RegionColumns(
        image=np.array(images, np.int64),
        label=np.array(labels, np.int64),
        score=np.array(scores, float),
        min_score=np.array(thresholds, float),
        box=np.array(boxes, float).reshape(-1, 4),
        agreement=np.array(agreements, float),
    )


def _score(item: Region | TextRegion) -> float:
    """The score that is compared with the threshold.

    A label without a score stands above all labels with one, and human labels above those, so that
    suppression keeps them.
    """
    if item.locked:
        return np.inf
    if item.confidence is not None:
        return item.confidence
    if item.score is not None:
        return item.score
    return float(np.finfo(float).max)


class RegionFilter:
    """Marks regions and text regions as dropped; see the module's docstring for the rules."""

    # The rules of `links` are a part of this filter.
    version: ClassVar[int] = 3 + links.VERSION
    reads_images: ClassVar[bool] = False
    gives: ClassVar[tuple[str, ...]] = ()
    drops: ClassVar[tuple[str, ...]] = ("regions", "text_regions")
    decided_by: ClassVar[Mapping[str, str]] = {
        DEGENERATE_BOX: "min_side",
        LOW_SCORE: "min_score or min_scores",
        LOW_AGREEMENT: "min_agreement",
    }

    def __init__(self, config: RegionFilterConfig) -> None:
        self.config = config

    def __call__(self, batch: Batch) -> list[Result]:
        # The labels of each sample; then, of each sample again, those that a review has dropped.
        labels = [sample.annotations.kept() for sample in batch]
        labels += [sample.annotations.where(_DROPPED_BY_REVIEW) for sample in batch]
        regions: list[tuple[int, Region]] = []
        text_regions: list[tuple[int, TextRegion]] = []
        for image, of_sample in enumerate(labels):
            regions += [(image, region) for region in of_sample.regions]
            text_regions += [(image, text_region) for text_region in of_sample.text_regions]
        dropped_regions = self._dropped(regions)
        dropped_text_regions = self._dropped(text_regions)
        results: list[Result] = []
        for image, sample in enumerate(batch):
            dropped = Annotations()
            for half in (image, image + len(batch)):
                dropped.regions.extend(dropped_regions.get(half, []))
                dropped.text_regions.extend(dropped_text_regions.get(half, []))
            followed = links.follow(sample.annotations.overlaid(dropped))
            results.append(replace(dropped, texts=followed.texts, triplets=followed.triplets))
        return results

    def _dropped(self, items: Sequence[tuple[int, Item]]) -> dict[int, list[Item]]:
        """The items that are dropped, with their reasons, by number of the image."""
        codes = decide(columns(items, self.config), self.config)
        dropped: dict[int, list[Item]] = {}
        for (image, item), code in zip(items, codes, strict=True):
            reason = EMPTY_TEXT if _is_empty_text(item) else REASONS[code]
            if reason:
                dropped.setdefault(image, []).append(replace(item, dropped=reason))
        return dropped


def _is_empty_text(item: Region | TextRegion) -> bool:
    if not isinstance(item, TextRegion) or item.locked:
        return False
    return not item.text.strip()
