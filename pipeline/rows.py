"""The rows of tables, and the record of a sample: what `schema` says of it, with its key and its
failures. No other file invents a field.
"""

from __future__ import annotations

from dataclasses import dataclass, field

from pipeline.schema import SCHEMA_VERSION, Annotations


@dataclass(frozen=True, slots=True, kw_only=True)
class ImageRow:
    """What ingest did with one image of the source: a row of `images/<shard>.parquet`."""

    key: str
    """Names the sample; ASCII without dots."""
    name: str
    """Its name in the source."""
    failed: str | None = None
    """None, or the reason why there is no image."""
    detail: str | None = None
    """A line about the failure."""
    member: str | None = None
    """Its file in the shard's tar."""
    offset: int | None = None
    """Where its bytes begin in the tar."""
    size: int | None = None
    """How many bytes it has."""
    width: int | None = None
    """Of the stored image, in pixels."""
    height: int | None = None
    """Of the stored image, in pixels."""
    sha256: str | None = None
    """Of the stored bytes."""
    source_sha256: str | None = None
    """Of the bytes that came. It differs from `sha256` only where `transform` is set."""
    transform: str | None = None
    """What was done to the pixels before they were stored (`pipeline/storage/transforms.py`)."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Row:
    """What a stage made of one sample: a row of a signals table."""

    key: str
    failed: str | None = None
    """None, or the reason why the stage could not do the sample."""
    detail: str | None = None
    """A line about the failure."""
    annotations: Annotations = field(default_factory=Annotations)


@dataclass(frozen=True, slots=True, kw_only=True)
class Failure:
    """A stage that could not do this sample, so that its annotations are missing."""

    stage: str
    reason: str
    detail: str | None = None


@dataclass(frozen=True, slots=True, kw_only=True)
class Record:
    """One sample of a round: `KEY.json` of its public shards, and a row of its records table."""

    schema_version: int = SCHEMA_VERSION
    key: str
    name: str
    """Its name in the source."""
    width: int
    """Of the stored image, in pixels."""
    height: int
    """Of the stored image, in pixels."""
    sha256: str
    """Of the stored bytes."""
    transform: str | None = None
    """What was done to the pixels before they were stored (`pipeline/storage/transforms.py`)."""
    failures: list[Failure] = field(default_factory=list)
    annotations: Annotations = field(default_factory=Annotations)
    """Dropped ones too, with their reasons."""


@dataclass(frozen=True, slots=True, kw_only=True)
class IndexRow:
    """Where a sample of a round lies, and what annotations it has: a row of `index.parquet`.

    Offsets and sizes are bytes, so that a range request reads one sample. Those of the record are
    in the round's tar. Those of the image are in the same tar, or with `rounds.images: reference`
    in `images/SHARD.tar`.
    """

    key: str
    shard: str
    image_offset: int
    image_size: int
    json_offset: int
    json_size: int
    width: int
    """Of the stored image, in pixels."""
    height: int
    """Of the stored image, in pixels."""
    texts: int
    """How many texts are kept."""
    regions: int
    """How many regions are kept."""
    text_regions: int
    """How many text regions are kept."""
    triplets: int
    """How many triplets are kept."""
    granularities: list[str] = field(default_factory=list)
    """The granularities of its kept texts in alphabetical order, each once."""
