"""What the merge makes of the second look: which new labels it takes, and where they lie."""

from dataclasses import replace

import pytest

from pipeline.quality.reviewed import Origin, marks
from pipeline.refinement.merge import Merge, merge
from pipeline.refinement.rules import Certainties
from pipeline.refinement.second_look import NO_LOOK, SecondLook
from pipeline.schema import Annotations, Region
from stages.base import Sample
from tests.pipeline.labels import CONFIG, MEASURED, NEW, OLD, THERE, new, old, text

ASKED = replace(MEASURED, add=Certainties(twice=-1.0, once=-0.2, unasked=-0.5), drop=-2.5)
TWICE = replace(CONFIG, levels={"regions": ASKED})


def looked(*regions: Region) -> SecondLook:
    return SecondLook(Annotations(regions=list(regions)), Annotations())


AGAIN = new(id="1.witness.regions.0", source="mirrored", box=(50.0, 50.0, 60.0, 64.0))
AT_THE_DOOR = replace(AGAIN, box=(80.0, 80.0, 90.0, 90.0))


@pytest.mark.parametrize(
    ("score", "look", "reason"),
    [
        (0.4, looked(AGAIN), None),  # exp(-1) = 0.37
        (0.3, looked(AGAIN), "not_confident"),
        (0.9, looked(AT_THE_DOOR), None),  # exp(-0.2) = 0.82
        (0.7, looked(AT_THE_DOOR), "not_repeated"),
        (0.7, NO_LOOK, None),  # exp(-0.5) = 0.61
        (0.5, NO_LOOK, "not_confident"),
    ],
)
def test_less_certainty_is_asked_of_a_label_that_both_looks_give(
    score: float, look: SecondLook, reason: str | None
) -> None:
    found = new(box=THERE, score=score, support=-0.01)
    before = Annotations(regions=[found])
    (region,) = merge(before, 1, TWICE, look).regions
    assert region.dropped == reason


def test_a_label_that_both_looks_give_lies_at_the_mean_of_both_places() -> None:
    before = Annotations(regions=[new(box=THERE, support=-0.01)])
    (region,) = merge(before, 1, TWICE, looked(AGAIN)).regions
    assert region.box == (50.0, 50.0, 60.0, 62.0)


def test_an_old_label_that_the_second_look_finds_is_not_dropped() -> None:
    before = Annotations(regions=[old(box=THERE, support=-9.0)])
    assert merge(before, 1, TWICE, looked(AT_THE_DOOR)).regions[0].dropped == "not_supported"
    assert not merge(before, 1, TWICE, looked(AGAIN)).regions


def test_what_the_second_look_says_is_read_by_the_stage_and_enters_no_round() -> None:
    decoy = old(id="1.witness.regions.1", source="decoy", round=1, support=-9.0)
    found = [new(box=THERE, score=0.4, support=-0.01), AGAIN, decoy]
    looked_again = text("", id="1.witness.texts.0", source="looked", round=1)
    labels = Annotations(texts=[looked_again], regions=found)
    sample = Sample(key="a", size=(100, 100), round=1, annotations=labels)
    (result,) = Merge(TWICE)([sample])
    assert isinstance(result, Annotations)
    assert [(region.id, region.dropped) for region in result.regions] == [(NEW, None)]
    assert result.texts == []


def test_after_a_second_look_that_has_failed_the_first_one_counts_alone() -> None:
    labels = Annotations(regions=[new(box=THERE, score=0.7, support=-0.01)])  # exp(-0.5) = 0.61
    sample = Sample(key="a", size=(100, 100), round=1, annotations=labels)
    (result,) = Merge(TWICE)([sample])
    assert isinstance(result, Annotations)
    assert [(region.id, region.dropped) for region in result.regions] == [(NEW, None)]


def test_what_a_review_has_dropped_is_merged_as_if_nobody_had_reviewed_it() -> None:
    hidden = old(dropped="reviewed", support=-3.0)
    person = Origin("human.regions.0", "ada").of(old())
    found = new(phrase="mug", score=0.9, support=-0.01)
    caption, added = text("A cup."), text("A mug.", id="1.refine.texts.0", round=1, score=0.1)
    labels = marks(["regions"], "ada")
    labels.regions.extend([person, hidden, found])
    labels.texts.extend([caption, added])
    sample = Sample(key="a", size=(100, 100), round=1, annotations=labels)
    (result,) = Merge(CONFIG)([sample])
    assert isinstance(result, Annotations)
    fates = {region.id: (region.dropped, region.parents) for region in result.regions}
    # The name of the person's label is not compared with the model's. The worker drops what stays.
    assert fates == {OLD: ("relabelled", []), NEW: (None, [OLD])}
    # People have not reviewed the texts.
    assert {each.id for each in result.texts} == {caption.id, added.id}
    assert labels.overlaid(result).regions[1] == person
