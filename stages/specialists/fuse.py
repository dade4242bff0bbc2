"""Several models of one role heard as one. In: annotations of several sources. Out: fused ones; the members are
dropped.

Paper section 1 speaks of specialists that reach a consensus ("wisdom of crowds"). For boxes this is weighted boxes
fusion (Solovyev et al., 2021): regions of one category, text regions of one string and triplets of one phrase that
overlap make a cluster, whose place is the mean of theirs, weighted by score, and whose score is their mean times the
share of the sources that agree. Of several texts of one granularity the one that shares most words with the others
stays. `agreement` holds the share (for a text: of its words) and `parents` the members; filters can ask for a least
agreement.
"""

from __future__ import annotations

from collections import Counter
from collections.abc import Hashable, Sequence
from dataclasses import dataclass, replace
from typing import Any, ClassVar

import numpy as np

from pipeline.schema import Annotations, Region, Text, TextRegion, Triplet
from stages.base import Batch, Result, Sample
from stages.geometry import bounds, box_iou
from stages.specialists.work import sureness, todo

FUSED = "fused"
Placed = Region | TextRegion | Triplet


@dataclass(frozen=True, slots=True, kw_only=True)
class FuseConfig:
    sources: tuple[str, ...]  # the stages' names; one that finds nothing counts as not agreeing
    iou: float = 0.55  # from which on two boxes are the same thing
    min_score: float = 0.05  # annotations below are left out, and alone


def meaning(item: Placed) -> Hashable:
    """What two annotations must share to be of the same thing."""
    if isinstance(item, Triplet):
        return item.text_id, item.start, item.end
    return item.phrase if isinstance(item, Region) else "".join(item.text.split()).casefold()


def mean_place(members: Sequence[Placed]) -> tuple[float, ...]:
    """The mean of the members' boxes or quads, weighted by score."""
    places = np.array([m.quad if isinstance(m, TextRegion) else m.box for m in members])
    return tuple(np.average(places, axis=0, weights=[sureness(m) + 1e-9 for m in members]).tolist())


def clusters(items: Sequence[Placed], threshold: float) -> list[list[Placed]]:
    """Items of one meaning that overlap: each, best first, joins the cluster whose mean it overlaps most."""
    found: list[list[Placed]] = []
    boxes: list[Sequence[float]] = []
    for item in sorted(items, key=lambda a: (-sureness(a), a.id)):
        overlap = box_iou(np.array([bounds(item)]), np.array(boxes).reshape(-1, 4))[0]
        same = np.array([meaning(members[0]) == meaning(item) for members in found], bool)
        near = np.where(same, overlap, 0.0)
        if len(near) and near.max() > threshold:
            best = int(near.argmax())
            found[best].append(item)
            boxes[best] = bounds(_placed(found[best]))
        else:
            found.append([item])
            boxes.append(bounds(item))
    return found


def fuse(members: Sequence[Placed], sources: int) -> Any:
    """One new annotation for a cluster; what was made for a member's own box is left behind."""
    agreement = len({m.source for m in members}) / sources
    more: dict[str, Any] = {}
    if isinstance(members[0], Triplet):
        phrase_scores = [
            m.phrase_score for m in members if isinstance(m, Triplet) and m.phrase_score is not None
        ]
        more = {
            "mask": None,
            "phrase_score": float(np.mean(phrase_scores)) if phrase_scores else None,
        }
    elif isinstance(members[0], Region):
        more = {"mask": None, "candidates": [], "brief": None, "brief_kind": None}
    return replace(
        _placed(members),
        id="",
        source="",
        model="",
        revision="",
        agreement=agreement,
        score=float(np.mean([sureness(m) for m in members])) * agreement,
        parents=[m.id for m in members],
        **more,
    )


def _placed(members: Sequence[Placed]) -> Any:
    place: dict[str, Any] = {
        "quad" if isinstance(members[0], TextRegion) else "box": mean_place(members)
    }
    return replace(members[0], **place)


def consensus(texts: Sequence[Text], sources: int) -> list[Text]:
    """The texts of each granularity: the one that shares most words with those of other sources, its agreement the
    mean share (a source that said nothing shares none), and the others dropped."""
    words = {
        t.id: Counter(t.text.casefold().replace(".", " ").replace(",", " ").split()) for t in texts
    }

    def shared(a: Text, b: Text) -> float:
        both, all_ = words[a.id] & words[b.id], words[a.id].total() + words[b.id].total()
        return 2 * both.total() / all_ if all_ else 0.0

    found: list[Text] = []
    for granularity in dict.fromkeys(t.granularity for t in texts):
        alike = [t for t in texts if t.granularity == granularity]
        others = {t.id: [shared(t, o) for o in alike if o.source != t.source] for t in alike}
        # The text itself stands for its own source.
        agreement = {
            id_: (1 + sum(shares)) / max(sources, 1 + len(shares)) for id_, shares in others.items()
        }
        best = max(alike, key=lambda t: (agreement[t.id], sureness(t), t.id))
        found += [
            replace(t, agreement=agreement[t.id]) if t is best else replace(t, dropped=FUSED)
            for t in alike
        ]
    return found


class Fuse:
    version: ClassVar[int] = 2
    reads_images: ClassVar[bool] = False

    def __init__(self, config: FuseConfig) -> None:
        if len(set(config.sources)) < 2:
            raise ValueError(
                f"sources={list(config.sources)}: name at least two stages, or leave `fuse` out"
            )
        self.config = config

    def __call__(self, batch: Batch) -> list[Result]:
        return [self.fuse(sample) for sample in batch]

    def fuse(self, sample: Sample) -> Annotations:
        said = sample.annotations
        return Annotations(
            texts=consensus(self.members(sample, said.texts), len(self.config.sources)),
            regions=self.placed(sample, said.regions),
            text_regions=self.placed(sample, said.text_regions),
            triplets=self.placed(sample, said.triplets),
        )

    def members(self, sample: Sample, items: Sequence[Any]) -> list[Any]:
        return [
            a for a in todo(sample, items, self.config.min_score) if a.source in self.config.sources
        ]

    def placed(self, sample: Sample, items: Sequence[Any]) -> list[Any]:
        """The fused ones, best first, behind their dropped members."""
        members = self.members(sample, items)
        made = [
            fuse(cluster, len(self.config.sources))
            for cluster in clusters(members, self.config.iou)
        ]
        return [
            *(replace(m, dropped=FUSED) for m in members),
            *sorted(made, key=lambda a: -sureness(a)),
        ]
