"""Plurals, counts, verbs and sizes."""

from __future__ import annotations

import pytest

from pipeline.schema import Candidate, Region
from stages.base import StageError
from stages.embedded.vocabulary import (
    VOCABULARIES,
    counted,
    lone_verb,
    name_of,
    plural,
    size_word,
    verb,
    vocabulary,
)


def region(phrase: str, x: float = 0, side: float = 10, **more: object) -> Region:
    return Region(box=(x, 0.0, x + side, side), phrase=phrase, **more)


@pytest.mark.parametrize(
    ("noun", "many"),
    [
        ("dog", "dogs"),
        ("red bus", "red buses"),
        ("bench", "benches"),
        ("person", "people"),
        ("box", "boxes"),
        ("knife", "knives"),
        ("sheep", "sheep"),
        ("baby", "babies"),
        ("toy", "toys"),
    ],
)
def test_plurals(noun: str, many: str) -> None:
    assert plural(noun) == many


def test_counts() -> None:
    assert [counted("orange", 1), counted("dog", 1), counted("skis", 1)] == [
        "an orange",
        "a dog",
        "skis",
    ]
    assert [counted("person", 3), counted("person", 12)] == ["three people", "many people"]


def test_verbs_follow_geometry_and_number() -> None:
    words = VOCABULARIES["demo"]
    circle = region("circle")
    assert verb(words, [circle], [region("star", 50)]) == "sits beside"
    assert verb(words, [circle] * 2, [region("star", 50)]) == "sit beside"
    assert verb(words, [circle], [region("star", 2)]) == "touches"
    assert verb(words, [circle] * 3, [region("star", 2)]) == "touch"


def test_of_photos_only_sure_verbs_are_stated() -> None:
    words = VOCABULARIES["photo"]
    assert verb(words, [region("dog")], [region("dog", 11)]) == "is next to"
    assert verb(words, [region("person")], [region("horse", 2)]) == ""
    assert lone_verb(words) == "is" and lone_verb(VOCABULARIES["demo"]) == "sits"


def test_sizes_are_shares_of_the_image() -> None:
    words = VOCABULARIES["demo"]
    sizes = [size_word(region("circle", side=side), 200, words) for side in (30, 50, 80)]
    assert sizes == ["small", "", "large"]
    assert size_word(region("sign", side=90), 200, words) == ""


def test_a_region_is_called_by_its_best_chunk_when_its_brief_text_is_a_sentence() -> None:
    chunks = [
        Candidate(text=text, kind="chunk", score=score)
        for text, score in (("old cat", 0.2), ("red cat", 0.6))
    ]
    brief = {"brief": "red cat sits on a mat", "brief_kind": "caption"}
    assert name_of(region("cat", candidates=chunks, **brief)) == "red cat"
    assert name_of(region("cat", **brief)) == "cat"
    assert name_of(region("cat", brief="black cat", brief_kind="chunk")) == "black cat"


def test_an_unknown_style_names_the_known_ones() -> None:
    with pytest.raises(StageError, match="style='poem': use one of demo, photo"):
        vocabulary("poem")
