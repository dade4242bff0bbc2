"""Scores of boxes, masks, phrases and words: average precision, recall, F1."""

from __future__ import annotations

import copy
import json
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from pycocotools import mask as coco_mask

from pipeline.quality.evaluate import evaluate
from tests.pipeline.quality.task_files import truth

PHOTOS = Path(__file__).parents[4] / "shared/data/photos"


def boxes() -> dict[str, Any]:
    rows = [(1, 1, [10, 10, 40, 40]), (1, 2, [60, 60, 30, 20]), (2, 1, [5, 5, 80, 50])]
    entries = [
        {"image_id": image, "category_id": category, "bbox": box} for image, category, box in rows
    ]
    return truth(*entries, categories=[{"id": 1, "name": "cat"}, {"id": 2, "name": "dog"}])


def scored(entries: list[dict[str, Any]], *scores: float) -> list[dict[str, Any]]:
    return [
        {k: v for k, v in e.items() if k != "id"} | {"score": s}
        for e, s in zip(entries, scores, strict=True)
    ]


def test_detection_of_everything_has_an_average_precision_of_one() -> None:
    given = boxes()
    scores = evaluate("detection", given, scored(given["annotations"], 0.9, 0.8, 0.7))
    assert scores["AP"] == scores["AP50"] == scores["AP75"] == scores["AR100"] == pytest.approx(1)


def test_detection_of_one_category_of_two_halves_the_average_precision() -> None:
    given = boxes()
    found = scored([given["annotations"][0], given["annotations"][2]], 0.9, 0.8)
    assert evaluate("detection", given, found)["AP"] == pytest.approx(0.5)
    assert evaluate("detection", given, [])["AP"] == 0


def test_segmentation_scores_masks_not_boxes() -> None:
    left, right = np.zeros((20, 20), np.uint8, "F"), np.zeros((20, 20), np.uint8, "F")
    left[:, :10], right[:, 10:] = 1, 1
    for bitmap, expected in ((left, 1), (right, 0)):
        found = coco_mask.encode(bitmap)
        polygon = [[0, 0, 10, 0, 10, 20, 0, 20]]
        given = truth({"image_id": 1, "category_id": 1, "segmentation": polygon})
        prediction = {"image_id": 1, "category_id": 1, "segmentation": _text(found), "score": 1.0}
        assert evaluate("segmentation", given, [prediction])["AP"] == pytest.approx(expected)


def test_polygons_of_images_of_unknown_size_are_scored_whether_or_not_something_was_found() -> None:
    square = [[0, 0, 10, 0, 10, 20, 0, 20]]
    entries = [{"image_id": i, "category_id": 1, "segmentation": square} for i in (1, 2)]
    given = {
        "images": [{"id": 1}, {"id": 2}],
        "annotations": [{"id": e["image_id"], **e} for e in entries],
    }
    one = {**entries[0], "score": 1.0}
    assert evaluate("segmentation", given, [one, {**entries[1], "score": 0.5}])[
        "AP"
    ] == pytest.approx(1)
    assert evaluate("segmentation", given, [one])["AR100"] == pytest.approx(0.5)


def _text(mask: dict[str, Any]) -> dict[str, Any]:
    return {"size": mask["size"], "counts": mask["counts"].decode()}


@pytest.mark.skipif(not PHOTOS.exists(), reason="the 40 photos are not here")
@pytest.mark.parametrize(
    ("kind", "field", "iou"),
    [("detection", "bbox", "bbox"), ("segmentation", "segmentation", "segm")],
)
def test_average_precision_of_jittered_objects_equals_pycocotools(
    kind: str, field: str, iou: str, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    from pycocotools.coco import COCO
    from pycocotools.cocoeval import COCOeval

    rng = np.random.default_rng(0)
    coco = COCO(str(PHOTOS / "instances.json"))
    found = []
    for entry in coco.dataset["annotations"]:
        box = (np.array(entry["bbox"]) + rng.normal(0, 6, 4)).clip(1).tolist()
        shape = {"bbox": box} if field == "bbox" else {"segmentation": _text(coco.annToRLE(entry))}
        category = entry["category_id"] if rng.random() < 0.8 else 1
        found.append(
            {"image_id": entry["image_id"], "category_id": category, "score": rng.random(), **shape}
        )
    reference = COCOeval(coco, coco.loadRes(copy.deepcopy(found)), iou)
    reference.evaluate()
    reference.accumulate()
    reference.summarize()
    (tmp_path / "found.json").write_text(json.dumps(found))
    capsys.readouterr()
    scores = evaluate(kind, PHOTOS / "instances.json", tmp_path / "found.json")
    assert capsys.readouterr().out == ""
    assert 0.1 < scores["AP"] < 0.95
    images = [scores.pop(name) for name in ("images", "missing")]
    assert images == [40, 0]
    np.testing.assert_allclose(list(scores.values()), reference.stats, atol=1e-9)


def phrase(words: str, box: list[float], image: int = 1, **more: Any) -> dict[str, Any]:
    return {"image_id": image, "phrase": words, "bbox": box, **more}


def test_recall_at_k_looks_at_the_k_surest_boxes_of_the_phrase() -> None:
    given = truth(
        phrase("a dog", [0, 0, 10, 10]),
        phrase("a cat", [50, 0, 10, 10]),
        phrase("a cow", [0, 50, 9, 9]),
    )
    found = [
        phrase("a dog", [0, 0, 10, 9], score=0.9),
        *(phrase("a cat", [i, 0, 10, 10], score=0.9 - i / 100) for i in range(3)),
        phrase("a cat", [50, 0, 10, 10], score=0.1),
        phrase("a sheep", [0, 50, 9, 9], score=0.9),
    ]
    scores = evaluate("grounding", given, found)
    assert [scores[f"R@{k}"] for k in (1, 5, 10)] == pytest.approx([1 / 3, 2 / 3, 2 / 3])


def test_a_phrase_with_several_boxes_is_found_by_one_of_them() -> None:
    given = truth(phrase("dogs", [0, 0, 10, 10]), phrase("dogs", [50, 0, 10, 10]))
    scores = evaluate("grounding", given, [phrase("dogs", [50, 0, 10, 10], score=1)])
    assert scores["R@1"] == 1 and scores["phrases"] == 1


def test_referring_accuracy_takes_the_surest_box() -> None:
    given = truth({"image_id": 1, "expression": "left dog", "bbox": [0, 0, 10, 10]})
    right = {"image_id": 1, "expression": "left dog", "bbox": [0, 0, 10, 10], "score": 0.4}
    wrong = {**right, "bbox": [40, 0, 10, 10], "score": 0.6}
    assert evaluate("referring", given, [right])["Acc@0.5"] == 1
    assert evaluate("referring", given, [right, wrong])["Acc@0.5"] == 0


def test_referring_segmentation_means_over_expressions_and_over_pixels() -> None:
    whole, half, small = (np.zeros((10, 10), np.uint8, "F") for _ in range(3))
    whole[:], half[:, :5], small[0, :4] = 1, 1, 1

    def entry(words: str, bitmap: np.ndarray) -> dict[str, Any]:
        return {"image_id": 1, "expression": words, "segmentation": _text(coco_mask.encode(bitmap))}

    given = truth(entry("all", whole), entry("few", small), entry("none", half))
    scores = evaluate("referring-segmentation", given, [entry("all", half), entry("few", small)])
    assert scores["mIoU"] == pytest.approx((0.5 + 1 + 0) / 3)
    assert scores["oIoU"] == pytest.approx((50 + 4 + 0) / (100 + 4 + 50))


def word(text: str, x: float) -> dict[str, Any]:
    return {"image_id": 1, "quad": [x, 0, x + 10, 0, x + 10, 5, x, 5], "text": text}


def test_words_count_when_found_and_read_right() -> None:
    given = truth(word("Stop", 0), word("exit", 20), word("###", 40))
    scores = evaluate(
        "ocr", given, [word("STOP!", 1), word("exlt", 20), word("junk", 40), word("air", 60)]
    )
    assert (scores["precision"], scores["recall"]) == (pytest.approx(1 / 3), 0.5)
    assert (scores["detection_precision"], scores["detection_recall"]) == (pytest.approx(2 / 3), 1)
    assert scores["words"] == 2


def test_a_box_stands_for_its_corners() -> None:
    given = truth({"image_id": 1, "bbox": [0, 0, 10, 5], "text": "stop"})
    assert evaluate("ocr", given, [word("stop", 0)])["F1"] == 1
