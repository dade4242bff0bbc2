"""The labels that a round would hold if people had labelled nothing: what `fld evaluate` measures.

A machine's box of the same thing as a human one is dropped for it, so the boxes that are left say
nothing of how good the machine is. The round's own region filters decide anew without the human
labels. In round 0 that is what the same run makes of images without human labels. In later rounds
the merge has seen them, too; its decisions stay.
"""

from __future__ import annotations

from collections.abc import Collection, Iterable, Iterator
from dataclasses import replace

from pipeline.quality.calibrated_round import Filters
from pipeline.quality.reviewed import REVIEWED
from pipeline.schema import KINDS, Annotations, Record
from stages import registry
from stages.base import Sample

REGION_FILTER = "region_filter"
# Reasons of the region filter that another box gives. A human box may have been that box.
OVERLAPS = ("duplicate_of_human", "class_overlap", "any_overlap")


def machine_records(records: Iterable[Record], filters: Filters) -> Iterator[Record]:
    """Each record with the machine-made labels alone, as the filters decide on these."""
    stages = []
    for entry in filters.values():
        if entry.use == REGION_FILTER:
            stage, _ = registry.load(entry.use)
            stages.append(stage(entry.options))
    for record in records:
        if not any(annotation.locked for annotation in record.annotations.all()):
            yield record
            continue
        labels = _without_people(record.annotations, OVERLAPS if stages else ())
        for stage in stages:
            sample = Sample(record.key, (record.width, record.height), annotations=labels)
            labels = labels.overlaid(stage([sample])[0])
        yield replace(record, annotations=labels)


def _without_people(annotations: Annotations, reasons: Collection[str]) -> Annotations:
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
