"""The triplet filter's reasons and the blacklists."""

from __future__ import annotations

import pytest

from pipeline.schema import HUMAN, Annotations, Text, Triplet
from stages.base import Sample
from stages.filters.triplet import (
    TripletFilter,
    TripletFilterConfig,
    blacklist,
    is_blacklisted,
    read_list,
)

TEXT = "A dog sees it near the image."


def triplet(phrase: str = "A dog", start: int = 0, **more: object) -> Triplet:
    settings = {
        "id": "p",
        "source": "ground",
        "text_id": "t",
        "phrase": phrase,
        "start": start,
        "end": start + len(phrase),
        "box": (0.0, 0.0, 9.0, 9.0),
        "score": 0.8,
        "phrase_score": 0.8,
    }
    return Triplet(**{**settings, **more})


def reason(item: Triplet, text_dropped: str | None = None, **settings: object) -> str | None:
    text = Text(id="t", granularity="brief", text=TEXT, dropped=text_dropped)
    sample = Sample(key="k", size=(9, 9), annotations=Annotations(texts=[text], triplets=[item]))
    (result,) = TripletFilter(TripletFilterConfig(**settings))([sample])
    return result.triplets[0].dropped if result.triplets else None


def test_a_good_triplet_stays() -> None:
    assert reason(triplet()) is None


@pytest.mark.parametrize(
    ("item", "expected"),
    [
        (triplet(text_id="gone"), "text_dropped"),
        (triplet(start=1), "span_mismatch"),
        (triplet(phrase="", start=3), "span_mismatch"),
        (triplet(box=(3.0, 3.0, 3.0, 9.0)), "degenerate_box"),
        (triplet("it", 11), "blacklisted"),
        (triplet("the image", 19), "blacklisted"),
        (triplet(phrase_score=0.24), "low_phrase_score"),
        (triplet(score=0.29), "low_box_score"),
        (triplet(score=0.9, confidence=0.1), "low_box_score"),
        (triplet(phrase_score=None, score=None), None),
    ],
)
def test_each_rule_has_its_reason(item: Triplet, expected: str | None) -> None:
    assert reason(item) == expected


def test_a_dropped_text_takes_its_triplets_along() -> None:
    assert reason(triplet(), text_dropped="too_many_objects") == "text_dropped"


def test_box_thresholds_go_by_source() -> None:
    assert reason(triplet(score=0.5), min_box_scores={"ground": 0.6}) == "low_box_score"
    assert reason(triplet(score=0.5), min_box_scores={"refine": 0.6}) is None


def test_what_too_few_of_an_ensemble_say_is_dropped_when_asked_for() -> None:
    assert reason(triplet(agreement=0.5), min_agreement=0.6) == "low_agreement"
    assert reason(triplet(agreement=0.5)) is None
    assert reason(triplet(), min_agreement=0.6) is None


def test_human_triplets_are_left_alone() -> None:
    assert reason(triplet("it", 11, source=HUMAN)) is None


def test_own_phrases_join_the_blacklist() -> None:
    assert reason(triplet(), blacklist=("Dog",)) == "blacklisted"


def test_the_released_list_is_whole() -> None:
    released = read_list("blacklist")
    assert len(released) == 72
    assert {"it", "each other", "the image", "a set", "ourselves"} <= released


@pytest.mark.parametrize(
    "phrase", ["It", "The Image", "  the   image ", "the top", "a view", "each other"]
)
def test_case_article_and_spaces_do_not_hide_a_listed_phrase(phrase: str) -> None:
    assert is_blacklisted(phrase, blacklist())


@pytest.mark.parametrize("phrase", ["a dog", "the tabletop", "image sensor", "a set of plates"])
def test_phrases_that_only_contain_a_listed_word_stay(phrase: str) -> None:
    assert not is_blacklisted(phrase, blacklist())


def test_an_unknown_list_names_the_known_ones() -> None:
    with pytest.raises(ValueError, match=r"'pronouns'.*abstract.*blacklist"):
        TripletFilter(TripletFilterConfig(lists=("pronouns",)))
