"""RapidOCR with the models of its wheel, on drawn pictures."""

from __future__ import annotations

import numpy as np
import pytest
from PIL import Image, ImageDraw, ImageFont

from stages.base import Sample
from stages.specialists.ocr import RapidOcr, RapidOcrConfig, clockwise, use_lookup


def picture(*words: tuple[str, int, int], size: tuple[int, int] = (320, 200)) -> np.ndarray:
    image = Image.new("RGB", size, (235, 235, 230))
    for word, x, y in words:
        ImageDraw.Draw(image).text((x, y), word, fill=(20, 20, 30), font=ImageFont.load_default(34))
    return np.asarray(image)


def sample(image: np.ndarray) -> Sample:
    return Sample(key="k", size=(image.shape[1], image.shape[0]), image=image)


@pytest.fixture(scope="module")
def stage() -> RapidOcr:
    return RapidOcr(RapidOcrConfig())


def test_words_come_with_quads_around_them(stage: RapidOcr) -> None:
    (result,) = stage([sample(picture(("HOTEL", 40, 30), ("EXIT", 190, 130)))])
    found = {t.text: t for t in result.text_regions if (t.score or 0) > 0.8}
    assert set(found) == {"HOTEL", "EXIT"}
    x1, y1, x2, y2, x3, y3, x4, y4 = found["EXIT"].quad
    assert x1 < 196 and x4 < 196 and x2 > 260 and x3 > 260
    assert y1 < 142 and y2 < 142 and y3 > 160 and y4 > 160
    assert max(abs(y1 - y2), abs(x1 - x4)) < 8


def test_a_blank_image_holds_no_text(stage: RapidOcr) -> None:
    (result,) = stage([sample(np.zeros((64, 64, 3), np.uint8))])
    assert len(result) == 0


def test_tiny_and_narrow_images_are_read_without_failing(stage: RapidOcr) -> None:
    narrow = [
        sample(np.full(shape, 200, np.uint8)) for shape in ((1, 1, 3), (2, 300, 3), (3000, 9, 3))
    ]
    assert [len(r) for r in stage(narrow)] == [0, 0, 0]


def test_quads_stay_inside_the_image(stage: RapidOcr) -> None:
    (result,) = stage([sample(picture(("STOP", 0, -4), size=(110, 40)))])
    assert [t.text for t in result.text_regions] == ["STOP"]
    quad = np.array(result.text_regions[0].quad).reshape(4, 2)
    assert quad.min() >= 0 and (quad <= [110, 40]).all()


def test_the_same_image_reads_the_same_in_any_batch(stage: RapidOcr) -> None:
    a, b = sample(picture(("TAXI", 50, 60))), sample(picture(("PARK 12", 20, 90)))
    assert stage([a, b, a]) == [stage([a])[0], stage([b])[0], stage([a])[0]]


@pytest.mark.parametrize("turn", range(4))
@pytest.mark.parametrize("mirrored", [False, True])
def test_corners_go_clockwise_from_the_top_left_whatever_their_order(
    turn: int, mirrored: bool
) -> None:
    corners = np.array([[2.0, 1], [8, 2], [7, 5], [1, 4]])
    given = np.roll(corners[::-1] if mirrored else corners, turn, axis=0)
    assert clockwise(given) == tuple(corners.ravel())


def test_the_lookup_of_pixels_gives_the_detector_the_same_numbers() -> None:
    from rapidocr import RapidOCR

    engine = RapidOCR(params={"Global.log_level": "error"})
    image = np.random.default_rng(0).integers(0, 256, (96, 128, 3), dtype=np.uint8)
    expected = engine._load_det_model().get_preprocess()(image)
    use_lookup(engine)
    found = engine.text_det.get_preprocess()(image)
    assert found.dtype == expected.dtype == np.float32
    assert np.array_equal(found, expected)
