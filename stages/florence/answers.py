"""A model's answers as annotations: regions, text regions and grounded phrases, with their scores.

Boxes are xyxy in absolute pixels, scores are probabilities and supports are log-probabilities in
nats, as in `pipeline.schema`.
"""

from __future__ import annotations

import math
import re
from collections.abc import Sequence
from dataclasses import dataclass, replace
from itertools import groupby

from pipeline.schema import Box, Candidate, Quad, Region, Text, TextRegion, Triplet
from stages.florence import codec
from stages.florence.detokenise import AnswerText
from stages.florence.tasks import Example
from stages.geometry import area, iou

_ANY_SIZE = (1, 1)  # for answers of which only the label is read


@dataclass(frozen=True, slots=True)
class ScoredBox:
    """A labelled box of an answer."""

    box: Box
    """xyxy, in absolute pixels."""

    label: str
    """The words that the answer gives it."""

    score: float
    """Exponential of the mean belief in the tokens of label and box."""


@dataclass(frozen=True, slots=True)
class GroundedPhrase:
    """A phrase of a text and the place that an answer gives it."""

    start: int
    """First character of the phrase in the text."""

    end: int
    """Character after the phrase."""

    place: codec.Place
    """Where it is in the image."""


def label_support(example: Example, answer: AnswerText) -> dict[str, float]:
    """Return the mean belief in each annotation's own tokens, in nats, by the annotation's id.

    Args:
        example: a question, its target, and where the target says each annotation.
        answer: the target as the model was forced to write it. If it was cut, the annotations at
            its end are left out of the result.
    """
    support = {}
    for annotation_id, spans in example.label_spans.items():
        if all(end <= len(answer.text) for _, end in spans):
            support[annotation_id] = answer.mean_belief(spans)
    return support


def regions_from_answers(
    detection: AnswerText | None,
    dense: AnswerText | None,
    size: codec.Size,
    min_iou: float,
) -> list[Region]:
    """Combine the answers of object detection and of dense captions into regions.

    A detected box takes the description of the dense caption that overlaps it most, if their IoU
    is at least `min_iou`. Described boxes that overlap no region so much become regions of their
    own. Their category is not known yet, so `phrase` is empty.

    Args:
        detection: answer to `<OD>`; None if it was not asked.
        dense: answer to `<DENSE_REGION_CAPTION>`; None if it was not asked.
        size: width and height of the image, in pixels.
        min_iou: overlap from which a description belongs to a detected box.

    Returns:
        Regions with boxes in pixels, the detected ones first.
    """
    described = _labelled_boxes(dense, size)
    found: list[Region] = []
    for detected in _labelled_boxes(detection, size):
        description = _description_of(detected.box, described, min_iou)
        region = Region(box=detected.box, phrase=detected.label, score=detected.score)
        found.append(relabelled(region, detected.label, description))
    for candidate in described:
        if all(iou(candidate.box, region.box) < min_iou for region in found):
            region = Region(
                box=candidate.box,
                phrase="",
                brief=candidate.label,
                brief_kind="caption",
                score=candidate.score,
            )
            found.append(region)
    return found


def _description_of(box: Box, described: Sequence[ScoredBox], min_iou: float) -> str:
    """The label of the box that overlaps most; empty if none overlaps enough."""
    nearest = max(described, key=lambda other: iou(other.box, box), default=None)
    if nearest is None or iou(nearest.box, box) < min_iou:
        return ""
    return nearest.label


def _labelled_boxes(answer: AnswerText | None, size: codec.Size) -> list[ScoredBox]:
    """The boxes of an answer that have a label and an area.

    A model that has learned little writes many boxes without any area.
    """
    if answer is None:
        return []
    found = []
    for place in codec.places(answer.text, size, 4):
        box = _box(place)
        if place.label and area(box) > 0:
            score = math.exp(answer.mean_belief(place.spans))
            found.append(ScoredBox(box, place.label, score))
    return found


def relabelled(region: Region, category: str, description: str) -> Region:
    """Return the region with other labels. Without a description, its brief is the category."""
    candidates = [Candidate(text=category, kind="phrase")]
    if description and description != category:
        candidates.append(Candidate(text=description, kind="caption"))
    return replace(
        region,
        phrase=category,
        brief=description or category,
        brief_kind=candidates[-1].kind,
        candidates=candidates,
    )


def region_label(answer: AnswerText) -> str:
    """Read what an answer calls a region; empty if the answer names no place."""
    places = codec.places(answer.text, _ANY_SIZE, 4)
    return places[0].label if places else ""


def text_regions_from_answer(answer: AnswerText, size: codec.Size) -> list[TextRegion]:
    """Read the texts and quads of an answer; `size` is (width, height) in pixels."""
    found = []
    for place in codec.places(answer.text, size, 8):
        if place.label:
            text_region = TextRegion(
                quad=_quad(place),
                text=place.label,
                score=math.exp(answer.mean_belief(place.spans)),
                support=answer.mean_belief(place.spans[:1]),
            )
            found.append(text_region)
    return found


def triplets_from_answer(text: Text, answer: AnswerText, size: codec.Size) -> list[Triplet]:
    """Read the grounded phrases of a text, each with its boxes; boxes without an area are left out.

    `size` is (width, height) in pixels.
    """
    found = []
    for grounded in find_phrases(text, codec.places(answer.text, size, 4)):
        box = _box(grounded.place)
        if area(box) <= 0:
            continue
        spans = grounded.place.spans
        triplet = Triplet(
            text_id=text.id,
            phrase=text.text[grounded.start : grounded.end],
            start=grounded.start,
            end=grounded.end,
            box=box,
            score=math.exp(answer.mean_belief(spans[1:])),
            phrase_score=math.exp(answer.mean_belief(spans[:1])),
            support=answer.mean_belief(spans),
        )
        found.append(triplet)
    return found


def find_phrases(text: Text, places: Sequence[codec.Place]) -> list[GroundedPhrase]:
    """Find each grounded phrase in its text, from left to right.

    A phrase that the answer writes again means its next occurrence in the text, or the last one if
    no more follow. Only whole words count. Phrases that do not occur are left out, and so is a box
    that is repeated for the same phrase.
    """
    grounded: dict[tuple[int, tuple[float, ...]], GroundedPhrase] = {}
    offset = 0
    for (label, _), group in groupby(places, key=lambda place: (place.label, place.spans[0])):
        start = _find_words(label, text.text, offset)
        if start is None:
            continue
        end = start + len(label)
        offset = max(offset, end)
        for place in group:
            grounded.setdefault((start, place.points), GroundedPhrase(start, end, place))
    return list(grounded.values())


def _find_words(words: str, text: str, offset: int) -> int | None:
    """Where whole words stand in a text: first at or after `offset`, else last, else nowhere."""
    if not words:
        return None
    found = None
    for match in re.finditer(rf"(?<!\w){re.escape(words)}(?!\w)", text):
        found = match.start()
        if found >= offset:
            break
    return found


def _box(place: codec.Place) -> Box:
    x1, y1, x2, y2 = place.points
    return (x1, y1, x2, y2)


def _quad(place: codec.Place) -> Quad:
    x1, y1, x2, y2, x3, y3, x4, y4 = place.points
    return (x1, y1, x2, y2, x3, y3, x4, y4)
