"""What a source is: it lists names, and gives the item of each name: bytes, labels, or a failure.

`ingest.py` decides what is stored of an item.
"""

from __future__ import annotations

import hashlib
import re
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass, field
from typing import Any, ClassVar, Protocol, runtime_checkable

from pipeline.schema import Annotations
from stages.base import SampleError

UNREADABLE, NOT_A_FILE, FILE_TOO_LARGE = "unreadable", "not_a_file", "file_too_large"
NO_IMAGE, DUPLICATE_KEY = "no_image", "duplicate_key"

# Of one file or tar member.
MAX_BYTES = 256 << 20
MAX_DETAIL = 200
SUFFIXES = (
    ".jpg",
    ".jpeg",
    ".jfif",
    ".png",
    ".webp",
    ".gif",
    ".bmp",
    ".tif",
    ".tiff",
    ".heic",
    ".heif",
    ".hif",
    ".avif",
)


class Drawn(Protocol):
    """Labels that are made once it is known how large the picture is on which they were drawn."""

    def on(self, size: tuple[int, int]) -> Annotations:
        """The labels on a picture of this (width, height) in pixels."""


@dataclass(frozen=True, slots=True)
class Item:
    """One sample of a source: its bytes, or the reason why there are none."""

    name: str
    """Where it lies in the source."""

    data: bytes | None = None
    """The bytes of the image file; None if there are none."""

    key: str | None = field(default=None, kw_only=True)
    """The source's own name of the sample, if these are unique; else the key is made of `name`."""

    given: Annotations | Drawn = field(default_factory=Annotations, kw_only=True)
    """Annotations that enter the run."""

    truth: Annotations | Drawn | None = field(default=None, kw_only=True)
    """Annotations to measure against; None if the source has none."""

    size: tuple[int, int] | None = field(default=None, kw_only=True)
    """(width, height) of the picture on which the annotations were drawn; None: as in the file."""

    upright: bool | None = field(default=None, kw_only=True)
    """Whether the annotations were drawn on the upright picture, not on the pixels of the file;
    None: `size` tells."""

    otherwise_upright: bool | None = field(default=None, kw_only=True)
    """The same, for where neither `upright` nor `size` tells; None: on the pixels of the file."""

    failed: SampleError | None = field(default=None, kw_only=True)
    """Why the sample cannot be used; None if nothing is known against it."""


class Source(Protocol):
    """Lists names in a stable order and reads the items of some of them, in the order asked.

    A name stands for one item. Where `whole` is set, a name stands for a container of items (a tar,
    a row group of a Parquet file) that becomes a shard of its own, so that nobody ever holds a list
    of all items.
    """

    whole: ClassVar[bool]

    def __init__(self, config: Any) -> None: ...

    def list(self) -> list[str]:
        """All names; the same source gives the same list."""

    def read(self, names: Sequence[str]) -> Iterator[Item]:
        """The items of some names. One that cannot be read comes with `failed` set."""

    def revision(self, names: Sequence[str]) -> str:
        """A digest of the labels of some names, which may be corrected in place.

        Another digest remakes the shard. A source without such labels gives an empty string.
        """


@runtime_checkable
class FileSource(Protocol):
    """What a source may have, too, if its names stand for files, which people replace and delete.

    With it, `fld run` tells which files are no longer those that came in.
    """

    def files_of(self, name: str) -> tuple[str, ...]:
        """The files behind a name."""

    def stamps(self) -> Mapping[str, str]:
        """By file: its size, and its time or digest as far as a listing of the store tells it.

        A file that does not exist is not in it.
        """


@dataclass(frozen=True, slots=True)
class SourceIds:
    """The ids that a source has given to its images and categories, for the way back to it."""

    images: dict[str, int | str] = field(default_factory=dict)
    """The id of each image by the name of its item."""

    categories: list[dict[str, object]] = field(default_factory=list)
    """The categories as they came, with `id` and `name`, in their order."""


@runtime_checkable
class SourceWithIds(Protocol):
    """A source that has ids of its own, as COCO files have; a source need not have this."""

    def ids(self) -> SourceIds:
        """What it has given ids to."""


def make_key(name: str) -> str:
    """An ASCII key without dots for a name of a source; it depends on the name alone.

    For a plain name such as `stem.jpg` the key is the stem, which loses nothing. Else it is a
    readable form of the name and the first sixteen digits of its sha256.
    """
    stem, _, suffix = name.rpartition(".")
    if suffix == "jpg" and re.fullmatch(r"[A-Za-z0-9_]{1,64}", stem):
        return stem
    readable = re.sub(r"[^A-Za-z0-9_]+", "_", stem or name).strip("_")[-48:]
    digest = hashlib.sha256(name.encode()).hexdigest()[:16]
    return f"{readable}-{digest}".lstrip("-")


def detail_of(error: Exception) -> str:
    """An error in one short line, for the detail of a `SampleError`."""
    return f"{type(error).__name__}: {error}"[:MAX_DETAIL]
