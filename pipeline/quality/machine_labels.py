"""The labels that a round would hold if people had labelled nothing.

`fld evaluate` measures them, and the gate compares them with what people said.

A machine's box of the same thing as a human one is dropped for it, so the boxes that are left say
nothing of how good the machine is. The round's own region filters decide anew without the human
labels. In round 0 that is what the same run makes of images without human labels. In later rounds
this holds only for the groups of labels that people have completed in a review. Elsewhere the merge
has seen the human labels, too, and its decisions stay.
"""

from __future__ import annotations

from collections.abc import Collection, Iterable, Iterator, Sequence
from dataclasses import replace

from pipeline.quality.calibrated_round import Filters
from pipeline.rows import Record
from pipeline.schema import KINDS, REVIEWED, Annotations
from stages import registry
from stages.base import Failed, Sample, Stage

REGION_FILTER = "region_filter"
# Reasons of the region filter that another box gives. A human box may have been that box.
OVERLAPS = ("duplicate_of_human", "class_overlap", "any_overlap")


def machine_records(records: Iterable[Record], filters: Filters) -> Iterator[Record]:
    """Each record with the machine-made labels alone, as the filters decide on these."""
    stages = region_filters(filters)
    for record in records:
        if not any(annotation.locked for annotation in record.annotations.all()):
            yield record
            continue
        labels = without_people(record.annotations, OVERLAPS if stages else ())
        sample = Sample(record.key, (record.width, record.height), annotations=labels)
        yield replace(record, annotations=as_filtered(sample, stages))


def region_filters(filters: Filters) -> list[Stage]:
    """The region filters among the filters of a run."""
    stages: list[Stage] = []
    for entry in filters.values():
        if entry.use == REGION_FILTER:
            stage, _ = registry.load(entry.use)
            stages.append(stage(entry.options))
    return stages


def as_filtered(sample: Sample, filters: Sequence[Stage]) -> Annotations:
    """The labels of a sample after the filters, one after the other."""
    labels = sample.annotations
    for stage in filters:
        result = stage([replace(sample, annotations=labels)])[0]
        assert not isinstance(result, Failed), "a filter fails on no sample"
        labels = labels.overlaid(result)
    return labels


def without_people(annotations: Annotations, reasons: Collection[str] = OVERLAPS) -> Annotations:
    """The machine-made labels; those that were dropped for one of the reasons are kept again."""
    labels = Annotations()
    for kind in KINDS:
        for annotation in getattr(annotations, kind):
            if annotation.locked:
                continue
            # Reviewed labels are dropped before any filter sees them.
            if annotation.dropped in (REVIEWED, *reasons):
                annotation = replace(annotation, dropped=None)
            getattr(labels, kind).append(annotation)
    return labels
