"""What sources give, and what ingest stores of it: items, keys, and which images are accepted.

Bytes are stored as they came, with two exceptions. An image with an EXIF orientation is turned
upright and stored losslessly as PNG, and its annotations are turned with it, so that every reader
sees the boxes where we saw them. A HEIC or AVIF image is stored upright and as PNG, too, because
few readers of the shards know these formats. Of an image with several frames the first one counts.
How every stage sees an image is in `image_file.py`.
"""

from __future__ import annotations

import hashlib
import io
import re
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass, field, replace
from typing import TYPE_CHECKING, Any, ClassVar, Protocol, runtime_checkable

from pipeline.schema import Annotations
from stages.base import SampleError
from stages.image_file import (
    EXTENSIONS,
    FORMATS,
    STORED_AS_PNG,
    has_heif,
    is_metadata_limit,
    kind_by_brand,
    open_image,
    orientation_of,
    upright_rgb,
)
from stages.upright import Picture, drawn_upright, fitted, turned

if TYPE_CHECKING:
    from PIL import Image as PillowImage

UNREADABLE, NOT_A_FILE, FILE_TOO_LARGE = "unreadable", "not_a_file", "file_too_large"
EMPTY, NOT_AN_IMAGE, TRUNCATED, CORRUPT = "empty_file", "not_an_image", "truncated", "corrupt"
TOO_LARGE, TOO_SMALL, UNSUPPORTED_MODE = "too_large", "too_small", "unsupported_mode"
METADATA_TOO_LARGE = "metadata_too_large"
NO_IMAGE, DUPLICATE_KEY = "no_image", "duplicate_key"
NO_READER = "no_reader_installed"

# Of one file or tar member.
MAX_BYTES = 256 << 20
# Pillow's own limit: above it, other readers of our shards warn or refuse.
MAX_PIXELS = 89_478_485
MIN_SIDE = 16
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
MODES = (
    "1",
    "L",
    "LA",
    "P",
    "PA",
    "RGB",
    "RGBA",
    "RGBX",
    "CMYK",
    "YCbCr",
    "I;16",
    "I;16L",
    "I;16B",
    "I;16N",
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


@dataclass(frozen=True, slots=True)
class Accepted:
    """What is stored of an image."""

    data: bytes
    """The bytes of the image file."""

    extension: str
    """The file's extension, without the dot."""

    width: int
    """Width in pixels."""

    height: int
    """Height in pixels."""

    orientation: int = 1
    """The EXIF orientation that was undone, 2 to 8; 1 if there was none."""

    converted: str = ""
    """The format that it had in its file, such as `heif`, if that is not the one it has now."""

    given: Annotations = field(default_factory=Annotations)
    """The annotations that enter the run, in pixels of this image."""

    truth: Annotations | None = None
    """The annotations to measure against, in pixels of this image."""


def receive(item: Item) -> Accepted:
    """What to store of an item.

    Raises:
        SampleError: the item cannot be used; its reason says why.
    """
    if item.failed:
        raise item.failed
    if item.data is None:
        raise SampleError(NO_IMAGE)
    return labelled(accept(item.data), item)


def labelled(image: Accepted, item: Item) -> Accepted:
    """A stored image with the labels of an item."""
    truth = None if item.truth is None else _placed(item.truth, item, image)
    return replace(image, given=_placed(item.given, item, image), truth=truth)


def _placed(labels: Annotations | Drawn, item: Item, image: Accepted) -> Annotations:
    """Labels in pixels of the stored image, which is upright."""
    picture = Picture.of_upright((image.width, image.height), image.orientation)
    upright = drawn_upright(item.size, picture, item.upright, item.otherwise_upright)
    size = picture.upright_size if upright else picture.size
    declared = item.size or size
    if item.upright is not None and declared == size[::-1] and image.orientation >= 5:
        # Some tools draw on the upright picture and state the size of the file.
        declared = size
    if not isinstance(labels, Annotations):
        labels = labels.on(declared)
    labels = fitted(labels, declared, size)
    return labels if upright else turned(labels, image.orientation, size)


def accept(data: bytes) -> Accepted:
    """What to store of an image's bytes.

    Raises:
        SampleError: the image cannot be used; its reason says why.
    """
    from PIL import Image, UnidentifiedImageError

    if not data:
        raise SampleError(EMPTY)
    try:
        with open_image(data, FORMATS) as image:
            _check_header(image)
            orientation = orientation_of(image)
            if orientation != 1 or image.format in STORED_AS_PNG:
                return _as_png(image, orientation)
            return _unchanged(image, data)
    except UnidentifiedImageError:
        raise _not_read(data) from None
    except Image.DecompressionBombError as error:
        raise SampleError(TOO_LARGE, str(error)[:MAX_DETAIL]) from error
    except (SampleError, MemoryError):
        raise
    except Exception as error:
        # Decoders of broken files raise anything: struct.error, TypeError, SyntaxError ...
        detail = detail_of(error)
        if is_metadata_limit(error):
            raise SampleError(METADATA_TOO_LARGE, detail) from error
        is_cut = isinstance(error, EOFError) or "truncated" in detail.lower()
        raise SampleError(TRUNCATED if is_cut else CORRUPT, detail) from error


def detail_of(error: Exception) -> str:
    """An error in one short line, for the detail of a `SampleError`."""
    return f"{type(error).__name__}: {error}"[:MAX_DETAIL]


def _check_header(image: PillowImage.Image) -> None:
    """Refuse an image by its header, before anything is decoded."""
    size = f"{image.width}x{image.height} pixels"
    if image.width * image.height > MAX_PIXELS:
        raise SampleError(TOO_LARGE, f"{size}, the most is {MAX_PIXELS}")
    if min(image.size) < MIN_SIDE:
        raise SampleError(TOO_SMALL, f"{size}, the least side is {MIN_SIDE}")
    if image.mode not in MODES:
        raise SampleError(UNSUPPORTED_MODE, f"mode {image.mode}, supported are {', '.join(MODES)}")


def _not_read(data: bytes) -> SampleError:
    """Why no reader knows an image: it is none, or its reader is not installed."""
    from PIL import features

    kind = kind_by_brand(data)
    if kind == "HEIF" and not has_heif():
        return SampleError(
            NO_READER,
            "HEIC needs the extra `heif`: pip install -e '.[heif]' (the package pillow-heif), for "
            "all workers",
        )
    if kind == "AVIF" and not features.check("avif"):
        return SampleError(NO_READER, "AVIF needs another build of Pillow: pip install pillow")
    if kind:
        return SampleError(CORRUPT, f"a broken or cut {kind} file")
    return SampleError(NOT_AN_IMAGE, f"none of {', '.join(EXTENSIONS)}")


def _as_png(image: PillowImage.Image, orientation: int) -> Accepted:
    """An image turned by its orientation, 1 to 8, as an 8-bit RGB PNG."""
    converted = str(image.format).lower() if image.format in STORED_AS_PNG else ""
    upright = upright_rgb(image, orientation)
    buffer = io.BytesIO()
    upright.save(buffer, "PNG")
    return Accepted(
        buffer.getvalue(),
        "png",
        upright.width,
        upright.height,
        orientation,
        converted,
    )


def _unchanged(image: PillowImage.Image, data: bytes) -> Accepted:
    """An image whose bytes are stored as they came, once it has been decoded to its end."""
    width, height = image.size
    extension = EXTENSIONS[str(image.format)]
    # In draft mode a JPEG is still read to its end, but decoded at an eighth of its size.
    image.draft("L", (1, 1))
    image.load()
    return Accepted(data, extension, width, height)


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
