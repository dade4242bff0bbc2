"""The human labels that follow from what people say of a sample."""

from __future__ import annotations

import hashlib
from collections import Counter
from collections.abc import Iterable
from dataclasses import dataclass, field, replace
from typing import Any, TypeVar, cast

from pipeline.quality.reviewed import DELETED, Origin, kind_of, marks
from pipeline.release.ids import label_ids
from pipeline.review.picks import REGIONS
from pipeline.review.said import Answer, SaidBox
from pipeline.rows import Record
from pipeline.schema import HUMAN, Annotation, Annotations, Granularity, Region, Text, Triplet

NEAR = 0.5
"""Pixels by which a coordinate may differ: tools round."""
KEPT, CHANGED, ADDED, GONE, FOREIGN = "kept", "changed", "added", "deleted", "left out"

Label = TypeVar("Label", bound=Annotation)


@dataclass(slots=True)
class ReviewedSample:
    """The review of one sample."""

    labels: Annotations
    """Human labels, and marks (`pipeline.quality.reviewed`)."""
    counts: Counter[str] = field(default_factory=Counter)
    """What happened to the labels."""
    machine: Counter[str] = field(default_factory=Counter)
    """The same of the boxes of machines alone."""
    lost_masks: int = 0
    """Moved boxes whose masks show the old places."""


def reviewed_sample(record: Record, answer: Answer, reviewer: str) -> ReviewedSample:
    """The review of a sample.

    A label that a person left as it was keeps its mask and its brief text. A renamed one keeps its
    mask, since the thing is the same. One that was moved keeps neither, because they are of what it
    was.

    Raises:
        ValueError: a verdict is on a label that the sample does not have.
    """
    if answer.verdicts:
        return _judged(record, answer, reviewer)
    sample = ReviewedSample(marks(answer.groups, reviewer))
    if REGIONS in answer.groups:
        _add_boxes(sample, record, answer.boxes, reviewer)
    for group, texts in answer.texts.items():
        _add_texts(sample, record, cast(Granularity, group), texts, reviewer)
    return sample


def _add_boxes(
    sample: ReviewedSample, record: Record, boxes: Iterable[SaidBox], reviewer: str
) -> None:
    """Add the boxes that stand in a sample; count those that do not."""
    left = list(record.annotations.kept().regions)
    for said in boxes:
        old = _old_box(said, record.key, left)
        if old is None:
            sample.labels.regions.append(_new_box(said, record.key, reviewer))
            sample.counts[ADDED] += 1
            continue
        left.remove(old)
        fate = CHANGED
        if _is_near(old, said) and old.phrase == said.phrase:
            fate = KEPT
            standing = _taken_over(old, reviewer, is_same=True)
        else:
            standing = _taken_over(_changed(old, said), reviewer)
            sample.lost_masks += old.mask is not None and standing.mask is None
        sample.labels.regions.append(standing)
        _count(sample, old, fate)
    for old in left:
        _count(sample, old, GONE)


def _count(sample: ReviewedSample, old: Region, fate: str) -> None:
    """Count what happened to a box of the round."""
    sample.counts[fate] += 1
    if not old.locked:
        sample.machine[fate] += 1


def _new_box(said: SaidBox, key: str, reviewer: str) -> Region:
    """A box that a person has drawn."""
    content = f"{said.id} {said.phrase} {said.box}"
    id_ = _new_id(REGIONS, key, content)
    region = Region(box=said.box, phrase=said.phrase)
    return Origin(id_, reviewer).of(region)


def _changed(old: Region, said: SaidBox) -> Region:
    """A box of the round with the place and the class that a person gave it."""
    changed = Region(id=old.id, source=old.source, box=said.box, phrase=said.phrase)
    if _is_near(old, said):
        return replace(changed, box=old.box, mask=old.mask)
    return changed


def _add_texts(
    sample: ReviewedSample,
    record: Record,
    group: Granularity,
    texts: Iterable[str],
    reviewer: str,
) -> None:
    """Add the texts that stand in a sample; count those that do not."""
    left = {}
    for text in record.annotations.kept().texts:
        if text.granularity == group:
            left[text.text.strip()] = text
    for said in texts:
        content = said.strip()
        if not content:
            continue
        old = left.pop(content, None)
        if old is not None:
            standing = _taken_over(old, reviewer, is_same=True)
            sample.counts[KEPT] += 1
        else:
            id_ = _new_id("texts", record.key, f"{group} {content}")
            standing = Origin(id_, reviewer).of(Text(granularity=group, text=content))
            sample.counts[ADDED] += 1
        sample.labels.texts.append(standing)
    sample.counts[GONE] += len(left)


def _judged(record: Record, answer: Answer, reviewer: str) -> ReviewedSample:
    """The labels that a person has judged one by one.

    A phrase of a text stands on the ids of machines' texts, so a verdict on it is left out.
    """
    labels = {label.id: label for label in record.annotations.all()}
    sample = ReviewedSample(Annotations())
    for id_, is_right in answer.verdicts.items():
        if id_ not in labels:
            raise ValueError(f"{record.key}: the round has no label {id_}; audit the head anew")
        label = labels[id_]
        if isinstance(label, Triplet):
            sample.counts[FOREIGN] += 1
            continue
        taken = _taken_over(label, reviewer, is_same=is_right)
        if not is_right:
            taken = Origin(taken.id, reviewer, DELETED).of(taken)
        getattr(sample.labels, kind_of(label)).append(taken)
        sample.counts[KEPT if is_right else GONE] += 1
    return sample


def _taken_over(label: Label, reviewer: str, is_same: bool = False) -> Label:
    """A label of the round as a label of the review.

    A human label that stands keeps its origin, so that it goes back to its source.
    """
    if label.locked and is_same:
        return _as_given(label)
    id_ = label.id
    if not label.locked:
        old = label.id.replace(".", "_")
        id_ = f"{HUMAN}.{kind_of(label)}.{old}"
    return _as_given(Origin(id_, reviewer).of(label))


def _as_given(label: Label) -> Label:
    """A label as it comes in: a text's parse is made by a stage."""
    changed: Any = label
    if isinstance(label, Text):
        changed = replace(label, parse=None)
    return cast(Label, replace(changed, support=None, dropped=None))


def _old_box(said: SaidBox, key: str, regions: Iterable[Region]) -> Region | None:
    """The label that a box was: by its id, else the one that stands in the same place.

    Tools that give new ids to all boxes keep their places.
    """
    by_place = None
    for region in regions:
        numbers = [str(id_) for id_ in _coco_ids(key, region)]
        if said.id == region.id or said.id in numbers:
            return region
        if by_place is None and region.phrase == said.phrase and _is_near(region, said):
            by_place = region
    return by_place


def _coco_ids(key: str, region: Region) -> list[int]:
    """The ids that an export to COCO may give to a label."""
    # With the source left out, a human label gets a digest, as it does if another has its number.
    unnamed = replace(region, source="")
    return label_ids([(key, region)]) + label_ids([(key, unnamed)])


def _is_near(region: Region, said: SaidBox) -> bool:
    pairs = zip(region.box, said.box, strict=True)
    return all(abs(one - other) < NEAR for one, other in pairs)


def _new_id(kind: str, key: str, content: str) -> str:
    """The id of a label that a person has made; the same file gives the same one."""
    digest = hashlib.sha256(f"{key} {content}".encode()).hexdigest()[:12]
    return f"{HUMAN}.{kind}.new-{digest}"
