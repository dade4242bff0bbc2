"""HEIC and AVIF pictures: stored upright as PNG, and told where no reader is installed."""

from __future__ import annotations

import io
import sys
from collections.abc import Iterator
from pathlib import Path

import numpy as np
import pytest
from PIL import Image, features

from stages.base import SampleError
from stages.image_file import has_heif, kind_by_brand, open_image
from stages.ingest import Accepted, accept
from stages.sources.folder import FolderConfig, FolderSource

ORIENTATION = 0x0112
needs_avif = pytest.mark.skipif(not features.check("avif"), reason="Pillow was built without AVIF")
FORMATS = ["HEIF", pytest.param("AVIF", marks=needs_avif)]


@pytest.fixture(autouse=True)
def _reader_registered() -> None:
    pytest.importorskip("pillow_heif")
    assert has_heif()


def quadrants() -> Image.Image:
    """60 x 40 pixels: red at the top left, green at the top right, blue and grey below."""
    pixels = np.zeros((40, 60, 3), np.uint8)
    pixels[:20, :30] = (200, 0, 0)
    pixels[:20, 30:] = (0, 200, 0)
    pixels[20:, :30] = (0, 0, 200)
    pixels[20:, 30:] = (128, 128, 128)
    return Image.fromarray(pixels)


def encoded(image: Image.Image, kind: str, **options: object) -> bytes:
    buffer = io.BytesIO()
    image.save(buffer, kind, quality=100, **options)
    return buffer.getvalue()


def corners(stored: Accepted) -> list[str]:
    """The colours of the four quadrants of a stored picture, clockwise from the top left."""
    with Image.open(io.BytesIO(stored.data)) as image:
        assert (image.format, image.mode, image.size) == (
            "PNG",
            "RGB",
            (stored.width, stored.height),
        )
        assert image.getexif().get(ORIENTATION, 1) == 1
        pixels = np.asarray(image).astype(int)
    height, width = pixels.shape[:2]
    names = []
    for y, x in ((1, 1), (1, 3), (3, 3), (3, 1)):
        colour = pixels[height * y // 4, width * x // 4]
        brightest = int(colour.argmax())
        is_grey = np.ptp(colour) < 40
        names.append("grey" if is_grey else ("red", "green", "blue")[brightest])
    return names


@pytest.mark.parametrize("kind", FORMATS)
def test_it_is_stored_as_a_png_that_every_reader_knows(kind: str) -> None:
    stored = accept(encoded(quadrants(), kind))
    assert (stored.extension, stored.converted, stored.orientation) == ("png", kind.lower(), 1)
    assert (stored.width, stored.height) == (60, 40)
    assert corners(stored) == ["red", "green", "grey", "blue"]


@pytest.mark.parametrize("kind", FORMATS)
def test_it_is_stored_upright_whoever_turns_it(kind: str) -> None:
    exif = Image.Exif()
    exif[ORIENTATION] = 6
    stored = accept(encoded(quadrants(), kind, exif=exif.tobytes()))
    # Orientation 6: the left edge of the file is the top of the picture, so blue comes first.
    assert (stored.width, stored.height) == (40, 60)
    assert corners(stored) == ["blue", "red", "green", "grey"]


@pytest.mark.parametrize("kind", FORMATS)
def test_a_cut_file_and_a_tiny_picture_have_a_reason(kind: str) -> None:
    whole = encoded(quadrants(), kind)
    with pytest.raises(SampleError) as cut:
        accept(whole[: len(whole) * 2 // 3])
    assert cut.value.reason in ("truncated", "corrupt")
    with pytest.raises(SampleError) as tiny:
        accept(encoded(Image.new("RGB", (8, 300)), kind))
    assert tiny.value.reason == "too_small"


@pytest.fixture
def no_reader(monkeypatch: pytest.MonkeyPatch) -> Iterator[None]:
    """As if the extra was not installed."""
    monkeypatch.setitem(sys.modules, "pillow_heif", None)
    has_heif.cache_clear()
    yield
    has_heif.cache_clear()


@pytest.mark.usefixtures("no_reader")
def test_without_the_extra_it_is_a_row_that_names_the_extra() -> None:
    data = encoded(quadrants(), "HEIF")
    # Phones and tools also write such files under the name of another format.
    with pytest.raises(SampleError) as caught:
        accept(data)
    assert caught.value.reason == "no_reader_installed"
    assert caught.value.detail.startswith("HEIC needs the extra `heif`: pip install -e '.[heif]'")
    with pytest.raises(SampleError) as other:
        accept(b"\0\0\0\x20ftypisom\0\0\0\0isommp41" + bytes(100))
    assert other.value.reason == "not_an_image"
    with open_image(encoded(quadrants(), "PNG")) as image:
        assert image.format == "PNG"


def test_kinds_are_told_by_their_brands() -> None:
    assert kind_by_brand(encoded(quadrants(), "HEIF")) == "HEIF"
    assert kind_by_brand(b"\0\0\0\x20ftypmif1\0\0\0\0mif1avifmiaf") == "AVIF"
    assert kind_by_brand(b"\0\0\0\x18ftypmp42\0\0\0\0mp42isom") == ""
    assert kind_by_brand(b"") == kind_by_brand(b"\xff\xd8\xff\xe0") == ""


def test_a_folder_takes_them_by_their_suffixes(tmp_path: Path) -> None:
    for name in ("a.HEIC", "b.heif", "c.hif", "d.avif"):
        (tmp_path / name).write_bytes(b"x")
    source = FolderSource(FolderConfig(path=str(tmp_path)))
    assert source.list() == ["a.HEIC", "b.heif", "c.hif", "d.avif"]
