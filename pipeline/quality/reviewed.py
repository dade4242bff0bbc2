"""What people said of a sample in a review, and what follows for the labels of machines.

A review is a set of human labels among those that the source gave (`Annotation.model` is `review`,
`revision` the reviewer). Beside the labels that stand it holds two kinds of marks, which are
dropped labels, so that no stage and no reader takes them for more:

- `reviewed`: the labels of one *group* (regions, text regions, or the texts of one granularity) are
  complete. All labels of machines in this group are dropped with the same reason.
- `deleted_in_review`: a person found this label wrong. A machine's label that is the same is
  dropped, others of its group stay.

A label of a machine that repeats one that a person has confirmed is dropped as well. All this
happens where the results of stages are written down (`pipeline.execution.provenance`), so no stage
must know of it. In later rounds it happens from the merge on: the merge measures a model by what it
finds again of human labels, too.
"""

from __future__ import annotations

from collections.abc import Iterable
from dataclasses import dataclass, replace
from typing import TypeVar, cast

from pipeline.schema import (
    HUMAN,
    KINDS,
    REVIEW,
    REVIEWED,
    Annotation,
    Annotations,
    Granularity,
    Region,
    Text,
    TextRegion,
    Triplet,
)
from stages.geometry import bounds, iou

DELETED = "deleted_in_review"
"""Why a label is dropped that a person found wrong."""
SAME_THING = 0.5
"""IoU above which a box of the same class shows a thing that a person has labelled."""
SAME_BOX = 0.9
"""IoU above which a box of the same class is the one that a person found wrong."""

Label = TypeVar("Label", bound=Annotation)


@dataclass(frozen=True, slots=True)
class Origin:
    """Where a label of a review comes from."""

    id: str
    reviewer: str
    dropped: str | None = None

    def of(self, label: Label) -> Label:
        """A label with this origin, and without what machines thought of it."""
        return replace(
            label,
            id=self.id,
            source=HUMAN,
            model=REVIEW,
            revision=self.reviewer,
            round=0,
            score=None,
            confidence=None,
            support=None,
            agreement=None,
            parents=[],
            dropped=self.dropped,
        )


@dataclass(frozen=True, slots=True)
class Review:
    """What a review says of one sample."""

    complete: frozenset[str]
    """Groups whose labels are complete."""
    single: list[Annotation]
    """Labels that people have judged one by one, in other groups."""

    @classmethod
    def of(cls, annotations: Annotations) -> Review | None:
        """The review among the labels of a sample, None if there is none."""
        # Hardly any label has this model, so the rest of `is_review` is seldom asked.
        said = [label for label in annotations.all() if label.model == REVIEW]
        labels = list(filter(is_review, said))
        if not labels:
            return None
        complete = frozenset(group_of(label) for label in labels if label.dropped == REVIEWED)
        single = [label for label in labels if group_of(label) not in complete]
        return cls(complete, single)

    def judged(self, label: Label) -> Label:
        """A label; one of a machine is dropped if a person has decided on what it is about."""
        if label.locked or label.dropped or not self._decides_on(label):
            return label
        return replace(label, dropped=REVIEWED)

    def _decides_on(self, label: Annotation) -> bool:
        if group_of(label) in self.complete:
            return True
        return any(_is_same(label, other) for other in self.single)


def is_review(label: Annotation) -> bool:
    """Whether a label came with a review."""
    return label.model == REVIEW and label.locked


def is_mark(label: Annotation) -> bool:
    """Whether a label only marks its group as complete."""
    return is_review(label) and label.dropped == REVIEWED


def group_of(label: Annotation) -> str:
    """The labels that a person reviews together: a granularity of texts, or a kind."""
    if isinstance(label, Text):
        return label.granularity
    return kind_of(label)


def kind_of(label: Annotation) -> str:
    """The name of the list of `Annotations` that a label is in."""
    for kind, cls in KINDS.items():
        if isinstance(label, cls):
            return kind
    raise TypeError(f"not an annotation: {label!r}")


def with_review(given: Annotations, review: Annotations) -> Annotations:
    """The labels that the source gave, as a review corrects them.

    In a group that the review completes, its labels replace all others; crowds and what made no
    sense stay, dropped as they are. Elsewhere its labels are added, or replace the label of the
    same id. Doing it twice changes nothing.
    """
    found = Review.of(review)
    complete = found.complete if found else frozenset[str]()
    ids = {label.id for label in review.all()}

    def stays(label: Annotation) -> bool:
        return label.id not in ids and bool(label.dropped or group_of(label) not in complete)

    result = given.where(stays)
    for label in review.all():
        getattr(result, kind_of(label)).append(label)
    return result


def marks(groups: Iterable[str], reviewer: str) -> Annotations:
    """The marks that some groups are complete."""
    result = Annotations()
    for group in sorted(groups):
        origin = Origin(f"{HUMAN}.{group}.{REVIEWED}", reviewer, REVIEWED)
        if group == "regions":
            region = Region(box=(0.0, 0.0, 0.0, 0.0), phrase="")
            result.regions.append(origin.of(region))
        elif group == "text_regions":
            text_region = TextRegion(quad=(0.0,) * 8, text="")
            result.text_regions.append(origin.of(text_region))
        else:
            text = Text(granularity=cast(Granularity, group), text="")
            result.texts.append(origin.of(text))
    return result


def _is_same(label: Annotation, judged: Annotation) -> bool:
    """Whether a machine's label is about the same thing as one that a person has judged."""
    if isinstance(label, Text) and isinstance(judged, Text):
        is_same_kind = label.granularity == judged.granularity
        return is_same_kind and label.text.strip() == judged.text.strip()
    if isinstance(label, Triplet) or kind_of(label) != kind_of(judged):
        return False
    least = SAME_BOX if judged.dropped else SAME_THING
    if isinstance(label, Region) and isinstance(judged, Region):
        return label.phrase == judged.phrase and iou(label.box, judged.box) > least
    if isinstance(label, TextRegion) and isinstance(judged, TextRegion):
        is_same_text = judged.dropped is None or label.text == judged.text
        return is_same_text and iou(bounds(label), bounds(judged)) > least
    return False
