"""Personal data in one text and faces in one image: what is found, and what a blur leaves."""

from __future__ import annotations

import io

import numpy as np
import pytest
from PIL import Image

from pipeline.release.blur import blur, blurred_regions
from pipeline.release.config import parse
from pipeline.release.personal import EMAIL, PHONE, PersonalData
from pipeline.rows import Record
from pipeline.schema import Annotations, Candidate, Region, Text, TextRegion


def test_a_whole_crowd_is_blurred_though_it_is_no_label() -> None:
    regions = [
        Region(box=(0, 0, 9, 9), phrase="person", dropped=dropped, score=score)
        for dropped, score in ((None, 0.4), (None, 0.1), ("low_score", 0.9), ("crowd", None))
    ]
    record = Record(
        key="k", name="k", width=9, height=9, sha256="", annotations=Annotations(regions=regions)
    )
    assert blurred_regions(record, {"person": 0.3}) == [regions[0], regions[3]]


@pytest.mark.parametrize(
    ("text", "expected"),
    [
        ("Ask anna.b+x@mail.example.org.", [EMAIL]),
        ("INFO@EXAMPLE.CO.UK", [EMAIL]),
        ("post@müller.example", [EMAIL]),
        ("@anna on all channels, 3 @ 4 dollars", []),
        ("a@b, v1.2@2024.10", []),
        ("Call +49 30 901820 or come", [PHONE]),
        ("(650) 253-0000", [PHONE]),
        ("tel 030 901820", []),
        ("season 2013-2014, 12:30, 2021-05-03", []),
        ("978-3-16-148410-0", []),
        ("4111 1111 1111 1111", []),
        ("a@example.org 650.253.0000", [EMAIL, PHONE]),
    ],
)
def test_addresses_and_numbers_are_told_from_other_signs(text: str, expected: list[str]) -> None:
    personal = PersonalData(("US",))
    assert personal.kinds(Text(granularity="alt", text=text)) == expected
    assert personal.kinds(TextRegion(quad=(0,) * 8, text=text)) == expected
    candidate = Candidate(text=text, kind="caption")
    assert personal.kinds(Region(box=(0, 0, 1, 1), phrase="a", candidates=[candidate])) == expected


def test_numbers_of_other_regions_are_found_where_they_are_named() -> None:
    text = Text(granularity="alt", text="tel 030 901820")
    assert PersonalData(("US", "DE")).kinds(text) == [PHONE]
    with pytest.raises(ValueError, match="phone_regions=Germany: no region"):
        parse(["name=a", "version=1", "phone_regions=Germany"])


def test_a_blurred_box_keeps_no_detail() -> None:
    """A chessboard of single pixels becomes grey, also where a box is at the edge."""
    board = (np.indices((60, 80)).sum(0) % 2 * 255).astype(np.uint8)
    buffer = io.BytesIO()
    Image.fromarray(np.stack([board] * 3, -1)).save(buffer, "PNG")
    data = buffer.getvalue()
    pixels = np.asarray(Image.open(io.BytesIO(blur(data, [(-5, 10, 30, 70)])))).astype(int)
    inside = pixels[10:60, :30]
    assert np.abs(inside - 127).max() <= 10
    outside = pixels[:, 40:]
    assert (outside == np.stack([board] * 3, -1)[:, 40:]).all()
