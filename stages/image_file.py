"""Opens image files: with limits that all our readers share, and turned as viewers turn them.

The stored bytes of a picture are opened again by the stages, the training and the report. They all
come through `open_image`, so that what ingest has accepted can be read by them as well.
"""

from __future__ import annotations

import io
from functools import cache
from typing import IO, TYPE_CHECKING

import numpy as np

if TYPE_CHECKING:
    from PIL import Image as PillowImage

# What is read, by Pillow's name. MPO is a JPEG with further pictures behind the first.
EXTENSIONS = {
    "JPEG": "jpg",
    "PNG": "png",
    "WEBP": "webp",
    "GIF": "gif",
    "BMP": "bmp",
    "TIFF": "tif",
    "MPO": "jpg",
    "AVIF": "avif",
    "HEIF": "heic",
}
# Pictures of these formats are stored as PNG, because common readers of our shards do not know
# them: Pillow reads HEIF only with pillow-heif, no browser but Safari shows it, and `webdataset`
# decodes neither of the two.
STORED_AS_PNG = ("AVIF", "HEIF")
FORMATS = tuple(name for name in EXTENSIONS if name != "MPO")
# Of the unpacked texts of a PNG together, and of its colour profile, in bytes. Pillow's own limit
# of 1 MiB for each refuses pictures that browsers show; without any limit, a small file could
# unpack to fill the memory.
MAX_METADATA = 64 << 20
# Bytes of the box with the brands of a file that are looked at.
MAX_BRANDS = 256
# The EXIF tag.
ORIENTATION = 0x0112
ORIENTATIONS = range(1, 9)


def open_image(
    data: bytes | IO[bytes], formats: tuple[str, ...] | None = None
) -> PillowImage.Image:
    """The image in a file, not decoded yet. Use it as a context manager.

    Args:
        data: the bytes of the file, or the file, open for reading.
        formats: the formats that are tried, by Pillow's names; None for all that Pillow reads.

    Raises:
        PIL.UnidentifiedImageError: the bytes are no image of these formats.
        ValueError: it carries more than `MAX_METADATA` (`is_metadata_limit`).
    """
    from PIL import Image, PngImagePlugin

    if has_heif() or formats is None:
        readable = formats
    else:
        readable = tuple(name for name in formats if name != "HEIF")
    # Pillow has these limits for a whole process only.
    PngImagePlugin.MAX_TEXT_CHUNK = MAX_METADATA
    PngImagePlugin.MAX_TEXT_MEMORY = MAX_METADATA
    file = io.BytesIO(data) if isinstance(data, bytes) else data
    return Image.open(file, formats=readable)


@cache
def has_heif() -> bool:
    """Whether HEIF files can be read: Pillow does it with the package pillow-heif."""
    try:
        from pillow_heif import register_heif_opener
    except ImportError:
        return False
    register_heif_opener(thumbnails=False)
    return True


def kind_by_brand(data: bytes) -> str:
    """`HEIF` or `AVIF` if the first bytes are those of such a file, or else an empty text.

    Source: the box `ftyp` of ISO/IEC 14496-12; the brands of ISO/IEC 23008-12 and of AVIF.
    """
    if data[4:8] != b"ftyp":
        return ""
    length = min(int.from_bytes(data[:4]), MAX_BRANDS)
    brands = [data[8:12], *(data[start : start + 4] for start in range(16, length, 4))]
    if any(brand in (b"avif", b"avis") for brand in brands):
        return "AVIF"
    is_heif = any(brand[:3] in (b"hei", b"hev", b"mif", b"msf") for brand in brands)
    return "HEIF" if is_heif else ""


def is_metadata_limit(error: Exception) -> bool:
    """Whether Pillow refused a picture because it carries more than `MAX_METADATA`."""
    # Both messages name the limit of Pillow that they are about.
    return isinstance(error, ValueError) and "MAX_TEXT_" in str(error)


def orientation_of(image: PillowImage.Image) -> int:
    """How the picture is turned in its file: the EXIF orientation, 1 to 8; 1 if it has none.

    It is read as `PIL.ImageOps.exif_transpose` reads it: the first EXIF block counts. Only if that
    has no orientation, the one of XMP counts, as in Preview of macOS (browsers do not look there).
    A value that is no orientation, and EXIF that cannot be read, turn nothing.
    """
    if image.format == "PNG":
        # EXIF may stand behind the pixels. A broken picture must fail here, not below.
        image.load()
    return orientation_in_header(image)


def orientation_in_header(image: PillowImage.Image) -> int:
    """As `orientation_of`, but no pixel is decoded: EXIF behind the pixels of a PNG is not seen."""
    from PIL import Image

    try:
        # The method of PNG's own class would decode the pixels.
        value = Image.Image.getexif(image).get(ORIENTATION, 1)
    except MemoryError:
        raise
    except Exception:
        # Readers of broken EXIF raise anything, as decoders do; the pixels may be good.
        return 1
    # The tag may be of another type, such as a fraction.
    return int(value) if value in ORIENTATIONS else 1


def upright_rgb(image: PillowImage.Image, orientation: int) -> PillowImage.Image:
    """The picture as `to_rgb` gives it, turned by its `orientation_of`, 1 to 8."""
    from PIL import Image

    turns = {
        2: Image.Transpose.FLIP_LEFT_RIGHT,
        3: Image.Transpose.ROTATE_180,
        4: Image.Transpose.FLIP_TOP_BOTTOM,
        5: Image.Transpose.TRANSPOSE,
        6: Image.Transpose.ROTATE_270,
        7: Image.Transpose.TRANSVERSE,
        8: Image.Transpose.ROTATE_90,
    }
    image.load()
    # Pillow turns a TIFF when it decodes it, and takes the tag away then.
    is_upright = ORIENTATION not in image.getexif()
    plain = to_rgb(image)
    return plain if is_upright or orientation == 1 else plain.transpose(turns[orientation])


def to_rgb(image: PillowImage.Image) -> PillowImage.Image:
    """8-bit RGB: the high byte of 16-bit grey, and transparent pixels over white."""
    from PIL import Image

    if image.mode.startswith("I;16"):
        image = Image.fromarray((np.asarray(image) >> 8).astype(np.uint8))
    if image.has_transparency_data:
        white = Image.new("RGBA", image.size, "white")
        return Image.alpha_composite(white, image.convert("RGBA")).convert("RGB")
    return image.convert("RGB")
