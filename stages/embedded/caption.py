"""One COCO-like sentence composed from detections.

In: regions. Out: a brief text, or none without regions.

The regions may come from any detector. They are grouped and counted by name. The most salient group
(people and animals first, then by area) is the subject and the next one the object; the verb
follows from how their boxes lie. Of a photo, the sentence states only what is sure: it counts by
category, and says that things are there where their boxes show no relation. `score` is the lowest
score in both groups, because the sentence is right only if all are right.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from typing import ClassVar

import numpy as np

from pipeline.schema import Annotations, Region, Text
from stages.base import Batch, Result, Sample
from stages.embedded.vocabulary import (
    ANIMATE,
    Vocabulary,
    check_style,
    counted,
    existence,
    is_sign,
    lone_verb,
    name_of,
    sentence,
    verb,
    vocabulary,
)
from stages.filters.nms import nms
from stages.geometry import area
from stages.ranges import Share
from stages.specialists.selection import (
    effective_score,
    missing_granularities,
    was_rejected,
)


@dataclass(frozen=True, slots=True, kw_only=True)
class CaptionConfig:
    """Settings of `compose_caption`."""

    composes: ClassVar[tuple[str, ...]] = ("regions",)

    style: str = "demo"
    """Vocabulary of the sentence: `demo` or `photo`."""

    min_score: Share = 0.3
    """Regions with a lower score are not mentioned."""

    any_iou: Share = 0.6
    """If two regions overlap more than this IoU, only the one with the higher score is mentioned.
    """

    def __post_init__(self) -> None:
        check_style(self.style)


def salient_regions(regions: Sequence[Region], config: CaptionConfig) -> list[Region]:
    """The regions that a text mentions, most salient first."""
    certain = []
    for region in regions:
        is_certain = effective_score(region) >= config.min_score
        if is_certain and region.dropped is None:
            certain.append(region)
    if not certain:
        return []

    boxes = np.array([region.box for region in certain])
    scores = np.array([effective_score(region) for region in certain])
    # All regions compete, whatever their category.
    one_group = np.zeros(len(certain), int)
    kept = nms(boxes, scores, one_group, config.any_iou)

    def salience(index: int) -> tuple[bool, float]:
        """Sort key: people and animals first, then the largest area."""
        return certain[index].phrase not in ANIMATE, -float(area(boxes[index]))

    order = sorted(np.flatnonzero(kept).tolist(), key=salience)
    return [certain[index] for index in order]


def group_by_name(regions: Sequence[Region], words: Vocabulary) -> list[list[Region]]:
    """Regions grouped by name; a group stands where its first member stood.

    Those of a photo are grouped by category, because the colour of some may not be sure.
    """
    groups: dict[str, list[Region]] = {}
    for region in regions:
        name = region.phrase if words.is_cautious else name_of(region)
        groups.setdefault(name, []).append(region)
    return list(groups.values())


def name_of_group(group: Sequence[Region]) -> str:
    """The name that all regions of a group have, or else the category."""
    names = {name_of(region) for region in group}
    return names.pop() if len(names) == 1 else group[0].phrase


def mentioned_groups(regions: Sequence[Region], words: Vocabulary) -> list[list[Region]]:
    """The one or two groups of which the brief sentence speaks; empty without regions.

    Signs count only if there is nothing else.
    """
    shapes = [region for region in regions if not is_sign(region)]
    return group_by_name(shapes or regions, words)[:2]


def compose(regions: Sequence[Region], words: Vocabulary) -> str:
    """The brief sentence about salient regions; '' if there are none."""
    groups = mentioned_groups(regions, words)
    if not groups:
        return ""
    names = [counted(name_of_group(group), len(group)) for group in groups]
    if len(groups) == 2:
        predicate = verb(words, groups[0], groups[1])
        if predicate:
            return sentence(names[0], predicate, names[1])
        # A small thing is on a large one.
        predicate = verb(words, groups[1], groups[0])
        if predicate:
            return sentence(names[1], predicate, names[0])
    if words.is_cautious:
        return existence(names, len(groups[0]))
    subjects = groups[0]
    if len(subjects) == 1:
        # Only the verb of "sits beside": "A red star sits alone."
        return sentence(names[0], lone_verb(words), "alone")
    predicate = verb(words, subjects, subjects[1:])
    return sentence(names[0], predicate.split()[0], "together")


class ComposeCaption:
    """Writes the brief text of every sample that has none."""

    version: ClassVar[int] = 3
    reads_images: ClassVar[bool] = False
    needs: ClassVar[tuple[str, ...]] = ("regions",)
    gives: ClassVar[tuple[str, ...]] = ("texts",)

    def __init__(self, config: CaptionConfig) -> None:
        self.config = config
        self.words = vocabulary(config.style)

    def __call__(self, batch: Batch) -> list[Result]:
        return [self.caption(sample) for sample in batch]

    def caption(self, sample: Sample) -> Annotations:
        """The brief text of one sample; empty if it has one already, or no regions."""
        if not missing_granularities(sample, ("brief",)):
            return Annotations()
        regions = salient_regions(sample.annotations.regions, self.config)
        text = compose(regions, self.words)
        if not text or was_rejected(sample, "brief", text):
            return Annotations()
        mentioned: list[Region] = []
        for group in mentioned_groups(regions, self.words):
            mentioned += group
        brief = Text(
            granularity="brief",
            text=text,
            score=min(effective_score(region) for region in mentioned),
            parents=[region.id for region in mentioned],
        )
        return Annotations(texts=[brief])
