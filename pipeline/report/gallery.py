"""The samples of the report as values that its script reads and draws.

A label that is the same in several rounds is stored once; a round is a list of label numbers. So is
a mask that several labels share.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field

from pipeline.refinement.changes import changes
from pipeline.report.disputes import disputes
from pipeline.report.embedded import light_data_uri
from pipeline.report.explain import describe_change
from pipeline.report.overlay import Colours, outlines
from pipeline.report.palette import PALETTE, QUAD_COLOUR, ink_on
from pipeline.report.panels import svg_path
from pipeline.report.views import NAMES, PictureView, ReportData, RoundView
from pipeline.schema import KINDS, Annotation, Annotations, Mask, Region, Text, TextRegion, Triplet
from pipeline.storage.arrow import to_dict
from pipeline.storage.json_types import Json


@dataclass(frozen=True, slots=True, kw_only=True)
class Label:
    """One annotation. Fields without a value are left out of the page."""

    kind: str
    """A key of `KINDS`."""
    id: str
    source: str
    dropped: str | None
    """Why it is dropped."""
    score: float | None
    confidence: float | None
    support: float | None
    agreement: float | None
    disputes: tuple[str, ...] | None
    """Which parties disagree on it (`disputes.py`)."""
    object: int | None = None
    """The number of its object in the picture; equal numbers have equal colours."""
    box: tuple[float, ...] | None = None
    """xyxy in pixels, of a region or triplet."""
    quad: tuple[float, ...] | None = None
    """Four points (x, y) in pixels, of a text region."""
    mask: int | None = None
    """The number of its mask in the sample."""
    granularity: str | None = None
    text: str | None = None
    """Of a text or text region."""
    phrase: str | None = None
    """Of a region (its category) or triplet."""
    brief: str | None = None
    text_id: str | None = None
    """The text that a triplet belongs to."""
    start: int | None = None
    """First character of the phrase in that text."""
    end: int | None = None
    """The character after the last one."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Step:
    """One difference between a round and the round that it began with."""

    what: str
    """added, changed or dropped."""
    line: str
    """A line about it."""


@dataclass(slots=True, kw_only=True)
class Sample:
    """One sample in all rounds."""

    key: str
    size: tuple[int, int]
    """(width, height) in pixels of the stored image; all places are in these pixels."""
    labels: list[Label] = field(default_factory=list)
    masks: list[str] = field(default_factory=list)
    """SVG paths, to be filled by the even-odd rule."""
    rounds: list[list[int] | None] = field(default_factory=list)
    """By round, and for the truth at the end, the numbers of its labels; None if it has none."""
    steps: list[list[Step]] = field(default_factory=list)
    """By round, what it changed."""
    failures: list[list[str]] = field(default_factory=list)
    """By round, a line for each stage that could not do the sample."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Gallery:
    """All samples, and what the script must know of the rounds."""

    values: Json
    """Everything but the images."""
    images: list[str]
    """The image of each sample as a data URI."""


def gallery(data: ReportData) -> Gallery:
    """What the gallery of a report shows."""
    samples = []
    images = []
    for view in data.pictures:
        samples.append(_plain(_sample(view, data.rounds)))
        images.append(light_data_uri(view.image))
    names = [view.name for view in data.rounds]
    rounds: list[Json] = []
    for view in data.rounds:
        parent = _parent(view, names)
        rounds.append({"name": view.name, "status": view.status, "parent": parent})
    truth = any(view.truth is not None for view in data.pictures)
    values = {
        "rounds": rounds,
        "head": names.index(data.head) if data.head in names else 0,
        "truth": truth,
        "kinds": {kind: NAMES[kind] for kind in KINDS},
        "palette": [{"colour": colour, "ink": ink_on(colour)} for colour in PALETTE],
        "quad": {"colour": QUAD_COLOUR, "ink": ink_on(QUAD_COLOUR)},
        "samples": samples,
    }
    return Gallery(values=values, images=images)


def _parent(view: RoundView, names: Sequence[str]) -> int | None:
    """The number of the round that a round began with, None for round 0."""
    return names.index(view.parent) if view.parent in names else None


def _sample(view: PictureView, rounds: Sequence[RoundView]) -> Sample:
    """One sample; its objects have the same numbers in all rounds and in the truth."""
    sample = Sample(key=view.key, size=view.size)
    labels = _Labels(sample)
    for of_round in rounds:
        annotations = view.rounds.get(of_round.name)
        sample.rounds.append(None if annotations is None else labels.add(annotations))
        sample.steps.append(_steps(view.rounds, of_round))
        failures = []
        for failure in view.failures.get(of_round.name, ()):
            detail = f": {failure.detail}" if failure.detail else ""
            failures.append(f"{failure.stage}: {failure.reason}{detail}")
        sample.failures.append(failures)
    sample.rounds.append(None if view.truth is None else labels.add(view.truth))
    return sample


def _steps(annotations: Mapping[str, Annotations], view: RoundView) -> list[Step]:
    """What a round changed in the labels that it began with."""
    if view.parent not in annotations or view.name not in annotations:
        return []
    steps = []
    for change in changes(annotations[view.parent], annotations[view.name]):
        steps.append(Step(what=change.what, line=describe_change(change)))
    return steps


class _Labels:
    """Adds labels and masks to a sample, each different one once."""

    def __init__(self, sample: Sample) -> None:
        self._sample = sample
        self._colours = Colours()
        self._numbers: dict[Label, int] = {}
        self._masks: dict[Mask, int] = {}

    def add(self, annotations: Annotations) -> list[int]:
        """The numbers of these annotations."""
        disputed = disputes(annotations)
        numbers = []
        for kind in KINDS:
            for annotation in getattr(annotations, kind):
                label = self._label(kind, annotation, disputed.get(annotation.id, ()))
                number = self._numbers.setdefault(label, len(self._numbers))
                if number == len(self._sample.labels):
                    self._sample.labels.append(label)
                numbers.append(number)
        return numbers

    def _label(self, kind: str, annotation: Annotation, parties: Sequence[str]) -> Label:
        return Label(
            kind=kind,
            id=annotation.id,
            source=annotation.source,
            dropped=annotation.dropped,
            score=_rounded(annotation.score),
            confidence=_rounded(annotation.confidence),
            support=_rounded(annotation.support),
            agreement=_rounded(annotation.agreement),
            disputes=tuple(parties) or None,
            **self._content(annotation),
        )

    def _content(self, annotation: Annotation) -> Json:
        """What the label says, and where."""
        match annotation:
            case Text():
                return {"granularity": annotation.granularity, "text": annotation.text}
            case TextRegion():
                return {"quad": _place(annotation.quad), "text": annotation.text}
            case Region():
                content = self._place_of(annotation)
                return {**content, "phrase": annotation.phrase, "brief": annotation.brief}
            case Triplet():
                content = self._place_of(annotation)
                content["phrase"] = annotation.phrase
                content["text_id"] = annotation.text_id
                content["start"] = annotation.start
                content["end"] = annotation.end
                return content
        raise TypeError(f"not an annotation: {annotation!r}")

    def _place_of(self, annotation: Region | Triplet) -> Json:
        """The box, its object and its mask."""
        place: Json = {
            "box": _place(annotation.box),
            "object": self._colours.number(annotation.box),
        }
        if annotation.mask is not None:
            place["mask"] = self._mask(annotation.mask)
        return place

    def _mask(self, mask: Mask) -> int:
        """The number of a mask."""
        number = self._masks.setdefault(mask, len(self._masks))
        if number == len(self._sample.masks):
            self._sample.masks.append(svg_path(outlines(mask)))
        return number


def _place(numbers: Sequence[float]) -> tuple[float, ...]:
    """Coordinates to a tenth of a pixel, which a drawing cannot show more finely."""
    return tuple(round(number, 1) for number in numbers)


def _rounded(value: float | None) -> float | None:
    return None if value is None else round(value, 3)


def _plain(sample: Sample) -> Json:
    """A sample as JSON values, without the empty fields of its labels."""
    values = to_dict(sample)
    labels = []
    for label in values["labels"]:
        filled = {name: value for name, value in label.items() if value is not None}
        labels.append(filled)
    values["labels"] = labels
    return values
