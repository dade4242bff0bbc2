"""What a round changed: additions, revisions and losses, and the rules that they came by."""

from __future__ import annotations

from pipeline.refinement.changes import changes, tally
from pipeline.schema import (
    Annotations,
    Text,
    Triplet,
)
from tests.pipeline.report.labels import BOX, region


def test_changes_are_additions_revisions_and_losses_of_kept_annotations() -> None:
    before = Annotations(
        regions=[region("a"), region("b"), region("c"), region("d"), region("x", dropped="nms")]
    )
    after = Annotations(
        regions=[
            region("a"),
            region("b", dropped="not_supported"),
            region("c", phrase="ring"),
            region("e", parents=["d"], box=(9, 9, 41, 41)),
            region("f"),
        ]
    )
    found = {
        (c.what, c.before.id if c.before else "", c.annotation.id, c.reason)
        for c in changes(before, after)
    }
    assert found == {
        ("changed", "c", "c", ""),
        ("changed", "d", "e", ""),
        ("added", "", "f", ""),
        ("dropped", "", "b", "not_supported"),
    }


def test_a_change_is_traced_over_several_rounds_to_an_ancestor_of_its_own_type() -> None:
    first = Annotations(
        texts=[Text(id="t", granularity="brief", text="A cup.")], regions=[region("a")]
    )
    middle = region("1.r", parents=["a"], dropped="reshaped")
    last = region("2.r", parents=["1.r"], box=(9, 9, 41, 41))
    phrase = Triplet(
        id="2.p", text_id="t", phrase="A cup", start=0, end=5, box=BOX, parents=["t", "a"]
    )
    after = Annotations(first.texts, [region("a", dropped="reshaped"), middle, last], [], [phrase])
    assert {(c.rule, c.before.id if c.before else "") for c in changes(first, after)} == {
        ("reshaped", "a"),
        ("added", ""),
    }


def test_the_tally_counts_every_fate_by_its_rule() -> None:
    before = Annotations(
        regions=[region("a"), region("b"), region("c"), region("d"), region("g", confidence=0.5)]
    )
    after = Annotations(
        regions=[
            region("a"),
            region("b", dropped="not_supported"),
            region("c", dropped="relabelled"),
            region("1.c", phrase="ring", parents=["c"]),
            region("d", dropped="reshaped"),
            region("1.d", box=(9, 9, 41, 41), parents=["d"]),
            region("1.f"),
            region("g", confidence=0.9),
            region("1.x", dropped="not_confident"),
        ]
    )
    assert tally(before, after)["regions"] == {
        "kept": 1,
        "not_supported": 1,
        "relabelled": 1,
        "reshaped": 1,
        "added": 1,
        "confirmed": 1,
    }


def test_changes_between_equal_rounds_are_none_whatever_their_confidence() -> None:
    assert (
        changes(Annotations(regions=[region()]), Annotations(regions=[region(confidence=0.9)]))
        == []
    )
