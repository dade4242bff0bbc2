"""Which annotations are the same thing, and what is a confirmation, by kind."""

import numpy as np
import pytest

from pipeline.refinement.matching import (
    MATCHING,
    confirms,
    matches,
    phrase_overlap,
    shared_words,
    starting_like,
    text_overlap,
)
from pipeline.refinement.rules import Rules
from pipeline.schema import Box, Region, Text, Triplet

RULES = Rules(match_iou=0.5, same_iou=0.3)


def region(id_: str, box: Box, phrase: str = "cup") -> Region:
    return Region(id=id_, box=box, phrase=phrase)


def matched(new: list[Region], old: list[Region]) -> list[tuple[str, str, bool]]:
    pairs = []
    for match in matches(MATCHING["regions"], RULES, new, old):
        pairs.append((match.new.id, match.old.id, match.same_label))
    return pairs


def test_an_equal_label_counts_more_than_a_larger_overlap() -> None:
    found = region("new", (0, 0, 10, 10))
    same_place = region("mug", (0, 0, 10, 10), "mug")
    beside = region("cup", (5, 0, 15, 10))
    assert matched([found], [same_place, beside]) == [("new", "cup", True)]
    far = region("cup", (6, 0, 16, 10))
    assert matched([found], [same_place, far]) == [("new", "mug", False)]


def test_the_first_new_one_chooses_first_and_each_old_one_is_taken_once() -> None:
    old = [region("a", (0, 0, 10, 10)), region("b", (3, 0, 13, 10))]
    first = region("first", (2, 0, 12, 10))
    second = region("second", (3, 0, 13, 10))
    assert matched([first, second], old) == [("first", "b", True), ("second", "a", True)]
    assert matched([second, first], old) == [("second", "b", True), ("first", "a", True)]


def test_of_equal_overlaps_the_first_old_one_is_taken_whatever_the_rounding_error() -> None:
    # Both old boxes lie 2.7 pixels beside the new one, but as floats their IoUs differ.
    found = region("new", (0.1, 0.0, 0.1 + 10, 10.0))
    left = region("left", (0.1 - 2.7, 0.0, 0.1 - 2.7 + 10, 10.0))
    right = region("right", (0.1 + 2.7, 0.0, 0.1 + 2.7 + 10, 10.0))
    overlap = MATCHING["regions"].overlap([found], [left, right])[0]
    assert overlap[0] > overlap[1] > overlap[0] - 1e-15
    assert matched([found], [left, right]) == [("new", "left", True)]
    assert matched([found], [right, left]) == [("new", "right", True)]


def test_texts_overlap_only_within_a_granularity() -> None:
    new = Text(granularity="brief", text="A red cup")
    old = [
        Text(granularity="brief", text="a blue cup."),
        Text(granularity="detailed", text="A red cup"),
    ]
    assert text_overlap([new], old).tolist() == [[pytest.approx(1 + 2 / 3), 0.0]]
    assert text_overlap([], old).shape == (0, 2)


def test_triplets_overlap_only_at_the_same_characters_of_the_same_text() -> None:
    def triplet(text_id: str, start: int) -> Triplet:
        return Triplet(text_id=text_id, phrase="cup", start=start, end=9, box=(0, 0, 1, 1))

    old = [triplet("a", 2), triplet("a", 3), triplet("b", 2)]
    assert np.array_equal(phrase_overlap([triplet("a", 2)], old), [[1.0, 0.0, 0.0]])


def test_labels_share_words_as_multisets() -> None:
    assert shared_words("a cup a table", "a cup") == pytest.approx(4 / 6)
    assert shared_words(("cup", "red cup"), ("cup", "cup")) == pytest.approx(4 / 5)
    assert shared_words("", "") == 0.0


def test_the_same_words_in_another_order_confirm_only_if_a_share_of_words_is_enough() -> None:
    old = Text(granularity="brief", text="cup on table")
    new = Text(granularity="brief", text="table on cup")
    kind = MATCHING["texts"]
    assert not confirms(kind, Rules(agree=1.0), new, old)
    assert confirms(kind, Rules(agree=0.99), new, old)


def test_a_quad_is_turned_to_start_where_the_other_one_does() -> None:
    quad = (0.0, 0.0, 9.0, 0.0, 9.0, 5.0, 0.0, 5.0)
    assert starting_like(quad[4:] + quad[:4], quad) == quad
