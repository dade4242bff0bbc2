"""One COCO-like sentence composed from detections.

In: regions. Out: a brief text, or none without regions.

The regions may come from any detector. They are grouped and counted by name. The most salient group
(people and animals first, then by area) is the subject and the next one the object; the verb
follows from how their boxes lie. `score` is the lowest score in both groups, because the sentence
is right only if all are right.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from itertools import groupby
from typing import ClassVar

import numpy as np

from pipeline.schema import Annotations, Region, Text
from stages.base import Batch, Result, Sample
from stages.embedded.vocabulary import (
    ANIMATE,
    Vocabulary,
    check_style,
    counted,
    is_sign,
    name_of,
    sentence,
    verb,
    vocabulary,
)
from stages.filters.nms import nms
from stages.geometry import area
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

    min_score: float = 0.3
    """Regions with a lower score are not mentioned."""

    any_iou: float = 0.6
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


def group_by_name(regions: Sequence[Region]) -> list[list[Region]]:
    """Regions grouped by name; a group stands where its first member stood."""
    rank: dict[str, int] = {}
    for region in regions:
        rank.setdefault(name_of(region), len(rank))
    ordered = sorted(regions, key=lambda region: rank[name_of(region)])
    return [list(group) for _, group in groupby(ordered, key=name_of)]


def mentioned_groups(regions: Sequence[Region]) -> list[list[Region]]:
    """The one or two groups of which the brief sentence speaks; empty without regions.

    Signs count only if there is nothing else.
    """
    shapes = [region for region in regions if not is_sign(region)]
    return group_by_name(shapes or regions)[:2]


def compose(regions: Sequence[Region], words: Vocabulary) -> str:
    """The brief sentence about salient regions; '' if there are none."""
    groups = mentioned_groups(regions)
    if not groups:
        return ""
    subjects = groups[0]
    subject = counted(name_of(subjects[0]), len(subjects))
    if len(groups) == 2:
        objects = groups[1]
        predicate = verb(words, subjects[0], objects[0], len(subjects))
        return sentence(subject, predicate, counted(name_of(objects[0]), len(objects)))
    if len(subjects) == 1:
        # Only the verb of "sits beside": "A red star sits alone."
        lone_verb = words.relations["beside"].split()[0]
        return sentence(subject, lone_verb, "alone")
    predicate = verb(words, subjects[0], subjects[1], 2)
    return sentence(subject, predicate.split()[0], "together")


class ComposeCaption:
    """Writes the brief text of every sample that has none."""

    version: ClassVar[int] = 2
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
        for group in mentioned_groups(regions):
            mentioned += group
        brief = Text(
            granularity="brief",
            text=text,
            score=min(effective_score(region) for region in mentioned),
            parents=[region.id for region in mentioned],
        )
        return Annotations(texts=[brief])
