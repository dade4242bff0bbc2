"""What a model says of labels that a review has dropped.

Where people have reviewed a sample, their labels stand and those of machines are dropped. The model
judges the dropped ones, too. So the gate can tell what the merge would have made of the sample if
nobody had reviewed it, and compares that with what people said. The round itself does not change:
all that is said of a dropped label is dropped for the same reason.
"""

from __future__ import annotations

from dataclasses import replace

from pipeline.schema import KINDS, REVIEWED, Annotations


def as_if_unreviewed(annotations: Annotations) -> Annotations:
    """The labels of a sample; those of machines that a review has dropped are kept again."""
    shown = Annotations()
    for kind in KINDS:
        for label in getattr(annotations, kind):
            if label.is_dropped_by_review:
                label = replace(label, dropped=None)
            getattr(shown, kind).append(label)
    return shown


def with_reviewed_dropped(result: Annotations, annotations: Annotations) -> Annotations:
    """What a model said of a sample with `annotations`; about labels that a review has dropped,
    it is dropped as well."""
    hidden = {label.id for label in annotations.all() if label.is_dropped_by_review}
    if not hidden:
        return result
    said = Annotations()
    for kind in KINDS:
        for label in getattr(result, kind):
            if label.id in hidden or not hidden.isdisjoint(label.parents):
                label = replace(label, dropped=REVIEWED)
            getattr(said, kind).append(label)
    return said
