"""How image files are opened: turned once, and with limits on what they carry."""

from __future__ import annotations

import io
import struct
import zlib
from collections.abc import Callable

import numpy as np
import pytest
from PIL import Image
from PIL.PngImagePlugin import PngInfo

from pipeline.report.embedded import data_uri
from pipeline.schema import Annotations, Region
from pipeline.storage.images import decode_image
from stages.base import SampleError
from stages.dedup import HashConfig, Hashes
from stages.image_file import MAX_METADATA, orientation_of
from stages.ingest import Accepted, accept, receive
from stages.source import Item

TAG = 0x0112
# Blocks of 8 pixels, so that a JPEG keeps their colours.
BLOCKS = np.random.default_rng(0).integers(0, 255, (5, 8, 3), np.uint8)
PHOTO = Image.fromarray(np.kron(BLOCKS, np.ones((8, 8, 1), np.uint8)))


def encoded(image: Image.Image, kind: str, **options: object) -> bytes:
    buffer = io.BytesIO()
    image.save(buffer, kind, **options)
    return buffer.getvalue()


def turned(pixels: np.ndarray, orientation: int) -> np.ndarray:
    """By the EXIF standard: where row 0 and column 0 of the file lie in the upright picture."""
    transposed = pixels.transpose(1, 0, 2)
    return {
        1: pixels,
        2: pixels[:, ::-1],
        3: pixels[::-1, ::-1],
        4: pixels[::-1],
        5: transposed,
        6: transposed[:, ::-1],
        7: transposed[::-1, ::-1],
        8: transposed[::-1],
    }[orientation]


def exif(orientation: object) -> Image.Exif:
    block = Image.Exif()
    block[TAG] = orientation
    return block


def with_orientation(kind: str, image: Image.Image, orientation: int) -> bytes:
    if kind == "TIFF":
        return encoded(image, "TIFF", tiffinfo={TAG: orientation})
    options: dict[str, object] = {"lossless": True, "quality": 95, "subsampling": 0}
    if kind == "MPO":
        options |= {"save_all": True, "append_images": [Image.new("RGB", image.size)]}
    return encoded(image, kind, exif=exif(orientation), **options)


@pytest.mark.parametrize("kind", ["JPEG", "MPO", "PNG", "WEBP", "TIFF"])
@pytest.mark.parametrize("orientation", range(1, 9))
def test_every_format_is_upright_once(kind: str, orientation: int) -> None:
    stored = accept(with_orientation(kind, PHOTO, orientation))
    expected = turned(np.asarray(PHOTO), orientation)
    assert stored.orientation == orientation
    assert (stored.height, stored.width) == expected.shape[:2]
    pixels = decode_image(stored.data)
    assert pixels.shape == expected.shape
    # A block that lies elsewhere differs by far more than JPEG does.
    assert np.abs(pixels.astype(int) - expected).mean() < 8


@pytest.mark.parametrize("compression", ["raw", "tiff_lzw"])
@pytest.mark.parametrize("mode", ["1", "L", "LA", "P", "RGB", "RGBA", "CMYK", "YCbCr", "I;16"])
def test_a_tiff_of_any_mode_is_upright_once(mode: str, compression: str) -> None:
    image = PHOTO.convert(mode) if mode != "I;16" else sixteen_bits()
    plain = accept(encoded(image, "TIFF", compression=compression))
    stored = accept(encoded(image, "TIFF", compression=compression, tiffinfo={TAG: 6}))
    assert (plain.orientation, stored.orientation) == (1, 6)
    expected = turned(decode_image(plain.data), 6)
    np.testing.assert_array_equal(decode_image(stored.data), expected)


def sixteen_bits() -> Image.Image:
    return Image.fromarray((np.arange(2560, dtype=np.uint16) * 25).reshape(40, 64))


def test_the_labels_of_a_tiff_turn_with_it() -> None:
    labels = Annotations(regions=[Region(source="human", box=(2, 3, 12, 8), phrase="dog")])
    data = with_orientation("TIFF", PHOTO, 6)
    stored = receive(Item("a.tif", data, given=labels, size=(64, 40)))
    # Turned by 90 degrees clockwise: x is what was the distance from the lower edge.
    assert [region.box for region in stored.given.regions] == [(32, 2, 37, 12)]


@pytest.mark.parametrize("kind", ["WEBP", "PNG", "TIFF"])
def test_of_an_animation_the_first_frame_is_turned(kind: str) -> None:
    frames = [PHOTO, Image.new("RGB", PHOTO.size, "red")]
    more = {"tiffinfo": {TAG: 8}} if kind == "TIFF" else {"exif": exif(8), "lossless": True}
    stored = accept(encoded(frames[0], kind, save_all=True, append_images=frames[1:], **more))
    expected = turned(np.asarray(PHOTO), 8)
    np.testing.assert_array_equal(decode_image(stored.data), expected)


def test_a_palette_with_transparency_is_turned_over_white() -> None:
    image = Image.new("P", (64, 40), 0)
    image.putpalette([0, 0, 0, 255, 0, 0])
    image.paste(1, (32, 0, 64, 40))
    pixels = decode_image(accept(encoded(image, "PNG", transparency=0, exif=exif(3))).data)
    assert pixels[0, 0].tolist() == [255, 0, 0] and pixels[0, 63].tolist() == [255] * 3


def jpeg_with(*blocks: bytes) -> bytes:
    """A JPEG with EXIF blocks of these contents."""
    data = encoded(PHOTO, "JPEG")
    segments = b""
    for block in blocks:
        segments += b"\xff\xe1" + struct.pack(">H", len(block) + 8) + b"Exif\0\0" + block
    return data[:2] + segments + data[2:]


def block(kind: int, count: int, value: bytes) -> bytes:
    """An EXIF block with the orientation as a tag of one of TIFF's types."""
    entry = struct.pack("<HHHI", 1, TAG, kind, count) + value
    return b"II*\0\x08\0\0\0" + entry + bytes(4) + struct.pack("<II", 6, 1)


SHORT, ASCII, RATIONAL, SINGLE = 3, 2, 5, 11
TURNED = block(SHORT, 1, b"\x06\0\0\0")


@pytest.mark.parametrize(
    ("blocks", "orientation"),
    [
        ([block(SHORT, 1, bytes(4))], 1),
        ([block(SHORT, 1, b"\x09\0\0\0")], 1),
        ([block(ASCII, 2, b"6\0\0\0")], 1),
        ([block(RATIONAL, 1, struct.pack("<I", 26))], 6),
        ([block(SINGLE, 1, struct.pack("<f", 6))], 6),
        ([block(SHORT, 2, struct.pack("<HH", 6, 1))], 6),
        ([TURNED, block(SHORT, 1, b"\x08\0\0\0")], 6),
        ([b"no EXIF at all"], 1),
        ([TURNED[:12]], 1),
    ],
    ids=["0", "9", "text", "fraction", "float", "two values", "two blocks", "garbage", "cut"],
)
@pytest.mark.filterwarnings("ignore:Corrupt EXIF data", "ignore:Metadata Warning")
def test_odd_exif_turns_a_picture_as_viewers_do_or_not_at_all(
    blocks: list[bytes], orientation: int
) -> None:
    stored = accept(jpeg_with(*blocks))
    assert stored.orientation == orientation
    assert type(stored.orientation) is int
    assert (stored.extension == "jpg") == (orientation == 1)


@pytest.mark.parametrize("value", [0, 9])
def test_a_tiff_with_no_such_orientation_is_stored_as_it_came(value: int) -> None:
    data = encoded(PHOTO, "TIFF", tiffinfo={TAG: value})
    assert accept(data) == Accepted(data, "tif", 64, 40)


@pytest.mark.filterwarnings("ignore:Corrupt EXIF data")
def test_a_png_with_broken_exif_is_accepted() -> None:
    data = encoded(PHOTO, "PNG", exif=b"Exif\0\0II*\0broken")
    assert accept(data) == Accepted(data, "png", 64, 40)
    text = PngInfo()
    text.add_text("Raw profile type exif", "\nexif\n 3\nnot hexadecimal\n")
    assert accept(encoded(PHOTO, "PNG", pnginfo=text)).orientation == 1


XMP = '<x:xmpmeta><rdf:Description tiff:Orientation="{}"/></x:xmpmeta>'


@pytest.mark.parametrize("kind", ["JPEG", "WEBP"])
def test_the_orientation_of_xmp_counts_only_where_exif_has_none(kind: str) -> None:
    xmp = XMP.format(8).encode()
    assert accept(encoded(PHOTO, kind, xmp=xmp)).orientation == 8
    assert accept(encoded(PHOTO, kind, xmp=xmp, exif=exif(1))).orientation == 1
    assert accept(encoded(PHOTO, kind, xmp=xmp, exif=exif(6))).orientation == 6


def test_formats_without_exif_are_stored_as_they_came() -> None:
    for kind in ("GIF", "BMP"):
        with Image.open(io.BytesIO(encoded(PHOTO, kind))) as image:
            assert orientation_of(image) == 1


def png_with(*chunks: tuple[bytes, bytes]) -> bytes:
    """A PNG with these chunks (name, content) behind its header."""
    data = encoded(PHOTO, "PNG")
    middle = b""
    for name, content in chunks:
        crc = struct.pack(">I", zlib.crc32(name + content))
        middle += struct.pack(">I", len(content)) + name + content + crc
    return data[:33] + middle + data[33:]


def text_chunks(size: int) -> dict[str, bytes]:
    """A PNG for each chunk that holds `size` bytes of text or profile."""
    packed = zlib.compress(b"x" * size, 1)
    return {
        "iTXt": png_with((b"iTXt", b"prompt\0\1\0\0\0" + packed)),
        "iTXt plain": png_with((b"iTXt", b"prompt\0\0\0\0\0" + b"x" * size)),
        "zTXt": png_with((b"zTXt", b"prompt\0\0" + packed)),
        "tEXt": png_with((b"tEXt", b"prompt\0" + b"x" * size)),
        "iCCP": png_with((b"iCCP", b"profile\0\0" + packed)),
        "many": png_with(*[(b"zTXt", b"k\0\0" + zlib.compress(b"x" * (size // 4), 1))] * 5),
    }


def is_read(data: bytes) -> bool:
    return bool(np.array_equal(decode_image(data), np.asarray(PHOTO)))


def hashed(data: bytes) -> bool:
    (row,) = Hashes(HashConfig())("shard", ["a"], [data])
    return row.pixels == 64 * 40


def shown(data: bytes) -> bool:
    return data_uri(data).startswith("data:image/png")


@pytest.mark.parametrize("reader", [is_read, hashed, shown])
def test_what_comes_in_with_large_metadata_is_read_by_everything_behind(
    reader: Callable[[bytes], bool],
) -> None:
    for name, data in text_chunks(2 << 20).items():
        assert accept(data) == Accepted(data, "png", 64, 40), name
        assert reader(data), name


@pytest.mark.parametrize("kind", ["JPEG", "WEBP"])
def test_large_exif_comes_in(kind: str) -> None:
    block = exif(6)
    # The most that a JPEG's segment holds.
    block[0x927C] = bytes(65_000 if kind == "JPEG" else 3 << 20)
    profile = bytes(128) + bytes(2 << 20)
    assert accept(encoded(PHOTO, kind, exif=block, icc_profile=profile)).orientation == 6


def test_more_metadata_than_the_limit_has_a_true_reason() -> None:
    packed = zlib.compress(bytes(MAX_METADATA + 1), 1)
    half = zlib.compress(bytes(MAX_METADATA // 2 + 1), 1)
    for chunks in (
        [(b"iTXt", b"prompt\0\1\0\0\0" + packed)],
        [(b"iCCP", b"profile\0\0" + packed)],
        [(b"zTXt", b"a\0\0" + half), (b"zTXt", b"b\0\0" + half)],
    ):
        with pytest.raises(SampleError) as caught:
            accept(png_with(*chunks))
        assert caught.value.reason == "metadata_too_large"
