"""Quantiser and parsers against golden values, real generations and the released code."""

from __future__ import annotations

import random
from collections.abc import Sequence
from typing import Any

import pytest

from stages.florence.codec import (
    Instance,
    Place,
    dequantise,
    outlines,
    places,
    quantise,
    strip_control,
    truncate_target,
)
from stages.florence.forward import tokenise_targets
from stages.florence.model import load
from stages.florence.tasks import TASKS, Example
from stages.florence.tokenizer import make_tokenizer

CAR = (640, 480)


@pytest.fixture(scope="module")
def released() -> Any:
    from transformers.models.florence2.processing_florence2 import Florence2PostProcessor

    config: dict[str, Any] = {kind: {} for kind in KINDS}
    config["phrase_grounding"] = {"banned_grounding_tokens": ["the image"]}
    return Florence2PostProcessor(config=config, tokenizer=make_tokenizer(["car door wheel"], 300))


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
OCR = (
    "</s><s><s><s>CUDA<loc_414><loc_100><loc_932><loc_100><loc_932><loc_229><loc_414><loc_229></s>"
)


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


def test_a_target_that_is_too_long_ends_with_a_whole_place() -> None:
    start, end, word, comma = 0, 2, 7, 8

    def places_of(*counts: int) -> list[int]:
        ids = [start]
        for count in counts:
            ids += [word, comma, *range(100, 100 + count)]  # locations are ids from 100
        return [*ids, end]

    ids = places_of(4, 8)
    lengths = {18: 18, 17: 14, 16: 14, 14: 14, 13: 8, 9: 8, 8: 8}
    for longest, expected in lengths.items():
        assert len(truncate_target(ids, longest, 4, 100)) == expected
    assert truncate_target(ids, 13, 4, 100) == places_of(4)
    assert truncate_target(places_of(8), 10, 8, 100) == [start, end]
    assert truncate_target(ids, 17, 2, 100) == [*ids[:16][:15], end]
    outline = [start, *range(100, 112), end]
    assert truncate_target(outline, 9, 2, 100) == [start, *range(100, 106), end]
    assert truncate_target(outline, 7, 2, 100) == [start, end]


def test_training_targets_are_cut_between_places_and_texts_anywhere() -> None:
    florence = load("nano")
    boxes = Example("<OD>", "", "car<loc_1><loc_2><loc_3><loc_4><loc_5><loc_6><loc_7><loc_8>")
    text = Example("<CAPTION>", "", "one two three four five six seven eight nine ten")
    cut, short = tokenise_targets(florence, [boxes, text], 10)
    assert str(florence.tokenizer.decode(cut)) == "<s>car<loc_1><loc_2><loc_3><loc_4></s>"
    assert len(short) == 10 and short[-1] == 2


def truncated(ours: Sequence[float], theirs: Sequence[int]) -> bool:
    """Whether theirs are ours without the fraction; float32 may round across an integer."""
    return all(-1e-3 <= a - b < 1.001 for a, b in zip(ours, theirs, strict=True))


# Parse types of the released post-processor, each with a task of ours that is parsed like it.
KINDS = {
    "description_with_bboxes": "<OD>",
    "bboxes": "<REGION_PROPOSAL>",
    "phrase_grounding": "<CAPTION_TO_PHRASE_GROUNDING>",
    "ocr": "<OCR_WITH_REGION>",
    "polygons": "<REGION_TO_SEGMENTATION>",
    "pure_text": "<CAPTION>",
    "description_with_bboxes_or_polygons": "<OPEN_VOCABULARY_DETECTION>",
}


def random_run(draw: random.Random, count: int) -> str:
    return "".join(f"<loc_{draw.randint(0, 999)}>" for _ in range(count))


def random_outlines(draw: random.Random) -> str:
    return "<sep>".join(random_run(draw, 2 * draw.randint(3, 9)) for _ in range(draw.randint(1, 3)))


def random_instances(draw: random.Random) -> str:
    """The instances of one label."""
    count = draw.randint(1, 2)
    return "".join(f"<poly>{random_outlines(draw)}</poly>" for _ in range(count))


def random_answer(draw: random.Random, kind: str) -> str:
    """A well-formed answer of this parse type."""
    labels = [
        " ".join(draw.choices(["red", "car", "a", "wheel", "two-tone", "9/22"], k=3))
        for _ in range(4)
    ]
    labels = labels[: draw.randint(1, 4)]
    if kind == "pure_text":
        return " and ".join(labels)
    if kind == "bboxes":
        return random_run(draw, 4 * draw.randint(1, 6))
    if kind == "ocr":
        return "".join(label + random_run(draw, 8) for label in labels)
    instances = [random_instances(draw) for _ in labels]
    if kind == "polygons":
        return draw.choice([random_outlines(draw), instances[0]])
    if kind == "description_with_bboxes_or_polygons" and draw.random() < 0.5:
        return "".join(label + outline for label, outline in zip(labels, instances, strict=True))
    return "".join(label + random_run(draw, 4 * draw.randint(1, 3)) for label in labels)


def flat(parsed: Any) -> list[tuple[str, list[float]]]:
    """The result of either parser, as (label, numbers) of every box, quad or outline."""
    if isinstance(parsed, str):
        return [(parsed, [])]
    found: list[tuple[str, list[float]]] = []
    for each in parsed:
        if isinstance(each, Place):
            found.append((each.label, list(each.points)))
        elif isinstance(each, Instance):
            found += [(each.label, list(polygon)) for polygon in each.polygons]
        elif "polygons" in each:
            found += [(each["cat_name"], polygon) for polygon in each["polygons"]]
        elif "quad_box" in each:
            found.append((each["text"], each["quad_box"]))
        else:
            boxes = each["bbox"] if isinstance(each["bbox"][0], list) else [each["bbox"]]
            found += [(each["cat_name"], box) for box in boxes]
    return found


@pytest.mark.parametrize("kind", KINDS)
def test_answers_agree_with_the_released_parser(kind: str, released: Any) -> None:
    draw = random.Random(kind)
    for _ in range(10_000):
        answer, size = random_answer(draw, kind), (draw.randint(50, 3000), draw.randint(50, 3000))
        theirs = flat(released(text=answer, image_size=size, parse_tasks=kind)[kind])
        ours = flat(TASKS[KINDS[kind]].parse(f"</s><s>{answer}</s>", size))
        assert [label for label, _ in ours] == [label for label, _ in theirs]
        assert all(truncated(a, b) for (_, a), (_, b) in zip(ours, theirs, strict=True))


BOX = "<loc_1><loc_2><loc_3><loc_4>"


@pytest.mark.parametrize(
    ("kind", "answer", "theirs", "mine"),
    [
        (
            "description_with_bboxes",
            f"{BOX}<loc_5>",
            ["loc_1>"],
            [""],
        ),  # and their box begins at loc_2
        ("description_with_bboxes", f"two\nlines{BOX}", [], ["two\nlines"]),
        ("description_with_bboxes", f"caf\u00e9{BOX}", ["caf"], ["caf\u00e9"]),
        ("description_with_bboxes", "car<loc_1><loc_2><loc_3>", [], []),
        ("description_with_bboxes", f"car{BOX}<loc_5>", ["car"], ["car"]),
        (
            "phrase_grounding",
            f"the image{BOX}The Image{BOX}",
            ["The Image"],
            ["the image", "The Image"],
        ),
        ("ocr", f"a{BOX}{BOX}{BOX}{BOX}", ["a"], ["a", "a"]),
        ("polygons", "<loc_1><loc_2><loc_3><loc_4><sep><loc_5><loc_6><loc_7>", ["", ""], ["", ""]),
    ],
)
def test_where_the_released_parser_loses_something_ours_keeps_it(
    released: Any, kind: str, answer: str, theirs: list[str], mine: list[str]
) -> None:
    assert [
        label for label, _ in flat(released(text=answer, image_size=CAR, parse_tasks=kind)[kind])
    ] == theirs
    assert [label for label, _ in flat(TASKS[KINDS[kind]].parse(answer, CAR))] == mine


@pytest.mark.parametrize(
    ("token", "answer", "expected"),
    [
        (
            "<CAPTION>",
            "</s><s>A green car parked in front of a yellow building.</s>",
            [("A green car parked in front of a yellow building.", [])],
        ),
        (
            "<OD>",
            "</s><s><s><s>car<loc_53><loc_333><loc_933><loc_774>"
            "door<loc_712><loc_203><loc_906><loc_545></s>",
            [("car", [34, 160, 597, 371]), ("door", [456, 97, 580, 261])],
        ),
        (
            "<REGION_PROPOSAL>",
            "</s><s><s><s><loc_52><loc_333><loc_932><loc_774></s>",
            [("", [33, 160, 596, 371])],
        ),
        (
            "<CAPTION_TO_PHRASE_GROUNDING>",
            "</s><s><s><s>A green car<loc_54><loc_330><loc_911><loc_780>a yellow building"
            "<loc_0><loc_8><loc_998><loc_635></s>",
            [("A green car", [34, 158, 583, 374]), ("a yellow building", [0, 4, 639, 305])],
        ),
        (
            "<OPEN_VOCABULARY_DETECTION>",
            "</s><s>wheels<loc_144><loc_570><loc_870><loc_778>wheels<loc_711><loc_573>"
            "<loc_866><loc_774></s>",
            [("wheels", [92, 273, 557, 373]), ("wheels", [455, 275, 554, 371])],
        ),
        (
            "<OPEN_VOCABULARY_DETECTION>",
            "arms<poly><loc_550><loc_421></poly>",
            [("arms", [352, 202])],
        ),
        (
            "<REGION_TO_CATEGORY>",
            "</s><s>car<loc_52><loc_332><loc_932><loc_774></s>",
            [("car", [33, 159, 596, 371])],
        ),
        (
            "<REFERRING_EXPRESSION_SEGMENTATION>",
            "</s><s><loc_279><loc_379><loc_282><loc_379><loc_290><loc_372></s>",
            [("", [178, 182, 180, 182, 185, 178])],
        ),
    ],
)
def test_real_answers_say_what_they_did(
    token: str, answer: str, expected: list[tuple[str, list[int]]]
) -> None:
    found = flat(TASKS[token].parse(answer, CAR))
    assert [label for label, _ in found] == [label for label, _ in expected]
    assert all(
        truncated(points, numbers)
        for (_, points), (_, numbers) in zip(found, expected, strict=True)
    )
