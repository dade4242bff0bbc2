"""The rows of a release's tables, as records; `pipeline.storage.arrow` makes the schemas of them.

Boxes are xyxy in pixels of the released image, but `Objects.bbox`, which is x, y, width and height
as `datasets` and COCO have it.
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import Any

from pipeline.rows import Record
from pipeline.schema import KINDS, Region, Text, TextRegion, Triplet
from pipeline.storage.tars import Member

TYPES = {
    "texts": "text",
    "regions": "region",
    "text_regions": "text_region",
    "triplets": "triplet",
}
"""The value of the column `type` by the kind of annotation."""


@dataclass(frozen=True, slots=True, kw_only=True)
class SampleRow:
    """Where a sample lies, and what it has: a row of the index."""

    key: str
    shard: str
    split: str
    source: str
    """The source of its image, by its name in the card."""
    licence: str
    """The licence of its image."""
    name: str
    """Its name in the source."""
    sha256: str
    """Of the image."""
    width: int
    """Of the image, in pixels."""
    height: int
    """Of the image, in pixels."""
    member: str | None
    """The image's file in the tar, None if the release has references only."""
    image_offset: int | None
    """Where the image's bytes begin in the tar."""
    image_size: int | None
    """How many bytes the image has."""
    json_offset: int
    """Where the record's bytes begin in the tar."""
    json_size: int
    """How many bytes the record has."""
    texts: int
    regions: int
    text_regions: int
    triplets: int


@dataclass(frozen=True, slots=True, kw_only=True)
class AnnotationRow:
    """One annotation; a column that its type does not have is None."""

    key: str
    id: str
    """Unique in its sample."""
    type: str
    """One of `TYPES`."""
    source: str
    """The stage that made it, or `human`."""
    model: str
    revision: str
    """The commit or the content of the model."""
    round: int
    """The round in which it was made."""
    score: float | None
    """The raw score of its source."""
    confidence: float | None
    """How likely the merge believes it to be right."""
    agreement: float | None
    """The share of an ensemble's members that agree on it."""
    parents: list[str]
    """The annotations that it was made from; they need not be released."""
    granularity: str | None = None
    """Of a text: brief, detailed, more_detailed or alt."""
    text: str | None = None
    """The text, the brief text of a region, or the string of a text region."""
    phrase: str | None = None
    """The category of a region, or the phrase of a triplet."""
    text_id: str | None = None
    """Of a triplet: its text."""
    start: int | None = None
    """Of a triplet: the phrase's first character in the text."""
    end: int | None = None
    """Of a triplet: the character after the phrase."""
    box: list[float] | None = None
    """x0, y0, x1, y1 in pixels."""
    quad: list[float] | None = None
    """Four points, clockwise from the top left, in pixels."""
    mask: str | None = None
    """COCO's compressed run lengths on the grid of the image."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Objects:
    """The regions of a sample as lists of the same length."""

    id: list[str]
    bbox: list[list[float]]
    """x, y, width, height in pixels."""
    category: list[str]
    area: list[float]
    """Of the box, in square pixels."""
    text: list[str | None]
    """The brief text."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Captions:
    """The texts of a sample as lists of the same length."""

    id: list[str]
    granularity: list[str]
    text: list[str]


@dataclass(frozen=True, slots=True, kw_only=True)
class ObjectsRow:
    """A sample with its regions and texts, in the form of object detection in `datasets`."""

    key: str
    file_name: str
    """Its name in the source."""
    width: int
    height: int
    objects: Objects
    captions: Captions


@dataclass(frozen=True, slots=True, kw_only=True)
class RemovedRow:
    """What the round has and the release has not."""

    key: str
    type: str
    """`sample`, or the type of an annotation."""
    id: str | None
    """Of the annotation, None for a sample."""
    reason: str


@dataclass(frozen=True, slots=True, kw_only=True)
class FlagRow:
    """What a reader should know of an annotation, or of a part of an image."""

    key: str
    type: str
    """One of `TYPES`."""
    id: str
    """Of the annotation. A blurred region need not be released itself."""
    flag: str
    """`email_address` or `telephone_number` (personal data in a text), or `blurred`."""
    phrase: str | None = None
    """Of a blurred region: its category."""
    box: list[float] | None = None
    """Of a blurred region: x0, y0, x1, y1 in pixels."""


BLURRED = "blurred"
"""The flag of a region whose pixels are blurred, and the word in `Record.transform`."""
SAMPLE = "sample"
"""The type of a `RemovedRow` that is about a whole sample."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Place:
    """Where a sample was written."""

    shard: str
    split: str
    source: str
    licence: str
    image: Member | None
    """None if the release has references only."""
    record: Member


def sample_row(record: Record, place: Place) -> SampleRow:
    """The row of the index for a released record."""
    image = place.image
    counts: Any = {kind: len(getattr(record.annotations, kind)) for kind in KINDS}
    return SampleRow(
        key=record.key,
        shard=place.shard,
        split=place.split,
        source=place.source,
        licence=place.licence,
        name=record.name,
        sha256=record.sha256,
        width=record.width,
        height=record.height,
        member=image.name if image else None,
        image_offset=image.offset if image else None,
        image_size=image.size if image else None,
        json_offset=place.record.offset,
        json_size=place.record.size,
        **counts,
    )


def annotation_rows(record: Record) -> list[AnnotationRow]:
    """A row for each annotation of a released record."""
    rows = []
    for kind, type_ in TYPES.items():
        for annotation in getattr(record.annotations, kind):
            rows.append(
                AnnotationRow(
                    key=record.key,
                    id=annotation.id,
                    type=type_,
                    source=annotation.source,
                    model=annotation.model,
                    revision=annotation.revision,
                    round=annotation.round,
                    score=annotation.score,
                    confidence=annotation.confidence,
                    agreement=annotation.agreement,
                    parents=list(annotation.parents),
                    **_own_columns(annotation),
                )
            )
    return rows


def _own_columns(annotation: object) -> dict[str, Any]:
    """The columns that only the type of this annotation has."""
    if isinstance(annotation, Text):
        return {"granularity": annotation.granularity, "text": annotation.text}
    if isinstance(annotation, TextRegion):
        return {"text": annotation.text, "quad": list(annotation.quad)}
    assert isinstance(annotation, Region | Triplet)
    columns: dict[str, Any] = {
        "phrase": annotation.phrase,
        "box": list(annotation.box),
        "mask": annotation.mask.counts if annotation.mask else None,
    }
    if isinstance(annotation, Region):
        return {**columns, "text": annotation.brief}
    return {
        **columns,
        "text_id": annotation.text_id,
        "start": annotation.start,
        "end": annotation.end,
    }


def objects_row(record: Record) -> ObjectsRow:
    """The row of a released record in the form of object detection."""
    objects = Objects(
        id=[],
        bbox=[],
        category=[],
        area=[],
        text=[],
    )
    for region in record.annotations.regions:
        left, top, right, bottom = region.box
        width, height = right - left, bottom - top
        objects.id.append(region.id)
        objects.bbox.append([left, top, width, height])
        objects.category.append(region.phrase)
        objects.area.append(width * height)
        objects.text.append(region.brief)
    captions = Captions(id=[], granularity=[], text=[])
    for text in record.annotations.texts:
        captions.id.append(text.id)
        captions.granularity.append(text.granularity)
        captions.text.append(text.text)
    return ObjectsRow(
        key=record.key,
        file_name=record.name,
        width=record.width,
        height=record.height,
        objects=objects,
        captions=captions,
    )
