"""The decisions of the merge as values, and the revisions that follow from them."""

from dataclasses import replace

import pytest

from pipeline.refinement.decisions import Decision, apply, revise
from pipeline.refinement.merge import decide
from pipeline.schema import Annotations, Region, Triplet
from tests.pipeline.labels import (
    BESIDE,
    CONFIG,
    HERE,
    MASK,
    NEW,
    OLD,
    OTHER,
    THERE,
    new,
    old,
    text,
    written,
)


@pytest.mark.parametrize(
    ("regions", "expected"),
    [
        ([old(), new()], [(OLD, NEW, "kept", "agrees")]),
        ([old(support=-0.2), new(phrase="mug")], [(OLD, NEW, "kept", "less_likely")]),
        ([old(), new(box=BESIDE)], [(OLD, NEW, "moved", "reshaped")]),
        ([old(support=-2.0), new(phrase="mug")], [(OLD, NEW, "replaced", "relabelled")]),
        ([old(support=-3.0)], [(OLD, None, "dropped", "not_supported")]),
        ([new(box=THERE)], [(None, NEW, "added", "")]),
        ([new(score=0.5)], [(None, NEW, "rejected", "not_confident")]),
        ([old(source="human"), new()], [(OLD, NEW, "rejected", "agrees")]),
        ([old(support=-1.0)], []),
    ],
)
def test_every_rule_yields_its_decision(regions: list[Region], expected: list[tuple]) -> None:
    decisions = decide(Annotations(regions=regions), 1, CONFIG)
    found = []
    for decision in decisions:
        assert decision.kind == "regions"
        old_id = decision.old and decision.old.id
        new_id = decision.new and decision.new.id
        found.append((old_id, new_id, decision.fate, decision.reason))
    assert found == expected


def test_a_new_text_that_wins_a_tie_is_added_beside_the_old_one_or_instead_of_it() -> None:
    sample = Annotations(texts=[text("A cup.", support=-0.1), written("A mug on a table.")])
    fates = {}
    for tie in ("both", "longer"):
        config = replace(CONFIG, texts=replace(CONFIG.texts, tie=tie))
        fates[tie] = [decision.fate for decision in decide(sample, 1, config)]
    assert fates == {"both": ["kept", "added"], "longer": ["dropped", "added"]}


def test_a_kept_label_gets_more_confident_only_if_the_new_one_agrees() -> None:
    kept, rejected = revise(Decision("regions", old(), new(), "kept", "agrees"), 0.5)
    assert kept.confidence == pytest.approx(1 - 0.4 * 0.1)
    assert (rejected.dropped, rejected.parents) == ("agrees", [OLD])
    kept, rejected = revise(Decision("regions", old(), new(), "kept", "less_likely"), 0.5)
    assert kept == old()
    assert rejected.dropped == "less_likely"


def test_a_moved_label_keeps_what_it_says_and_takes_the_id_of_the_new_one() -> None:
    before = old(mask=MASK, brief="red cup")
    decision = Decision("regions", before, new(phrase="mug", box=BESIDE), "moved", "reshaped")
    dropped, moved = revise(decision, 0.5)
    assert dropped == replace(before, dropped="reshaped")
    expected = replace(before, id=NEW, source="refine", round=1, parents=[OLD], mask=None)
    assert moved == replace(expected, box=(1.0, 0.0, 11.0, 10.0))


def test_a_rejected_label_names_the_old_one_only_if_the_decision_does() -> None:
    with_old, without_old = apply(
        [
            Decision("regions", old(), new(), "rejected", "less_likely"),
            Decision("regions", None, new(id=OTHER), "rejected", "not_confident"),
        ],
        CONFIG,
    ).regions
    assert (with_old.parents, with_old.dropped) == ([OLD], "less_likely")
    assert (without_old.parents, without_old.dropped) == ([], "not_confident")


def test_a_triplet_that_goes_with_its_text_has_one_revision() -> None:
    before = Triplet(
        id="0.ground.triplets.0", text_id="gone", phrase="A cup", start=0, end=5, box=HERE
    )
    again = replace(before, id="1.refine.triplets.0", round=1, score=0.9)
    sample = Annotations(triplets=[before, again])
    decisions = decide(sample, 1, CONFIG)
    assert [decision.fate for decision in decisions] == ["kept", "dropped"]
    rejected, dropped = apply(decisions, CONFIG).triplets
    assert (rejected.id, rejected.dropped) == (again.id, "agrees")
    assert (dropped.id, dropped.dropped) == (before.id, "text_dropped")


def test_a_decision_without_the_label_that_it_is_about_is_a_programming_error() -> None:
    with pytest.raises(AssertionError, match="no decision on an old label"):
        revise(Decision("regions", old(), None, "moved", "reshaped"), 0.5)
