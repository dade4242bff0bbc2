"""One COCO-like sentence composed from detections. In: regions. Out: a brief text; none for an image without
regions.

Regions of any detector will do. They are counted by name; the most salient kind (people and animals first,
then by area) is the subject, the next one the object, and the verb follows from how their boxes lie. `score`
is the lower of the scores of the two kinds, as the sentence is right only if both are.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from itertools import groupby
from typing import ClassVar

import numpy as np

from pipeline.schema import Annotations, Region, Text
from stages.base import Batch, Result, Sample
from stages.embedded.wording import ANIMATE, Style, counted, is_sign, name_of, sentence, style, verb
from stages.filters.nms import nms
from stages.geometry import area
from stages.specialists.work import missing, sureness


@dataclass(frozen=True, slots=True, kw_only=True)
class CaptionConfig:
    style: str = "demo"
    min_score: float = 0.3  # regions below are not spoken of
    any_iou: float = 0.6  # of regions that overlap more, the surer one is spoken of


def salient(regions: Sequence[Region], config: CaptionConfig) -> list[Region]:
    """The regions to speak of, most salient first."""
    sure = [r for r in regions if r.dropped is None and sureness(r) >= config.min_score]
    if not sure:
        return []
    boxes = np.array([r.box for r in sure])
    scores = np.array([sureness(r) for r in sure])
    kept = nms(boxes, scores, np.zeros(len(sure), int), config.any_iou)
    order = sorted(
        np.flatnonzero(kept), key=lambda i: (sure[i].phrase not in ANIMATE, -area(sure[i].box))
    )
    return [sure[i] for i in order]


def kinds(regions: Sequence[Region]) -> list[list[Region]]:
    """Salient regions grouped by name, in the order of each group's first."""
    rank: dict[str, int] = {}
    for region in regions:
        rank.setdefault(name_of(region), len(rank))
    ordered = sorted(regions, key=lambda r: rank[name_of(r)])
    return [list(group) for _, group in groupby(ordered, key=name_of)]


def compose(regions: Sequence[Region], words: Style) -> str:
    """The sentence about salient regions; '' when there are none."""
    groups = kinds([r for r in regions if not is_sign(r)] or regions)
    if not groups:
        return ""
    subject = counted(name_of(groups[0][0]), len(groups[0]))
    if len(groups) == 1:
        alone = words.relations["beside"].split()[0]
        if len(groups[0]) == 1:
            return sentence(subject, alone, "alone")
        return sentence(subject, verb(words, groups[0][0], groups[0][1], 2).split()[0], "together")
    object_ = counted(name_of(groups[1][0]), len(groups[1]))
    return sentence(subject, verb(words, groups[0][0], groups[1][0], len(groups[0])), object_)


class ComposeCaption:
    version: ClassVar[int] = 1
    reads_images: ClassVar[bool] = False

    def __init__(self, config: CaptionConfig) -> None:
        self.config, self.words = config, style(config.style)

    def __call__(self, batch: Batch) -> list[Result]:
        return [self.caption(s) if missing(s, ("brief",)) else Annotations() for s in batch]

    def caption(self, sample: Sample) -> Annotations:
        regions = salient(sample.annotations.regions, self.config)
        text = compose(regions, self.words)
        if not text:
            return Annotations()
        told = kinds([r for r in regions if not is_sign(r)] or regions)[:2]
        score = min(sureness(r) for group in told for r in group)
        parents = [r.id for group in told for r in group]
        return Annotations(
            texts=[Text(granularity="brief", text=text, score=score, parents=parents)]
        )
