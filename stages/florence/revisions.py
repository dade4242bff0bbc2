"""The pure part of refinement: answers become new annotations and judgements."""

from __future__ import annotations

import math
from collections.abc import Sequence
from dataclasses import dataclass, replace
from typing import TypeVar

from pipeline.schema import Annotation, Annotations, Text
from stages.florence import codec
from stages.florence.answers import (
    region_label,
    regions_from_answers,
    relabelled,
    text_regions_from_answer,
    triplets_from_answer,
)
from stages.florence.detokenise import AnswerText
from stages.florence.generation import Question
from stages.florence.tasks import TEXT_TASKS

DETECTION = "<OD>"
DENSE = "<DENSE_REGION_CAPTION>"
GROUNDING = "<CAPTION_TO_PHRASE_GROUNDING>"
OCR = "<OCR_WITH_REGION>"
CATEGORY = "<REGION_TO_CATEGORY>"
DESCRIPTION = "<REGION_TO_DESCRIPTION>"

_OWN = "own."  # begins the ids of the model's regions while they are judged with the shown ones
_A = TypeVar("_A", bound=Annotation)


@dataclass(frozen=True, slots=True)
class AnnotationQuestion:
    """A question about an image or one of its annotations."""

    task: str
    """Token of the task, for example `<OD>`."""

    about: Annotation | None
    """Text or region that the question is about; None is the whole image."""

    question: Question
    """What the model is asked."""


@dataclass(frozen=True, slots=True)
class AnsweredQuestion:
    """The answer to an `AnnotationQuestion`."""

    task: str
    """Token of the task, for example `<OD>`."""

    about: Annotation | None
    """Text or region that the question was about; None is the whole image."""

    answer: AnswerText
    """What the model says."""


def new_annotations(
    answered: Sequence[AnsweredQuestion],
    size: codec.Size,
    min_iou: float,
) -> Annotations:
    """Return what the answers about one image say.

    The regions have temporary ids. `size` is (width, height) in pixels; `min_iou` is the overlap
    from which a dense caption describes a detected box.
    """
    new = Annotations()
    about_image = {item.task: item.answer for item in answered if item.about is None}
    for token, granularity in TEXT_TASKS.items():
        answer = about_image.get(token)
        if answer is not None and answer.text.strip():
            belief = answer.mean_belief()
            text = Text(
                granularity=granularity,
                text=answer.text.strip(),
                score=math.exp(belief),
                support=belief,
            )
            new.texts.append(text)
    regions = regions_from_answers(
        about_image.get(DETECTION),
        about_image.get(DENSE),
        size,
        min_iou,
    )
    for i, region in enumerate(regions):
        new.regions.append(replace(region, id=f"{_OWN}{i}"))
    if OCR in about_image:
        new.text_regions.extend(text_regions_from_answer(about_image[OCR], size))
    for item in answered:
        if isinstance(item.about, Text):
            new.triplets.extend(triplets_from_answer(item.about, item.answer, size))
    return new


def _by_task_and_id(
    answered: Sequence[AnsweredQuestion],
) -> dict[tuple[str, str], AnswerText]:
    """The answers about single annotations, by task and the annotation's id."""
    answers = {}
    for item in answered:
        if item.about is not None:
            answers[item.task, item.about.id] = item.answer
    return answers


def with_requested_labels(own: Annotations, answered: Sequence[AnsweredQuestion]) -> Annotations:
    """Add the categories and descriptions that own regions were asked for.

    Regions that got no category are left out.
    """
    answers = _by_task_and_id(answered)
    labelled = []
    for region in own.regions:
        category, description = region.phrase, region.brief or ""
        if not category:
            category = region_label(answers[CATEGORY, region.id])
        elif (DESCRIPTION, region.id) in answers:
            description = region_label(answers[DESCRIPTION, region.id])
        if category:
            labelled.append(relabelled(region, category, description))
    return replace(own, regions=labelled)


def with_own_regions(shown: Annotations, own: Annotations) -> Annotations:
    """Return the shown annotations together with the model's own regions."""
    return replace(shown, regions=[*shown.regions, *own.regions])


def with_support(annotations: Annotations, support: dict[str, float]) -> Annotations:
    """Return the annotations that were judged, with their support, and all own regions.

    `support` is by id, in nats.
    """
    return Annotations(
        _judged(annotations.texts, support),
        _judged(annotations.regions, support),
        _judged(annotations.text_regions, support),
        _judged(annotations.triplets, support),
    )


def _judged(annotations: Sequence[_A], support: dict[str, float]) -> list[_A]:
    judged = []
    for annotation in annotations:
        if annotation.id in support or annotation.id.startswith(_OWN):
            judged.append(replace(annotation, support=support.get(annotation.id)))
    return judged


def join_results(judged: Annotations, own: Annotations) -> Annotations:
    """Return the judged annotations, then everything new without ids.

    `judged` holds the own regions already.
    """
    regions = []
    for region in judged.regions:
        regions.append(replace(region, id="") if region.id.startswith(_OWN) else region)
    return Annotations(
        judged.texts + own.texts,
        regions,
        judged.text_regions + own.text_regions,
        judged.triplets + own.triplets,
    )
