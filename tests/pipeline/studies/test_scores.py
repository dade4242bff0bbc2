"""Scores of answers beside the truth, worked out by hand."""

from __future__ import annotations

from typing import Any

import pytest

from pipeline.studies.scores import score
from pipeline.studies.table import failures, markdown


def entry(
    task: str, expected: Any, found: Any, target: str = "", answer: str = "", key: str = "a"
) -> dict[str, Any]:
    return {
        "key": key,
        "size": [100, 100],
        "task": task,
        "prompt": f"{task} {target}",
        "target": target,
        "answer": answer,
        "expected": expected,
        "found": found,
    }


def place(label: str, *points: float, score: float = 0.9) -> dict[str, Any]:
    return {"label": label, "points": list(points), "score": score}


def test_a_box_counts_once_and_only_with_its_label() -> None:
    truth = [place("dog", 0, 0, 40, 40), place("cat", 50, 50, 90, 90)]
    found = [
        place("dog", 0, 0, 40, 39),
        place("dog", 0, 0, 40, 40, score=0.5),
        place("dog", 50, 50, 90, 90, score=0.4),
    ]
    scores = score([entry("<OD>", truth, found)])
    assert scores["detection F1@0.5"] == pytest.approx(2 * 1 / (3 + 2))
    assert scores["detection AP50"] == pytest.approx(0.5)  # the dog is found first, the cat never


def test_right_boxes_are_perfect_and_none_is_nothing() -> None:
    truth = [place("dog", 0, 0, 40, 40)]
    perfect = score([entry("<OD>", truth, truth)])
    assert perfect["detection AP"] == pytest.approx(1) and perfect["detection F1@0.5"] == 1
    assert score([entry("<OD>", truth, [])])["detection F1@0.5"] == 0


def test_a_detector_is_ranked_and_has_no_f1() -> None:
    answer = entry("<OD>", [place("dog", 0, 0, 40, 40)], [place("dog", 0, 0, 40, 40, score=0.1)])
    del answer["target"], answer["answer"]
    assert list(score([answer])) == ["detection AP", "detection AP50"]


def test_texts_are_equal_but_for_case_and_punctuation() -> None:
    pairs = [("A red dog sits.", "a red dog sits"), ("A cat.", "A dog.")]
    scores = score([entry("<CAPTION>", [], [], *pair, key=str(i)) for i, pair in enumerate(pairs)])
    assert scores["caption exact"] == 0.5


def test_a_phrase_is_found_by_its_first_box() -> None:
    truth = [place("a dog", 0, 0, 40, 40), place("a cat", 50, 50, 90, 90)]
    found = [
        place("a dog", 0, 0, 38, 40),
        place("a cat", 0, 0, 5, 5, score=0.9),
        place("a cat", 50, 50, 90, 90, score=0.1),
    ]
    assert score([entry("<CAPTION_TO_PHRASE_GROUNDING>", truth, found)])["grounding R@1"] == 0.5


def test_outlines_are_compared_as_masks_and_a_missing_one_is_zero() -> None:
    whole, half = ({"polygons": [[0, 0, w, 0, w, 40, 0, 40]]} for w in (40, 20))
    asked = [
        entry("<REFERRING_EXPRESSION_SEGMENTATION>", [whole], [half], "a dog"),
        entry("<REFERRING_EXPRESSION_SEGMENTATION>", [whole], [], "a cat"),
    ]
    scores = score(asked)
    assert scores["referring mIoU"] == pytest.approx(0.25, abs=0.01)
    assert scores["referring oIoU"] == pytest.approx(0.25, abs=0.01)


def test_a_region_is_named_without_the_locations_behind_the_name() -> None:
    told = [place("dog", 0, 0, 40, 40)]
    asked = [
        entry("<REGION_TO_CATEGORY>", told, told, "a"),
        entry("<REGION_TO_CATEGORY>", told, [], "b", "cat"),
    ]
    assert score(asked) == {"region category accuracy": 0.5}


def test_words_are_matched_by_their_letters() -> None:
    quad = (0, 0, 40, 0, 40, 20, 0, 20)
    found = score([entry("<OCR_WITH_REGION>", [place("STOP!", *quad)], [place("stop", *quad)])])
    assert found == {"OCR F1@0.5": 1.0}


def test_a_table_has_a_line_a_phase_and_a_column_a_metric() -> None:
    rows = [
        {
            "row": "image",
            "phase": "pre-train",
            "steps": 500,
            "samples": 2000,
            "seconds": 90.0,
            "scores": {"x": 0.5},
        },
        {
            "row": "image",
            "phase": "fine-tune",
            "steps": 200,
            "samples": 2000,
            "scores": {"x": 0.25, "y": 1.0},
        },
        {"row": "start", "phase": "as it is", "steps": 0, "scores": {"y": 0.125}},
    ]
    lines = markdown({"title": "Families", "test_samples": 20, "rows": rows}).splitlines()
    cells = []
    for line in lines[2:]:
        columns = line.strip("|").split("|")
        cells.append([column.strip() for column in columns])
    assert cells[0] == ["", "samples", "steps", "minutes", "x", "y"]
    assert cells[2:] == [
        ["image: pre-train", "2,000", "500", "1.5", "0.500", ""],
        ["image: fine-tune", "2,000", "200", "", "0.250", "1.000"],
        ["start", "0", "0", "", "", "0.125"],
    ]


def test_a_row_that_failed_has_a_line_of_its_own() -> None:
    failed = [{"row": "image", "error": "image, pre-train: train: out of memory"}]
    assert failures({"failed": []}) == []
    assert failures({"failed": failed}) == [
        "image, pre-train: train: out of memory; the same command tries again"
    ]
