"""`evaluate` on rounds: what is matched with what, and what is refused."""

from __future__ import annotations

from typing import Any

import numpy as np
import pytest
from pycocotools import mask as coco_mask

from pipeline.quality.evaluate import evaluate
from pipeline.rows import Record
from pipeline.schema import Annotations, Mask, Region, Text, TextRegion, Triplet
from tests.pipeline.quality.task_files import captions, truth


def record(key: str, *labels: Any) -> Record:
    kinds: tuple[type, ...] = (Text, Region, TextRegion, Triplet)
    annotations = Annotations(*([a for a in labels if isinstance(a, kind)] for kind in kinds))
    return Record(
        key=key, name=f"sub/{key}.jpg", width=100, height=80, sha256="", annotations=annotations
    )


def labelled() -> list[Record]:
    bitmap = np.zeros((80, 100), np.uint8, "F")
    bitmap[10:50, 10:50] = 1
    mask = Mask(size=(80, 100), counts=coco_mask.encode(bitmap)["counts"].decode())
    return [
        record(
            key,
            Text(id="t", granularity="brief", text=f"a dog on {key}", score=0.9),
            Text(granularity="brief", text="nothing", score=0.1),
            Region(box=(10, 10, 50, 50), phrase="dog", score=0.9, mask=mask),
            Region(box=(60, 60, 70, 70), phrase="ghost", score=0.9, dropped="nms"),
            TextRegion(quad=(0, 0, 10, 0, 10, 5, 0, 5), text="exit"),
            Triplet(
                text_id="t",
                phrase="a dog",
                start=0,
                end=5,
                box=(10, 10, 50, 50),
                score=0.5,
                mask=mask,
            ),
        )
        for key in ("a", "b")
    ]


@pytest.mark.parametrize(
    ("kind", "metric", "best"),
    [
        ("caption", "BLEU_1", 1),
        ("detection", "AP", 1),
        ("segmentation", "AP", 1),
        ("grounding", "R@1", 1),
        ("referring", "Acc@0.5", 1),
        ("referring-segmentation", "mIoU", 1),
        ("ocr", "F1", 1),
    ],
)
def test_a_round_equals_itself_in_every_kind(kind: str, metric: str, best: float) -> None:
    assert evaluate(kind, labelled(), labelled())[metric] == pytest.approx(best)


def test_a_round_is_matched_to_coco_images_by_file_name() -> None:
    given = truth(
        {"image_id": 7, "category_id": 3, "bbox": [10, 10, 40, 40]},
        categories=[{"id": 3, "name": "dog"}],
    )
    given["images"] = [{"id": 7, "file_name": "b.jpg"}]
    assert evaluate("detection", given, labelled())["AP"] == pytest.approx(1)
    given["images"] = [{"id": 7, "file_name": "z.jpg"}]
    with pytest.raises(ValueError, match="no image of the round is in the ground truth"):
        evaluate("detection", given, labelled())


def test_images_that_only_the_truth_or_only_the_round_has_are_told(
    caplog: pytest.LogCaptureFixture,
) -> None:
    dog = {"category_id": 3, "bbox": [10, 10, 40, 40]}
    given = truth(
        {"image_id": 7, **dog},
        {"image_id": 8, **dog},
        categories=[{"id": 3, "name": "dog"}],
    )
    given["images"] = [{"id": 7, "file_name": "b.jpg"}, {"id": 8, "file_name": "c.jpg"}]
    scores = evaluate("detection", given, labelled())
    # One of the two dogs is found: 51 of COCO's 101 points of recall (0, 0.01, ... 0.5).
    assert scores["AP"] == pytest.approx(51 / 101)
    assert [message.getMessage() for message in caplog.records] == [
        "1 of the 2 images of the ground truth are not in the round, and their objects count as not"
        " found; for the others alone, leave these images out of the file",
        "1 of the 2 images of the round are not in the ground truth, and are not measured",
    ]
    caplog.clear()
    evaluate("detection", labelled(), labelled())
    assert not [one for one in caplog.records if "images of" in one.getMessage()]


@pytest.mark.parametrize(
    ("kind", "given", "found", "message"),
    [
        ("captions", {}, [], "evaluate captions: choose from caption, detection"),
        ("caption", "no.json", [], "ground truth no.json: no such file"),
        ("caption", [], [], "expected {"),
        ("caption", truth(*captions((1, "a"))), {}, "expected a list"),
        (
            "caption",
            truth(*captions((1, "a"))),
            [{"image_id": 1}],
            r"predictions\[0\]: no 'caption'",
        ),
        (
            "caption",
            truth(*captions((1, "a"))),
            captions((2, "a")),
            "image_id 2 is not in the ground truth",
        ),
        ("caption", truth(*captions((1, "a"))), captions((1, "a"), (1, "b")), "several captions"),
        ("detection", truth({"image_id": 1, "bbox": [0, 0, 1, 1]}), [], "no 'category_id'"),
        ("ocr", truth({"image_id": 1, "text": "a"}), [], "no `quad`"),
        (
            "vqa",
            {"annotations": [{"question_id": 1, "answers": ["a"]}]},
            labelled(),
            "a round holds nothing",
        ),
    ],
)
def test_what_cannot_be_scored_is_refused_in_a_line(
    kind: str, given: Any, found: Any, message: str
) -> None:
    with pytest.raises(ValueError, match=message):
        evaluate(kind, given, found)


def test_an_object_without_a_mask_is_neither_right_nor_wrong_among_masks(
    caplog: pytest.LogCaptureFixture,
) -> None:
    square = [[10.0, 10, 30, 10, 30, 30, 10, 30]]
    other = [[50.0, 50, 90, 50, 90, 90, 50, 90]]
    label = {"image_id": 1, "category_id": 1}
    truth = {
        "images": [{"id": 1, "width": 100, "height": 100}],
        "categories": [{"id": 1, "name": "dog"}],
        "annotations": [
            {**label, "id": 1, "bbox": [10, 10, 20, 20], "segmentation": square},
            {**label, "id": 2, "bbox": [50, 50, 40, 40]},
        ],
    }
    # What lies in the box of the second object is found with the higher score.
    found = [
        {**label, "segmentation": other, "score": 0.9},
        {**label, "segmentation": square, "score": 0.8},
    ]
    assert evaluate("segmentation", truth, found)["AP"] == pytest.approx(1)
    assert "1 of 2 objects have no mask" in caplog.text
