"""The labels of one sample in all rounds, each different label and each mask once."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass, field

from pipeline.report.disputes import disputes
from pipeline.report.overlay import Colours, outlines
from pipeline.report.panels import svg_path
from pipeline.schema import (
    KINDS,
    Annotation,
    Annotations,
    Mask,
    Region,
    Text,
    TextRegion,
    Triplet,
)
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


class Labels:
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
            score=rounded(annotation.score),
            confidence=rounded(annotation.confidence),
            support=rounded(annotation.support),
            agreement=rounded(annotation.agreement),
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


def rounded(value: float | None) -> float | None:
    """A score to a thousandth, which a page cannot show more finely."""
    return None if value is None else round(value, 3)
