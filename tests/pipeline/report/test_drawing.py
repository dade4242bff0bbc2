"""Labels drawn on pictures: colours, outlines, masks, and the texts below."""

from __future__ import annotations

import base64
import io

import numpy as np
from PIL import Image

from pipeline.report.draw import draw
from pipeline.report.embedded import data_uri
from pipeline.report.overlay import Colours, coloured_text, outlines, overlay
from pipeline.schema import (
    Annotations,
)
from tests.pipeline.report.labels import BOX, TEXT, jpeg, region, ring, rle, sample


def test_large_and_unusual_images_are_embedded_as_smaller_copies_that_browsers_show() -> None:
    small = jpeg()
    assert data_uri(small) == "data:image/jpeg;base64," + base64.b64encode(small).decode()
    for form, mime in (("JPEG", "image/jpeg"), ("TIFF", "image/png")):
        uri = data_uri(jpeg((3000, 1500), form))
        assert uri.startswith(f"data:{mime};base64,")
        with Image.open(io.BytesIO(base64.b64decode(uri.split(",")[1]))) as copy:
            assert copy.size == (1280, 640)


def test_an_object_has_one_colour_as_region_and_as_phrase() -> None:
    colours = Colours()
    shapes = overlay(sample(), colours)
    assert coloured_text(TEXT, sample().triplets, colours) == [
        ("A red circle", shapes.boxes[0].colour),
        (" & a <sign>.", None),
    ]
    assert [shape.label for shape in shapes.boxes] == ["red circle"]
    assert [shape.label for shape in shapes.dropped] == ["ghost: low_score"]


def test_other_objects_have_other_colours() -> None:
    colours = Colours()
    assert colours.of(BOX) == colours.of((9, 9, 40, 40)) != colours.of((44, 8, 60, 24))


def test_outlines_of_a_ring_are_its_border_and_its_hole() -> None:
    found = outlines(rle(ring()))
    assert sorted(tuple(np.ptp(points, axis=0)) for points in found) == [(17, 17), (31, 31)]


def test_a_drawn_picture_tints_the_mask_but_not_its_hole() -> None:
    picture = np.array(draw(Image.new("RGB", (720, 720), "white"), _scaled_ring()))
    assert picture[130, 130].tolist() != [255, 255, 255]  # the ring
    assert picture[260, 260].tolist() == [255, 255, 255]  # its hole
    assert picture.shape[0] == 720


def _scaled_ring() -> Annotations:
    bitmap = np.kron(ring(), np.ones((11, 11), bool))[:720, :720]
    return Annotations(regions=[region(box=(88, 88, 440, 440), mask=rle(bitmap))])


def test_a_drawn_picture_has_its_texts_below_it() -> None:
    image = Image.new("RGB", (64, 64))
    assert draw(image, Annotations()).size == (720, 720)
    assert draw(image, sample()).height > 720
