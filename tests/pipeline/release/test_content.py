"""What of a record is released."""

from __future__ import annotations

from typing import Any

import numpy as np
import pytest
from pycocotools import mask as coco_mask

from pipeline.release.content import content_of
from pipeline.rows import Failure, Record
from pipeline.schema import Annotations, Mask, Region, Text, TextRegion, Triplet

TEXT = Text(id="t", granularity="brief", text="A red dog.")


def record(*regions: Region, **more: Any) -> Record:
    annotations = Annotations(regions=list(regions), **more)
    return Record(key="a", name="a.jpg", width=40, height=30, sha256="", annotations=annotations)


def region(box: tuple[float, ...], **more: Any) -> Region:
    return Region(**{"id": "r", "box": box, "phrase": "dog", **more})


def triplet(**more: Any) -> Triplet:
    known = {"id": "p", "text_id": "t", "phrase": "A red dog", "start": 0, "end": 9}
    return Triplet(**{**known, "box": (1, 1, 9, 9), **more})


def mask(height: int, width: int) -> Mask:
    counts = coco_mask.encode(np.asfortranarray(np.ones((height, width), np.uint8)))["counts"]
    return Mask(size=(height, width), counts=counts.decode())


def reasons(given: Record) -> dict[str, str]:
    return {left_out.id: left_out.reason for left_out in content_of(given).left_out}


def test_boxes_and_quads_are_clipped_to_the_image() -> None:
    quad = (30.0, -2.0, 45.0, -2.0, 45.0, 9.0, 30.0, 9.0)
    content = content_of(
        record(region((-3.5, 2.0, 41.0, 30.5)), text_regions=[TextRegion(quad=quad, text="x")])
    )
    assert content.record.annotations.regions[0].box == (0, 2, 40, 30)
    assert content.record.annotations.text_regions[0].quad == (30, 0, 40, 0, 40, 9, 30, 9)


def test_crowds_are_kept_if_asked_for_and_clipped_too() -> None:
    crowd = region((-3.5, 2.0, 41.0, 30.5), dropped="crowd")
    low = region((1, 1, 9, 9), id="low", dropped="low_score")
    assert content_of(record(crowd, low)).record.annotations.regions == []
    (kept,) = content_of(record(crowd, low), crowds=True).record.annotations.regions
    assert kept.box == (0, 2, 40, 30) and kept.dropped == "crowd"


@pytest.mark.parametrize(
    ("wrong", "reason"),
    [
        (region((50, 0, 60, 9)), "outside_image"),
        (region((5, 5, 5, 9)), "outside_image"),
        (region((1, 1, 9, 9), dropped="nms"), "nms"),
        (region((1, 1, 9, 9), mask=mask(40, 30)), "bad_mask"),
        (region((1, 1, 9, 9), mask=Mask(size=(30, 40), counts="junk~")), "bad_mask"),
    ],
)
def test_a_region_that_no_reader_could_use_is_left_out(wrong: Region, reason: str) -> None:
    good = region((1, 1, 9, 9), id="good", mask=mask(30, 40))
    content = content_of(record(wrong, good))
    assert content.record.annotations.regions == [good]
    assert reasons(record(wrong, good)) == {"r": reason}


def test_a_phrase_needs_its_text_and_its_span() -> None:
    dropped = Text(id="t", granularity="brief", text="A red dog.", dropped="too_simple")
    assert reasons(record(texts=[TEXT], triplets=[triplet()])) == {}
    assert reasons(record(texts=[TEXT], triplets=[triplet(start=2)])) == {"p": "span_not_in_text"}
    assert reasons(record(texts=[dropped], triplets=[triplet()])) == {
        "t": "too_simple",
        "p": "text_not_released",
    }


def test_the_detail_of_a_failure_is_not_released() -> None:
    failure = Failure(stage="ocr", reason="error", detail="OSError: /home/me/secret")
    given = Record(key="a", name="a", width=9, height=9, sha256="", failures=[failure])
    assert content_of(given).record.failures == [Failure(stage="ocr", reason="error")]
