"""Quantiser and parsers against the released ones: golden values, raw generations, `transformers` itself."""

from __future__ import annotations

import random
from collections.abc import Sequence
from typing import Any

import pytest

from stages.florence.codec import dequantise, outlines, places, quantise, strip_control
from stages.florence.model import make_tokenizer

CAR = (640, 480)


@pytest.fixture(scope="module")
def released() -> Any:
    from transformers.models.florence2.processing_florence2 import Florence2PostProcessor

    return Florence2PostProcessor(config={}, tokenizer=make_tokenizer(["car door wheel"], 300))


def test_quantise_floors_and_clamps_as_released() -> None:
    assert quantise([0, 0, 640, 480], CAR) == [0, 0, 999, 999]
    assert quantise([-3, 479.99, 0.64, 0.4799], CAR) == [0, 999, 1, 0]
    back = dequantise(quantise([750, 1121, 851, 1239], (800, 1200)), (800, 1200))
    assert [int(v) for v in back] == [750, 1121, 799, 1199]


def test_dequantise_gives_bin_centres() -> None:
    assert dequantise([53, 333], CAR) == pytest.approx((34.24, 160.08))


def test_every_bin_survives_a_round_trip() -> None:
    for size in (CAR, (191, 4001), (1000, 1000)):
        pairs = [(i, 999 - i) for i in range(1000)]
        assert [tuple(quantise(dequantise(p, size), size)) for p in pairs] == pairs


def test_quantise_equals_the_released_one_on_random_boxes(released: Any) -> None:
    import torch

    draw = random.Random(0)
    for _ in range(500):
        size = (draw.randint(8, 4000), draw.randint(8, 4000))
        box = [draw.uniform(-5, size[i % 2] + 5) for i in range(4)]
        # float64 on both sides: the released code's float32 differs in the last bit at bin edges
        expected = released.quantize(torch.tensor([box], dtype=torch.float64), size)[0].tolist()
        assert quantise(box, size) == expected


OD = (
    "</s><s>car<loc_53><loc_333><loc_933><loc_774>door handle<loc_425><loc_503><loc_474><loc_515>"
    "wheel<loc_709><loc_576><loc_865><loc_772><loc_150><loc_584><loc_309><loc_773></s>"
)
OCR = "</s><s><s><s>CUDA<loc_414><loc_100><loc_932><loc_100><loc_932><loc_229><loc_414><loc_229></s>"


def test_a_real_detection_answer_is_read_box_by_box() -> None:
    found = places(strip_control(OD), CAR, 4)
    assert [f.label for f in found] == ["car", "door handle", "wheel", "wheel"]
    assert found[0].points == pytest.approx((34.24, 160.08, 597.44, 371.76))


def test_spans_point_at_the_label_and_the_locations_of_each_place() -> None:
    text = strip_control(OD)
    second_wheel = places(text, CAR, 4)[3]
    (start, end), (first, last) = second_wheel.spans
    assert text[start:end] == "wheel"
    assert text[first:last] == "<loc_150><loc_584><loc_309><loc_773>"


def test_a_real_ocr_answer_is_read_with_its_quad() -> None:
    (found,) = places(strip_control(OCR), (1000, 1000), 8)
    assert found.label == "CUDA" and found.points[:2] == (414.5, 100.5) and len(found.points) == 8


@pytest.mark.parametrize(
    ("text", "expected"),
    [
        ("car<loc_1><loc_2><loc_3>", []),
        ("car<loc_1><loc_2><loc_3><loc_4><loc_5>", ["car"]),
        ("<loc_1><loc_2><loc_3><loc_4>", [""]),
        ("caf\u00e9<loc_1><loc_2><loc_3><loc_4>", ["caf\u00e9"]),
        ("two\nlines<loc_1><loc_2><loc_3><loc_4>", ["two\nlines"]),
        ("", []),
        ("no place at all", []),
    ],
)
def test_odd_answers_keep_what_can_be_read(text: str, expected: list[str]) -> None:
    assert [f.label for f in places(text, CAR, 4)] == expected


def test_separators_split_outlines_and_poly_marks_split_instances() -> None:
    square = "<loc_0><loc_0><loc_9><loc_0><loc_9><loc_9>"
    one = outlines(f"{square}<sep>{square}<loc_5>", (1000, 1000))
    assert len(one) == 1 and [len(p) for p in one[0].polygons] == [6, 6]
    two = outlines(f"arms<poly>{square}</poly><poly>{square}</poly>", (1000, 1000))
    assert [i.label for i in two] == ["arms", "arms"] and len(two[0].polygons) == 1


def truncated(mine: Sequence[float], theirs: Sequence[int]) -> bool:
    """Theirs is mine cut to an integer, but for what float32 rounds across an integer."""
    return all(-1e-3 <= a - b < 1.001 for a, b in zip(mine, theirs, strict=True))


def random_answer(draw: random.Random, numbers: int) -> str:
    parts = []
    for _ in range(draw.randint(1, 6)):
        words = draw.choices(["red", "car", "a", "wheel", "two-tone", "9/22"], k=draw.randint(1, 3))
        parts.append(" ".join(words))
        parts += [f"<loc_{draw.randint(0, 999)}>" for _ in range(numbers * draw.randint(1, 3))]
    return "".join(parts)


def test_boxes_agree_with_the_released_parser_on_random_answers(released: Any) -> None:
    draw = random.Random(1)
    for _ in range(10_000):
        text, size = random_answer(draw, 4), (draw.randint(50, 3000), draw.randint(50, 3000))
        theirs = released.parse_description_with_bboxes_from_text_and_spans(text, size)
        mine = places(text, size, 4)
        assert [f.label for f in mine] == [t["cat_name"] for t in theirs]
        assert all(truncated(f.points, t["bbox"]) for f, t in zip(mine, theirs, strict=True))


def test_quads_agree_with_the_released_parser_on_random_answers(released: Any) -> None:
    draw = random.Random(2)
    for _ in range(10_000):
        words = [f"W{draw.randint(0, 99)} x" for _ in range(3)]
        text = "".join(w + "".join(f"<loc_{draw.randint(0, 999)}>" for _ in range(8)) for w in words)
        theirs = released.parse_ocr_from_text_and_spans(text, None, (700, 900))
        mine = places(text, (700, 900), 8)
        assert [f.label for f in mine] == [t["text"] for t in theirs]
        assert all(truncated(f.points, t["quad_box"]) for f, t in zip(mine, theirs, strict=True))
