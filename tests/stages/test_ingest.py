import io

import numpy as np
import pytest
from PIL import Image

from stages.base import SampleError
from stages.ingest import accept, make_key


def encoded(image: Image.Image, kind: str, **options: object) -> bytes:
    buffer = io.BytesIO()
    image.save(buffer, kind, **options)
    return buffer.getvalue()


PHOTO = Image.fromarray(np.random.default_rng(0).integers(0, 255, (40, 60, 3), np.uint8))


def test_bytes_of_an_upright_image_are_stored_as_they_came() -> None:
    data = encoded(PHOTO, "JPEG")
    stored = accept(data)
    assert (stored.data, stored.extension, stored.width, stored.height, stored.orientation) == (data, "jpg", 60, 40, 1)


@pytest.mark.parametrize("orientation", range(2, 9))
def test_an_image_with_an_exif_orientation_is_stored_upright_pixel_for_pixel(orientation: int) -> None:
    exif = Image.Exif()
    exif[0x0112] = orientation
    stored = accept(encoded(PHOTO, "PNG", exif=exif))
    pixels = np.asarray(PHOTO)
    expected = {  # the EXIF standard: where row 0 and column 0 of the file lie in the upright picture
        2: pixels[:, ::-1], 3: pixels[::-1, ::-1], 4: pixels[::-1], 5: pixels.transpose(1, 0, 2),
        6: pixels.transpose(1, 0, 2)[:, ::-1],
        7: pixels.transpose(1, 0, 2)[::-1, ::-1], 8: pixels.transpose(1, 0, 2)[::-1],
    }[orientation]  # fmt: skip
    upright = np.asarray(Image.open(io.BytesIO(stored.data)))
    np.testing.assert_array_equal(upright, expected)
    assert (stored.height, stored.width) == expected.shape[:2]
    assert stored.orientation == orientation
    assert Image.open(io.BytesIO(stored.data)).getexif().get(0x0112, 1) == 1


@pytest.mark.parametrize(
    ("data", "reason"),
    [
        (b"", "empty_file"),
        (b"this is text", "not_an_image"),
        (encoded(PHOTO, "JPEG")[:900], "truncated"),
        (encoded(PHOTO, "PNG")[:3000], "truncated"),
        (encoded(Image.new("RGB", (3, 300)), "PNG"), "too_small"),
        (encoded(Image.new("1", (20_000, 20_000)), "PNG"), "too_large"),
    ],
)
def test_what_cannot_be_used_is_refused_with_a_reason(data: bytes, reason: str) -> None:
    with pytest.raises(SampleError) as caught:
        accept(data)
    assert caught.value.reason == reason


@pytest.mark.parametrize(("name", "key"), [("000000000073.jpg", "000000000073"), ("scene_1.jpg", "scene_1")])
def test_a_plain_jpg_name_is_its_own_key(name: str, key: str) -> None:
    assert make_key(name) == key


def test_keys_are_ascii_without_dots_and_differ_where_names_do() -> None:
    names = ["a.jpg", "a.png", "a.jpeg", "b/a.jpg", "b_a.jpg", "\u00e4.jpg", "a.b.jpg", "a b.jpg", "\u65e5\u672c.jpg"]
    names += [".jpg", "x" * 300 + ".jpg"]
    keys = [make_key(name) for name in names]
    assert len(set(keys)) == len(names)
    for key in keys:
        assert key and key.isascii() and "." not in key and "/" not in key and len(key) <= 70
