"""Relations of a photo are stated only where the boxes leave little doubt."""

from __future__ import annotations

import pytest

from pipeline.schema import Box, Region
from stages.embedded.relations import photo_relation

PERSON: Box = (100.0, 100.0, 180.0, 300.0)


def relation(subject: str, box: Box, other: str, other_box: Box) -> str:
    return photo_relation([Region(box=box, phrase=subject)], [Region(box=other_box, phrase=other)])


@pytest.mark.parametrize(
    ("other", "box", "expected"),
    [
        ("horse", (60.0, 180.0, 240.0, 380.0), "rides"),
        ("horse", (60.0, 110.0, 240.0, 310.0), ""),  # the person stands before it
        ("horse", (170.0, 180.0, 340.0, 380.0), ""),  # beside it
        ("horse", (60.0, 280.0, 240.0, 480.0), ""),  # behind it
        ("skateboard", (90.0, 280.0, 190.0, 320.0), "rides"),
        ("skateboard", (110.0, 150.0, 170.0, 190.0), ""),  # under the arm
        ("skateboard", (200.0, 280.0, 290.0, 320.0), ""),
        ("umbrella", (90.0, 90.0, 190.0, 150.0), "holds"),
        ("umbrella", (170.0, 90.0, 290.0, 150.0), ""),
        ("backpack", (110.0, 140.0, 150.0, 200.0), "carries"),
        ("tie", (130.0, 140.0, 145.0, 190.0), "wears"),
        ("tie", (130.0, 200.0, 145.0, 290.0), ""),
        ("tv", (110.0, 140.0, 170.0, 200.0), ""),
        ("dining table", (50.0, 200.0, 400.0, 400.0), ""),
        ("person", (185.0, 100.0, 265.0, 300.0), "is next to"),
    ],
)
def test_what_a_person_does_shows_in_the_boxes(other: str, box: Box, expected: str) -> None:
    assert relation("person", PERSON, other, box) == expected


def test_things_on_a_table_lie_within_its_box() -> None:
    table = (0.0, 100.0, 400.0, 300.0)
    assert relation("bowl", (50.0, 120.0, 120.0, 180.0), "dining table", table) == "is on"
    assert relation("bowl", (50.0, 60.0, 120.0, 180.0), "dining table", table) == ""
    assert relation("dog", (50.0, 120.0, 120.0, 180.0), "dining table", table) == ""
    assert relation("pizza", (0.0, 100.0, 390.0, 290.0), "dining table", table) == ""
    cups = [Region(box=(x, 120.0, x + 30, 160.0), phrase="cup") for x in (20.0, 90.0)]
    assert photo_relation(cups, [Region(box=table, phrase="dining table")]) == "are on"
    cups.append(Region(box=(420.0, 120.0, 450.0, 160.0), phrase="cup"))
    assert photo_relation(cups, [Region(box=table, phrase="dining table")]) == ""


def test_neighbours_are_of_one_height_on_one_level_and_near() -> None:
    horse = (100.0, 100.0, 200.0, 200.0)
    assert relation("horse", horse, "cow", (210.0, 110.0, 300.0, 205.0)) == "is next to"
    assert relation("horse", horse, "cow", (240.0, 110.0, 330.0, 205.0)) == ""  # too far
    assert relation("horse", horse, "cow", (210.0, 160.0, 260.0, 205.0)) == ""  # farther away
    assert relation("horse", horse, "cow", (210.0, 40.0, 300.0, 140.0)) == ""  # higher up
    assert relation("horse", horse, "cow", (150.0, 100.0, 260.0, 200.0)) == ""  # before it
    pair = [Region(box=horse, phrase="horse")] * 2
    assert photo_relation(pair, [Region(box=(210.0, 110.0, 300.0, 205.0), phrase="cow")]) == ""
