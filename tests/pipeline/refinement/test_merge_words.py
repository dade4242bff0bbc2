"""The rules of the merge, on texts, words that OCR has read, and phrases."""

from dataclasses import replace
from typing import Any

import pytest

from pipeline.refinement.merge import merge
from pipeline.refinement.rules import Certainties, MergeConfig, Thresholds
from pipeline.schema import Annotations, Quad, TextRegion, Triplet
from tests.pipeline.labels import (
    BESIDE,
    BETWEEN,
    CONFIG,
    HERE,
    MASK,
    THERE,
    drop_reasons,
    text,
    written,
)

QUAD = (0.0, 0.0, 10.0, 0.0, 10.0, 5.0, 0.0, 5.0)
READ = "0.ocr.text_regions.0"
READ_AGAIN = "1.refine.text_regions.0"


def after_merge(before: Annotations, config: MergeConfig = CONFIG) -> Annotations:
    return before.overlaid(merge(before, 1, config))


def word(words: str, **fields: Any) -> TextRegion:
    """A word that the OCR engine has read."""
    return TextRegion(**{"id": READ, "quad": QUAD, "text": words, **fields})


def read_again(words: str, **fields: Any) -> TextRegion:
    """A word that the model has read."""
    known = {"id": READ_AGAIN, "round": 1, "score": 0.9, "support": -0.1}
    return word(words, **{**known, **fields})


def phrase(**fields: Any) -> Triplet:
    """A phrase of the old text with its box."""
    known = {"id": "0.ground.triplets.0", "text_id": text("").id, "phrase": "A cup"}
    return Triplet(**{**known, "start": 0, "end": 5, "box": HERE, **fields})


def test_a_quad_that_begins_at_another_corner_is_the_same_quad() -> None:
    quad: Quad = (10.0, 10.0, 50.0, 10.0, 50.0, 20.0, 10.0, 20.0)
    read = word("STOP", quad=quad, score=0.9, support=-0.5)
    turned = read_again("STOP", quad=quad[4:] + quad[:4], support=None)
    config = replace(CONFIG, text_regions=replace(CONFIG.text_regions, reshape=0.5))
    before, after = merge(Annotations(text_regions=[read, turned]), 1, config).text_regions
    assert (before.id, before.quad, before.dropped) == (READ, quad, None)
    assert (after.id, after.dropped) == (READ_AGAIN, "agrees")


def test_what_replaces_a_word_stands_where_it_stood() -> None:
    words = []
    for i, letters in enumerate(("N0", "PARKING", "HERE")):
        quad = (0, i, 9, i, 9, i + 1, 0, i + 1)
        words.append(word(letters, id=f"0.ocr.text_regions.{i}", quad=quad, support=-2.0))
    name = read_again("NO", quad=words[0].quad)
    found = read_again("PARKED", id="1.refine.text_regions.1", quad=words[1].quad, score=0.95)
    seen = Annotations(text_regions=words).overlaid(Annotations(text_regions=[found, name]))
    kept = after_merge(seen).kept()
    assert [word.text for word in kept.text_regions] == ["NO", "PARKED", "HERE"]


def test_words_and_texts_that_the_model_does_not_find_stay() -> None:
    trusted = Thresholds(refound=1.0, add=Certainties.fixed(-0.1), rename=Certainties.fixed(-0.1))
    measured = {"texts": trusted, "text_regions": trusted}
    caption = text("A cup.", support=-9.0)
    before = Annotations(texts=[caption], text_regions=[word("STOP", support=-9.0)])
    result = after_merge(before, MergeConfig(levels=measured))
    assert [annotation.dropped for annotation in result.all()] == [None, None]


def test_the_likelier_text_stays_and_triplets_of_the_other_go_with_it() -> None:
    triplet = phrase()
    grounded = replace(triplet, id="1.refine.triplets.0", round=1, score=0.99, box=THERE)
    texts = [text("A cup."), written("A mug.")]
    result = after_merge(Annotations(texts=texts, triplets=[triplet, grounded]))
    assert [text.dropped for text in result.texts] == ["relabelled", None]
    assert [triplet.dropped for triplet in result.triplets] == ["text_dropped", "text_dropped"]


@pytest.mark.parametrize(
    ("tie", "expected"),
    [
        ("old", {"A mug on a table.": "less_likely"}),
        ("longer", {"A cup.": "relabelled"}),
        ("both", {}),
    ],
)
def test_of_two_likely_texts_the_setting_says_which_stays(
    tie: Any, expected: dict[str, str]
) -> None:
    config = replace(CONFIG, texts=replace(CONFIG.texts, tie=tie))
    texts = [text("A cup.", support=-0.1), written("A mug on a table.")]
    result = after_merge(Annotations(texts=texts), config).texts
    assert {text.text: text.dropped for text in result if text.dropped} == expected


def test_of_several_captions_a_new_one_is_compared_with_the_one_most_like_it() -> None:
    dogs = text("Two dogs run.", support=-2.0)
    car = text("A red car stands.", id="0.caption.texts.1", support=-2.0)
    truck = written("A red truck stands.", score=0.95)
    result = after_merge(Annotations(texts=[dogs, car, truck])).texts
    assert drop_reasons(result) == {dogs.id: None, car.id: "relabelled", truck.id: None}
    parents = {text.id: text.parents for text in result}
    assert parents == {dogs.id: [], car.id: [], truck.id: [car.id]}


def test_texts_of_another_granularity_are_another_thing() -> None:
    texts = [text("A cup."), written("A mug.", granularity="detailed")]
    result = after_merge(Annotations(texts=texts)).texts
    assert [text.dropped for text in result] == [None, None]


def test_a_phrase_found_elsewhere_takes_the_mean_box_and_keeps_its_span() -> None:
    first = phrase(mask=MASK)
    again = replace(first, id="1.refine.triplets.0", round=1, box=BESIDE, score=0.9, mask=None)
    result = after_merge(Annotations(texts=[text("A cup.")], triplets=[first, again]))
    before, after = result.triplets
    assert before.dropped == "reshaped"
    assert (after.box, after.start, after.end) == (BETWEEN, 0, 5)
    assert (after.mask, after.parents) == (None, [first.id])
