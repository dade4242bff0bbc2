import io

import numpy as np
import pytest
from PIL import Image

from pipeline.storage.images import decode_image
from stages.base import SampleError
from stages.ingest import accept
from stages.source import make_key


def encoded(image: Image.Image, kind: str, **options: object) -> bytes:
    buffer = io.BytesIO()
    image.save(buffer, kind, **options)
    return buffer.getvalue()


PHOTO = Image.fromarray(np.random.default_rng(0).integers(0, 255, (40, 60, 3), np.uint8))


def test_bytes_of_an_upright_image_are_stored_as_they_came() -> None:
    data = encoded(PHOTO, "JPEG")
    stored = accept(data)
    assert (stored.data, stored.extension, stored.width, stored.height, stored.orientation) == (
        data,
        "jpg",
        60,
        40,
        1,
    )


@pytest.mark.parametrize("orientation", range(2, 9))
def test_an_image_with_an_exif_orientation_is_stored_upright_pixel_for_pixel(
    orientation: int,
) -> None:
    exif = Image.Exif()
    exif[0x0112] = orientation
    stored = accept(encoded(PHOTO, "PNG", exif=exif))
    pixels = np.asarray(PHOTO)
    # The EXIF standard: where row 0 and column 0 of the file lie in the upright picture.
    expected = {
        2: pixels[:, ::-1],
        3: pixels[::-1, ::-1],
        4: pixels[::-1],
        5: pixels.transpose(1, 0, 2),
        6: pixels.transpose(1, 0, 2)[:, ::-1],
        7: pixels.transpose(1, 0, 2)[::-1, ::-1],
        8: pixels.transpose(1, 0, 2)[::-1],
    }[orientation]
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
        (encoded(Image.new("1", (10_000, 9_000)), "PNG"), "too_large"),
        (encoded(Image.new("RGB", (1, 1)), "PNG"), "too_small"),
        (encoded(PHOTO, "WEBP")[:300], "corrupt"),
        (encoded(PHOTO, "GIF")[:900], "truncated"),
        (encoded(PHOTO, "PNG").replace(b"IDAT", b"IDAX"), "not_an_image"),
        (encoded(Image.new("F", (40, 40)), "TIFF"), "unsupported_mode"),
        (encoded(Image.new("LAB", (40, 40)), "TIFF"), "unsupported_mode"),
        (encoded(PHOTO, "ICO"), "not_an_image"),
        (b"%!PS-Adobe-3.0 EPSF-3.0\n%%BoundingBox: 0 0 40 40\n", "not_an_image"),
        (b'<svg xmlns="http://www.w3.org/2000/svg" width="40" height="40"/>', "not_an_image"),
        (b"GIF89a", "not_an_image"),
    ],
)
def test_what_cannot_be_used_is_refused_with_a_reason(data: bytes, reason: str) -> None:
    with pytest.raises(SampleError) as caught:
        accept(data)
    assert caught.value.reason == reason


@pytest.mark.parametrize(
    ("name", "key"), [("000000000073.jpg", "000000000073"), ("scene_1.jpg", "scene_1")]
)
def test_a_plain_jpg_name_is_its_own_key(name: str, key: str) -> None:
    assert make_key(name) == key


def test_keys_are_ascii_without_dots_and_differ_where_names_do() -> None:
    names = [
        "a.jpg",
        "a.png",
        "a.jpeg",
        "b/a.jpg",
        "b_a.jpg",
        "\u00e4.jpg",
        "a.b.jpg",
        "a b.jpg",
        "\u65e5\u672c.jpg",
    ]
    names += [".jpg", "x" * 300 + ".jpg"]
    keys = [make_key(name) for name in names]
    assert len(set(keys)) == len(names)
    for key in keys:
        assert key and key.isascii() and "." not in key and "/" not in key and len(key) <= 70


def shown(image: Image.Image, kind: str, **options: object) -> np.ndarray:
    """What the stages see of an image whose bytes are stored as they came."""
    data = encoded(image, kind, **options)
    stored = accept(data)
    assert (stored.data, stored.width, stored.height) == (data, *image.size)
    return decode_image(stored.data)


def test_cmyk_is_seen_as_rgb() -> None:
    pixels = shown(Image.new("CMYK", (40, 40), (0, 255, 255, 0)), "JPEG", quality=95)
    assert pixels.shape == (40, 40, 3) and np.abs(pixels.astype(int) - (255, 0, 0)).max() <= 3


def test_sixteen_bits_become_their_high_byte() -> None:
    values = (np.arange(1600, dtype=np.uint16) * 40).reshape(40, 40)
    for kind in ("PNG", "TIFF"):
        pixels = shown(Image.fromarray(values), kind)
        np.testing.assert_array_equal(
            pixels, np.repeat((values >> 8).astype(np.uint8)[..., None], 3, axis=2)
        )


@pytest.mark.parametrize("mode", ["P", "RGBA", "LA"])
def test_what_is_transparent_shows_white(mode: str) -> None:
    alpha = np.repeat(np.linspace(0, 255, 40).astype(np.uint8)[None], 40, axis=0)
    if mode == "P":
        image, options = Image.new("P", (40, 40), 0), {"transparency": 0}
        image.putpalette([0, 0, 0, 255, 0, 0])
        image.paste(1, (20, 0, 40, 40))
        expected = np.where(np.arange(40)[None, :, None] < 20, 255, (255, 0, 0)) * np.ones(
            (40, 1, 1), int
        )
    else:
        image, options = (
            Image.merge("LA", (Image.new("L", (40, 40)), Image.fromarray(alpha))).convert(mode),
            {},
        )
        expected = 255 - np.repeat(alpha[..., None], 3, axis=2).astype(int)
    assert np.abs(shown(image, "PNG", **options).astype(int) - expected).max() <= 1


@pytest.mark.parametrize("kind", ["GIF", "WEBP", "PNG", "TIFF"])
def test_an_animation_is_seen_as_its_first_frame(kind: str) -> None:
    frames = [Image.new("RGB", (40, 40), color) for color in ("red", "blue", "lime")]
    pixels = shown(frames[0], kind, save_all=True, append_images=frames[1:])
    assert np.abs(pixels.astype(int) - (255, 0, 0)).max() <= 8


def test_a_very_wide_image_is_taken() -> None:
    assert accept(encoded(Image.new("L", (20_000, 40)), "PNG")).width == 20_000


def test_a_jpeg_cut_anywhere_in_its_data_is_found_without_decoding_it_in_full() -> None:
    for options in ({}, {"progressive": True}):
        data = encoded(PHOTO, "JPEG", **options)
        start = data.index(b"\xff\xda") + 20
        for cut in range(start, len(data) - 40, 101):
            with pytest.raises(SampleError) as caught:
                accept(data[:cut])
            assert caught.value.reason == "truncated"


def test_an_orientation_that_is_none_is_left_alone() -> None:
    exif = Image.Exif()
    exif[0x0112] = 42
    data = encoded(PHOTO, "JPEG", exif=exif)
    assert accept(data).data == data
