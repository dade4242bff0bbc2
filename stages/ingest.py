"""What sources give and what ingest makes of it: items, keys, and what makes an image acceptable.

Bytes are stored as they came, but for an image with an EXIF orientation: its pixels are turned upright and stored
losslessly as PNG, and its annotations with them, so that every reader sees the boxes where we saw them. What has more
than one frame counts as its first one. `to_rgb` is how every stage sees an image: 16 bits become 8, and what is
transparent shows white, as in a browser.
"""

from __future__ import annotations

import hashlib
import io
import re
from collections.abc import Iterator, Sequence
from dataclasses import dataclass, field, replace
from typing import TYPE_CHECKING, Any, ClassVar, Protocol

import numpy as np

from pipeline.schema import Annotations
from stages.base import SampleError
from stages.upright import fitted, turned

if TYPE_CHECKING:
    from PIL import Image as PillowImage

UNREADABLE, NOT_A_FILE, FILE_TOO_LARGE = "unreadable", "not_a_file", "file_too_large"
EMPTY, NOT_AN_IMAGE, TRUNCATED, CORRUPT = "empty_file", "not_an_image", "truncated", "corrupt"
TOO_LARGE, TOO_SMALL, UNSUPPORTED_MODE = "too_large", "too_small", "unsupported_mode"
NO_IMAGE, DUPLICATE_KEY = "no_image", "duplicate_key"

MAX_BYTES = 256 << 20  # of one file or tar member
MAX_PIXELS = 89_478_485  # Pillow's own limit: above it, other readers of our shards warn or refuse
MIN_SIDE = 16
ORIENTATION = 0x0112
# What is read; MPO is Pillow's name for a JPEG with more pictures behind the first.
EXTENSIONS = {
    "JPEG": "jpg",
    "PNG": "png",
    "WEBP": "webp",
    "GIF": "gif",
    "BMP": "bmp",
    "TIFF": "tif",
    "MPO": "jpg",
}
SUFFIXES = (".jpg", ".jpeg", ".jfif", ".png", ".webp", ".gif", ".bmp", ".tif", ".tiff")
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


@dataclass(frozen=True, slots=True)
class Item:
    """One thing of a source: its bytes, or why there are none.

    `name` says where it lies; its key is made of `key` where the source's own keys are unique, else of `name`. `given`
    are annotations that enter the run, `truth` those to measure against; both are on the pixel grid of a picture of
    `size` (width, height), by default the one in the file, or on the upright one when `upright` is set.
    """

    name: str
    data: bytes | None = None
    key: str | None = field(default=None, kw_only=True)
    given: Annotations = field(default_factory=Annotations, kw_only=True)
    truth: Annotations | None = field(default=None, kw_only=True)
    size: tuple[int, int] | None = field(default=None, kw_only=True)
    upright: bool = field(default=False, kw_only=True)
    failed: SampleError | None = field(default=None, kw_only=True)


class Source(Protocol):
    """Lists names in a stable order and reads the items of some of them, in the order asked.

    A name is one item, or, where `whole` is set, a container of items (a tar, a row group of a Parquet file) that
    becomes a shard of its own, so that nobody ever holds a list of all items. `revision` is a digest of labels that
    may be corrected in place, '' where there are none: another one makes the shard anew.
    """

    whole: ClassVar[bool]

    def __init__(self, config: Any) -> None: ...

    def list(self) -> list[str]: ...

    def read(self, names: Sequence[str]) -> Iterator[Item]: ...

    def revision(self, names: Sequence[str]) -> str: ...


@dataclass(frozen=True, slots=True)
class Accepted:
    """What is stored of an image: its bytes and extension, its size in pixels, the EXIF orientation undone (1: none)
    and the annotations on its grid."""

    data: bytes
    extension: str
    width: int
    height: int
    orientation: int = 1
    given: Annotations = field(default_factory=Annotations)
    truth: Annotations | None = None


def receive(item: Item) -> Accepted:
    """What to store of an item.

    Raises:
        SampleError: it cannot be used, with the reason.
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


def _placed(labels: Annotations, item: Item, image: Accepted) -> Annotations:
    """Labels on the grid of the stored image."""
    upright = (image.width, image.height)
    raw = upright[::-1] if image.orientation >= 5 else upright
    # Other tools than COCO's write the size, and draw the labels, as viewers show the picture.
    if item.upright or (item.size == upright and item.size != raw):
        return fitted(labels, item.size or upright, upright)
    return turned(fitted(labels, item.size or raw, raw), image.orientation, raw)


def accept(data: bytes) -> Accepted:
    """What to store of an image's bytes.

    Raises:
        SampleError: they cannot be used, with the reason.
    """
    from PIL import Image, ImageOps, UnidentifiedImageError

    if not data:
        raise SampleError(EMPTY)
    try:
        with Image.open(
            io.BytesIO(data), formats=[name for name in EXTENSIONS if name != "MPO"]
        ) as image:
            _check(image)
            orientation = image.getexif().get(ORIENTATION, 1)
            if orientation in range(2, 9):
                upright = ImageOps.exif_transpose(_plain(image))
                buffer = io.BytesIO()
                upright.save(buffer, "PNG")
                return Accepted(
                    buffer.getvalue(), "png", upright.width, upright.height, orientation
                )
            width, height = image.size
            image.draft(
                "L", (1, 1)
            )  # a JPEG is read to its end all the same, at an eighth of its size
            image.load()
            return Accepted(data, EXTENSIONS[str(image.format)], width, height)
    except UnidentifiedImageError:
        raise SampleError(NOT_AN_IMAGE, f"none of {', '.join(EXTENSIONS)}") from None
    except Image.DecompressionBombError as error:
        raise SampleError(TOO_LARGE, str(error)[:200]) from error
    except (SampleError, MemoryError):
        raise
    except (
        Exception
    ) as error:  # decoders of broken files raise anything: struct.error, TypeError, SyntaxError ...
        detail = f"{type(error).__name__}: {error}"[:200]
        cut = isinstance(error, EOFError) or "truncated" in detail.lower()
        raise SampleError(TRUNCATED if cut else CORRUPT, detail) from error


def _check(image: PillowImage.Image) -> None:
    """By its header, before anything is decoded."""
    size = f"{image.width}x{image.height} pixels"
    if image.width * image.height > MAX_PIXELS:
        raise SampleError(TOO_LARGE, f"{size}, the most is {MAX_PIXELS}")
    if min(image.size) < MIN_SIDE:
        raise SampleError(TOO_SMALL, f"{size}, the least side is {MIN_SIDE}")
    if image.mode not in MODES:
        raise SampleError(UNSUPPORTED_MODE, f"mode {image.mode}, supported are {', '.join(MODES)}")


def _plain(image: PillowImage.Image) -> PillowImage.Image:
    """8-bit RGB that still knows its EXIF."""
    plain = to_rgb(image)
    plain.getexif()[ORIENTATION] = image.getexif()[ORIENTATION]
    return plain


def to_rgb(image: PillowImage.Image) -> PillowImage.Image:
    """8-bit RGB: the high byte of 16-bit grey, transparency over white."""
    from PIL import Image

    if image.mode.startswith("I;16"):
        image = Image.fromarray((np.asarray(image) >> 8).astype(np.uint8))
    if image.has_transparency_data:
        shown = image.convert("RGBA")
        return Image.alpha_composite(Image.new("RGBA", image.size, "white"), shown).convert("RGB")
    return image.convert("RGB")


def make_key(name: str) -> str:
    """An ASCII key without dots for a source's name, a function of the name alone: the stem where that is lossless (a
    plain `stem.jpg`), else a readable form of the name and sixteen digits of its sha256."""
    stem, _, suffix = name.rpartition(".")
    if suffix == "jpg" and re.fullmatch(r"[A-Za-z0-9_]{1,64}", stem):
        return stem
    readable = re.sub(r"[^A-Za-z0-9_]+", "_", stem or name).strip("_")[-48:]
    return f"{readable}-{hashlib.sha256(name.encode()).hexdigest()[:16]}".lstrip("-")
