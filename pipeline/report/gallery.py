"""The samples of the report as values that its script reads and draws.

A label that is the same in several rounds is stored once; a round is a list of label numbers. So is
a mask that several labels share.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import asdict, dataclass, field

from pipeline.quality.doubt import MEASURE
from pipeline.quality.ranking import Ranked
from pipeline.refinement.changes import changes
from pipeline.report.disputes import disputes
from pipeline.report.embedded import light_data_uri
from pipeline.report.explain import describe_change
from pipeline.report.overlay import Colours, outlines
from pipeline.report.palette import PALETTE, QUAD_COLOUR, ink_on
from pipeline.report.panels import svg_path
from pipeline.report.views import NAMES, PictureView, ReportData, RoundView
from pipeline.schema import (
    KINDS,
    Annotation,
    Annotations,
    Failure,
    Mask,
    Region,
    Text,
    TextRegion,
    Triplet,
)
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
        sample = _sample(view, data.rounds)
        samples.append(_plain(sample))
        images.append(light_data_uri(view.image))
    names = [view.name for view in data.rounds]
    head = _number_of(data.head, names)
    places = {view.key: number for number, view in enumerate(data.pictures)}
    values = {
        "rounds": [_round(view, names, places) for view in data.rounds],
        "head": 0 if head is None else head,
        "kinds": {kind: NAMES[kind] for kind in KINDS},
        "palette": [_colour(colour) for colour in PALETTE],
        "quad": _colour(QUAD_COLOUR),
        "samples": samples,
        "images": data.images,
        "measure": MEASURE,
        "failures": data.failures,
        "failed": [{**asdict(view), "sample": places.get(view.key)} for view in data.failed],
    }
    return Gallery(values=values, images=images)


def _round(view: RoundView, names: Sequence[str], places: Mapping[str, int]) -> Json:
    """A round, with the number of the round that it began with and with its rankings."""
    return {
        "name": view.name,
        "status": view.status,
        "parent": _number_of(view.parent, names),
        "unsure": _ranking(view.least_sure, places),
        "changed": _ranking(view.most_changed, places),
    }


def _ranking(samples: Sequence[Ranked], places: Mapping[str, int]) -> list[Json]:
    """The ranked samples that the report shows, by their numbers, the highest value first."""
    ranking: list[Json] = []
    for ranked in samples:
        if ranked.key in places:
            ranking.append({"sample": places[ranked.key], "value": _rounded(ranked.value)})
    return ranking


def _number_of(name: str | None, names: Sequence[str]) -> int | None:
    """The number of a round, None for no round."""
    if name not in names:
        return None
    return names.index(name)


def _colour(colour: str) -> Json:
    """A colour, and the ink of words on it."""
    return {
        "colour": colour,
        "ink": ink_on(colour),
    }


def _sample(view: PictureView, rounds: Sequence[RoundView]) -> Sample:
    """One sample; its objects have the same numbers in all rounds and in the truth."""
    sample = Sample(key=view.key, size=view.size)
    labels = _Labels(sample)
    for of_round in rounds:
        annotations = view.rounds.get(of_round.name)
        sample.rounds.append(labels.add(annotations))
        steps = _steps(view.rounds, of_round)
        sample.steps.append(steps)
        failures = view.failures.get(of_round.name, ())
        lines = [_failure(failure) for failure in failures]
        sample.failures.append(lines)
    sample.rounds.append(labels.add(view.truth))
    return sample


def _failure(failure: Failure) -> str:
    """One line about a stage that could not do the sample."""
    line = f"{failure.stage}: {failure.reason}"
    if failure.detail:
        line += f": {failure.detail}"
    return line


def _steps(annotations: Mapping[str, Annotations], view: RoundView) -> list[Step]:
    """What a round changed in the labels that it began with."""
    before = None if view.parent is None else annotations.get(view.parent)
    after = annotations.get(view.name)
    if before is None or after is None:
        return []
    steps = []
    for change in changes(before, after):
        line = describe_change(change)
        steps.append(Step(what=change.what, line=line))
    return steps


class _Labels:
    """Adds labels and masks to a sample, each different one once."""

    def __init__(self, sample: Sample) -> None:
        self._sample = sample
        self._colours = Colours()
        self._numbers: dict[Label, int] = {}
        self._masks: dict[Mask, int] = {}

    def add(self, annotations: Annotations | None) -> list[int] | None:
        """The numbers of these annotations, None if there is no such round."""
        if annotations is None:
            return None
        disputed = disputes(annotations)
        numbers = []
        for kind in KINDS:
            for annotation in getattr(annotations, kind):
                parties = disputed.get(annotation.id, ())
                label = self._label(kind, annotation, parties)
                number = self._number(label)
                numbers.append(number)
        return numbers

    def _number(self, label: Label) -> int:
        """The number of a label, which is added if it is new."""
        number = self._numbers.setdefault(label, len(self._numbers))
        if number == len(self._sample.labels):
            self._sample.labels.append(label)
        return number

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
                return {
                    "granularity": annotation.granularity,
                    "text": annotation.text,
                }
            case TextRegion():
                return {
                    "quad": _place(annotation.quad),
                    "text": annotation.text,
                }
            case Region():
                return {
                    **self._place_of(annotation),
                    "phrase": annotation.phrase,
                    "brief": annotation.brief,
                }
            case Triplet():
                return {
                    **self._place_of(annotation),
                    "phrase": annotation.phrase,
                    "text_id": annotation.text_id,
                    "start": annotation.start,
                    "end": annotation.end,
                }
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
            path = svg_path(outlines(mask))
            self._sample.masks.append(path)
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
        filled = {}
        for name, value in label.items():
            if value is not None:
                filled[name] = value
        labels.append(filled)
    values["labels"] = labels
    return values
