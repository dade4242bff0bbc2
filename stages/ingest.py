"""Which images are accepted, and what is stored of the items that a source gives.

Bytes are stored as they came, with two exceptions. An image with an EXIF orientation is turned
upright and stored losslessly as PNG, and its annotations are turned with it, so that every reader
sees the boxes where we saw them. A HEIC or AVIF image is stored upright and as PNG, too, because
few readers of the shards know these formats. Of an image with several frames the first one counts.
How every stage sees an image is in `image_file.py`.
"""

from __future__ import annotations

import io
from dataclasses import dataclass, field, replace
from typing import TYPE_CHECKING

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
from stages.source import MAX_DETAIL, NO_IMAGE, Drawn, Item, detail_of
from stages.upright import Picture, drawn_upright, fitted, turned

if TYPE_CHECKING:
    from PIL import Image as PillowImage

EMPTY, NOT_AN_IMAGE, TRUNCATED, CORRUPT = "empty_file", "not_an_image", "truncated", "corrupt"
TOO_LARGE, TOO_SMALL, UNSUPPORTED_MODE = "too_large", "too_small", "unsupported_mode"
METADATA_TOO_LARGE = "metadata_too_large"
NO_READER = "no_reader_installed"

# Pillow's own limit: above it, other readers of our shards warn or refuse.
MAX_PIXELS = 89_478_485
MIN_SIDE = 16
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
