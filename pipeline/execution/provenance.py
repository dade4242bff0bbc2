"""Where annotations come from: the worker fills it in, so that no stage has to."""

from __future__ import annotations

import dataclasses
from collections.abc import Mapping
from typing import Any

from pipeline.config.validation import Settings
from pipeline.plan.graph import Node
from pipeline.quality.reviewed import Review
from pipeline.rows import Row
from pipeline.schema import KINDS, Annotation, Annotations, Text
from stages.base import Failed, Result, Sample, role_of


def result_row(node: Node, sample: Sample, result: Result) -> Row:
    """What a stage made of a sample, as a row of its table.

    Additions get an id and their origin. Labels of machines are dropped if a person has reviewed
    what they are about. Human labels are left out unless they were changed.
    """
    if isinstance(result, Failed):
        return Row(key=sample.key, failed=result.reason, detail=result.detail or None)
    before = {annotation.id: annotation for annotation in sample.annotations.all()}
    # The merge compares what a model says with human labels, too, so it must see all of it.
    review = None if node.is_before_merge else Review.of(sample.annotations)
    stamped = Annotations()
    for kind in KINDS:
        for number, annotation in enumerate(getattr(result, kind)):
            with_origin = _with_origin(
                node,
                annotation,
                f"{kind}.{number}",
                before,
            )
            if review is not None:
                with_origin = review.judged(with_origin)
            is_unchanged_label = with_origin.locked and with_origin == before.get(with_origin.id)
            if not is_unchanged_label:
                getattr(stamped, kind).append(with_origin)
    return Row(key=sample.key, annotations=stamped)


def _with_origin(
    node: Node,
    annotation: Any,
    index: str,
    before: Mapping[str, Annotation],
) -> Annotation:
    """An annotation with its origin.

    A revision keeps the origin of what it revises. Human labels are read-only: a revision of one is
    discarded, except that a text may gain its parse.
    """
    if annotation.id:
        return _revised(node, annotation, before)
    stamped: Annotation = dataclasses.replace(
        annotation,
        id=f"{node.round}.{node.entry.name}.{index}",
        source=annotation.source or node.entry.name,
        model=_model_name(node.entry.options) or node.entry.use,
        revision=node.revision,
        round=node.round,
    )
    return stamped


def _revised(node: Node, annotation: Any, before: Mapping[str, Annotation]) -> Annotation:
    assert annotation.id in before, f"{node.name} revises {annotation.id}, which it was not given"
    original = before[annotation.id]
    if not original.locked:
        revised: Annotation = annotation
        return revised
    if isinstance(original, Text):
        return dataclasses.replace(original, parse=annotation.parse)
    return original


def _model_name(options: Settings) -> str:
    """The last part of the path or hub name of a stage's first model or data file, "" if none."""
    for field in dataclasses.fields(options):
        if role_of(field).content:
            return str(getattr(options, field.name)).rstrip("/").rsplit("/", 1)[-1]
    return ""
