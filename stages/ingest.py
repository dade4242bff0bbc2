"""Images as they come: sources, and what makes an image acceptable.

A source lists names and reads items; `accept` turns an item's bytes into what is stored. Bytes are stored as they came,
but for an image with an EXIF orientation: its pixels are turned upright and stored losslessly as PNG, so that every
reader sees the boxes where we saw them.
"""

from __future__ import annotations

import hashlib
import io
import re
from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from typing import Any, Protocol

from pipeline.schema import Annotations
from stages.base import SampleError

UNREADABLE = "unreadable"
EMPTY, NOT_AN_IMAGE, TRUNCATED = "empty_file", "not_an_image", "truncated"
TOO_LARGE, TOO_SMALL = "too_large", "too_small"

MAX_PIXELS = 100_000_000
MIN_SIDE = 16
ORIENTATION = 0x0112
EXTENSIONS = {"JPEG": "jpg", "PNG": "png", "WEBP": "webp", "GIF": "gif", "BMP": "bmp", "TIFF": "tif", "MPO": "jpg"}
SUFFIXES = (".jpg", ".jpeg", ".png", ".webp", ".gif", ".bmp", ".tif", ".tiff")


@dataclass(frozen=True, slots=True)
class Item:
    """One thing of a source: its bytes (None when the source could not read them), and the exact annotations where they
    are known (for evaluation only)."""

    name: str
    data: bytes | None
    truth: Annotations | None = None


class Source(Protocol):
    """Lists names in a stable order and reads some of them, in the order asked."""

    def __init__(self, config: Any) -> None: ...

    def list(self) -> list[str]: ...

    def read(self, names: Sequence[str]) -> Iterator[Item]: ...


@dataclass(frozen=True, slots=True)
class Accepted:
    """What is stored of an image: its bytes and extension, its size in pixels, the EXIF orientation undone or None."""

    data: bytes
    extension: str
    width: int
    height: int
    transform: str | None


@dataclass(frozen=True, slots=True, kw_only=True)
class FolderConfig:
    """`path` is any fsspec URL; images at any depth are taken."""

    path: str


class FolderSource:
    """The images of a folder at any depth, by file name suffix, hidden files left out. Names are relative paths."""

    def __init__(self, config: FolderConfig) -> None:
        import fsspec

        self._fs, root = fsspec.core.url_to_fs(config.path)
        self._root, self._path = root.rstrip("/"), config.path

    def list(self) -> list[str]:
        """Raises:
        ValueError: the folder does not exist or holds no images.
        """
        if not self._fs.isdir(self._root):
            raise ValueError(f"source.path={self._path}: no such folder; give a folder of images")
        found = (path.removeprefix(self._root + "/") for path in self._fs.find(self._root))
        names = sorted(n for n in found if n.lower().endswith(SUFFIXES) and not re.search(r"(^|/)\.", n))
        if not names:
            raise ValueError(f"source.path={self._path}: no images in it; looked for {', '.join(SUFFIXES)}")
        return names

    def read(self, names: Sequence[str]) -> Iterator[Item]:
        for name in names:
            try:
                yield Item(name, self._fs.cat_file(f"{self._root}/{name}"))
            except OSError:  # gone since it was listed, a dangling link, no permission
                yield Item(name, None)


def accept(data: bytes) -> Accepted:
    """What to store of an image's bytes.

    Raises:
        SampleError: they cannot be used, with the reason.
    """
    from PIL import Image, ImageOps, UnidentifiedImageError

    if not data:
        raise SampleError(EMPTY)
    try:
        with Image.open(io.BytesIO(data)) as image:
            if image.width * image.height > MAX_PIXELS:
                raise SampleError(TOO_LARGE, f"{image.width}x{image.height} pixels, the most is {MAX_PIXELS}")
            if min(image.size) < MIN_SIDE:
                raise SampleError(TOO_SMALL, f"{image.width}x{image.height} pixels, the least side is {MIN_SIDE}")
            if image.format not in EXTENSIONS:
                raise SampleError(NOT_AN_IMAGE, f"format {image.format} is not supported")
            image.load()
            orientation = image.getexif().get(ORIENTATION, 1)
            if orientation in range(2, 9):
                upright = ImageOps.exif_transpose(image)
                buffer = io.BytesIO()
                upright.convert("RGB").save(buffer, "PNG")
                transform = f"exif_orientation_{orientation}"
                return Accepted(buffer.getvalue(), "png", upright.width, upright.height, transform)
            return Accepted(data, EXTENSIONS[image.format], image.width, image.height, None)
    except (UnidentifiedImageError, Image.DecompressionBombError) as error:
        reason = TOO_LARGE if isinstance(error, Image.DecompressionBombError) else NOT_AN_IMAGE
        raise SampleError(reason, str(error)[:200].split(" <")[0]) from error
    except SampleError:
        raise
    except Exception as error:  # decoders of broken files raise anything: struct.error, TypeError, SyntaxError ...
        raise SampleError(TRUNCATED, f"{type(error).__name__}: {error}"[:200]) from error


def make_key(name: str) -> str:
    """An ASCII key without dots for a source's name, a function of the name alone: the stem where that is lossless (a
    plain `stem.jpg`), else a readable form of the name and sixteen digits of its sha256."""
    stem, _, suffix = name.rpartition(".")
    if suffix == "jpg" and re.fullmatch(r"[A-Za-z0-9_]{1,64}", stem):
        return stem
    readable = re.sub(r"[^A-Za-z0-9_]+", "_", stem or name).strip("_")[-48:]
    return f"{readable}-{hashlib.sha256(name.encode()).hexdigest()[:16]}".lstrip("-")
