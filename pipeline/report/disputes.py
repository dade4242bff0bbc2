"""Labels on which their makers disagree, so that a person looks at them first."""

from __future__ import annotations

from collections import defaultdict
from collections.abc import Mapping, Sequence

from pipeline.refinement.changes import words
from pipeline.schema import Annotation, Annotations, Region
from stages.geometry import box_iou

ENSEMBLE = "members of an ensemble"
MODEL = "model and old label"
SPECIALISTS = "two sources on one box"
_SAME_BOX = 0.5  # the IoU from which on two boxes are of one object


def disputes(annotations: Annotations) -> Mapping[str, Sequence[str]]:
    """By the id of an annotation, which parties disagree on it; the others have no entry.

    Args:
        annotations: of one sample in one round, dropped ones too.
    """
    # A dict keeps the order of its keys, and each party once.
    found: dict[str, dict[str, None]] = defaultdict(dict)
    by_id = {annotation.id: annotation for annotation in annotations.all()}
    for annotation in by_id.values():
        agreement = annotation.agreement
        if agreement is not None and agreement < 1:
            found[annotation.id][ENSEMBLE] = None
        for parent in annotation.parents:
            old = by_id.get(parent)
            if _is_replaced(old, annotation):
                found[annotation.id][MODEL] = None
                found[parent][MODEL] = None
    kept = annotations.kept()
    for id_ in _contested(kept.regions):
        found[id_][SPECIALISTS] = None
    parties = {}
    for id_, names in found.items():
        parties[id_] = list(names)
    return parties


def _is_replaced(old: Annotation | None, new: Annotation) -> bool:
    """Whether a new label was made against an old one: of its type, with other words."""
    if old is None or type(old) is not type(new):
        return False
    if old.round == new.round:
        return False
    return words(old) != words(new)


def _contested(regions: Sequence[Region]) -> list[str]:
    """The ids of regions on whose object another source has set another category."""
    if not regions:
        return []
    boxes = [region.box for region in regions]
    overlaps = box_iou(boxes, boxes)
    ids = []
    for i, region in enumerate(regions):
        for j, other in enumerate(regions):
            if overlaps[i, j] < _SAME_BOX:
                continue
            if other.source == region.source:
                continue
            if other.phrase != region.phrase:
                ids.append(region.id)
    return ids
