"""Scores of captions and of answers: BLEU, ROUGE, CIDEr, the accuracy of VQA."""

from __future__ import annotations

import json
from pathlib import Path

import pytest

from pipeline.quality.captions import tokenize
from pipeline.quality.evaluate import evaluate
from pipeline.quality.vqa import credit, normalise_answer
from tests.pipeline.quality.task_files import captions, truth

PHOTOS = Path(__file__).parents[4] / "shared/data/photos"


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
