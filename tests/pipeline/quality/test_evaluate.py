from __future__ import annotations

import copy
import json
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from pycocotools import mask as coco_mask

from pipeline.quality.captions import tokenize
from pipeline.quality.evaluate import evaluate
from pipeline.quality.vqa import credit, normalise_answer
from pipeline.schema import Annotations, Mask, Record, Region, Text, TextRegion, Triplet

PHOTOS = Path(__file__).parents[4] / "shared/data/photos"


def captions(*rows: tuple[int, str]) -> list[dict[str, Any]]:
    return [{"image_id": image, "caption": text} for image, text in rows]


def truth(*annotations: dict[str, Any], **more: Any) -> dict[str, Any]:
    images = [{"id": image} for image in dict.fromkeys(a["image_id"] for a in annotations)]
    return {
        "images": images,
        "annotations": [{"id": i, **a} for i, a in enumerate(annotations)],
        **more,
    }


def test_caption_scores_of_perfect_captions_are_their_maxima() -> None:
    rows = captions((1, "A man rides a red horse."), (2, "Two dogs sleep on the bed."))
    scores = evaluate("caption", truth(*rows), rows)
    assert scores["BLEU_4"] == pytest.approx(1, abs=1e-6)
    assert scores["ROUGE_L"] == pytest.approx(1) and scores["CIDEr"] == pytest.approx(10)


def test_rouge_l_is_the_f_measure_of_the_longest_common_subsequence() -> None:
    references = truth(*captions((1, "a b c d"), (1, "x y"), (2, "q")))
    scores = evaluate("caption", references, captions((1, "a c z"), (2, "q")), tokenized=True)
    precision, recall, beta2 = 2 / 3, 2 / 4, 1.2**2
    expected = (1 + beta2) * precision * recall / (recall + beta2 * precision)
    assert scores["ROUGE_L"] == pytest.approx((expected + 1) / 2)
    assert scores["BLEU_1"] == pytest.approx(3 / 4)


def test_tokenized_captions_are_taken_as_they_are() -> None:
    references = truth(*captions((1, "A Dog ."), (2, "it")))
    found = captions((1, "a dog"), (2, "it"))
    assert evaluate("caption", references, found)["BLEU_1"] == pytest.approx(1)
    assert evaluate("caption", references, found, tokenized=True)["BLEU_1"] < 0.5


def test_images_without_a_caption_are_counted_as_missing() -> None:
    rows = captions((1, "a dog"), (2, "a cat"), (3, "a cow"))
    scores = evaluate("caption", truth(*rows), rows[:2])
    assert (scores["images"], scores["missing"]) == (2, 1)


def test_tokenize_splits_as_the_penn_treebank_does() -> None:
    assert tokenize("A man's well-known dog, isn't it?") == "a man 's well-known dog is n't it"
    assert tokenize("It costs $3.50 -- \u201cwow\u201d!") == "it costs 3.50 wow"


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


@pytest.mark.skipif(not PHOTOS.exists(), reason="the 40 photos are not here")
def test_caption_scores_of_the_photos_equal_pycocoevalcap_on_tokenized_text() -> None:
    from pycocoevalcap.cider.cider import Cider

    rows: dict[int, list[str]] = {}
    for entry in json.loads((PHOTOS / "captions.json").read_text())["annotations"]:
        rows.setdefault(entry["image_id"], []).append(tokenize(entry["caption"]))
    references = {image: texts[1:] for image, texts in rows.items()}
    given = truth(
        *captions(*((image, text) for image, texts in references.items() for text in texts))
    )
    found = captions(*((image, texts[0]) for image, texts in rows.items()))
    expected, _ = Cider().compute_score(
        references, {image: texts[:1] for image, texts in rows.items()}
    )
    assert evaluate("caption", given, found, tokenized=True)["CIDEr"] == pytest.approx(
        expected, abs=1e-6
    )
    assert 0.3 < expected < 2


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


def test_vqa_credit_leaves_each_person_out() -> None:
    assert credit("yes", ["yes"] * 3 + ["no"] * 7) == pytest.approx((3 * 2 / 3 + 7 * 1) / 10)
    assert credit("yes", ["yes"] * 10) == 1 and credit("maybe", ["yes"] * 10) == 0
    assert credit("two", ["2"]) == 1


def test_vqa_accuracy_counts_unanswered_questions() -> None:
    questions = [{"question_id": i, "answers": [{"answer": "red"}] * 10} for i in (1, 2)]
    found = [{"question_id": 1, "answer": "Red."}]
    assert evaluate("vqa", {"annotations": questions}, found)["accuracy"] == 0.5


def test_answers_are_compared_without_articles_punctuation_and_number_words() -> None:
    assert normalise_answer("The Dog's, two cats!") == "dogs 2 cats"
    assert normalise_answer("1,000.5 kg.") == "1000.5 kg"


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
