"""What a model's second look repeats, and what is counted of both looks."""

from dataclasses import replace

import numpy as np
import pytest

from pipeline.quality.levels import count_levels
from pipeline.quality.summary import Summary, from_fixed_point
from pipeline.refinement.comparison import comparisons
from pipeline.refinement.evidence import count_changes, count_second_look
from pipeline.refinement.second_look import NO_LOOK, SecondLook
from pipeline.schema import HUMAN, Annotations, Box, Region, Triplet
from tests.pipeline.labels import BESIDE, CONFIG, HERE, OTHER, THERE, new, old, text, written

FAR = (80.0, 80.0, 90.0, 90.0)
NOTHING = Annotations(texts=[text("", id="1.witness.texts.0", source="looked", round=1)])
"""What the witness stage gives of a sample in which it finds nothing."""


def counted(sample: Annotations, look: SecondLook, kind: str = "regions") -> Summary:
    by_kind = {comparison.name: comparison for comparison in comparisons(sample, 1, CONFIG, look)}
    return count_second_look(by_kind[kind], look)


def mirrored(*regions: Region) -> SecondLook:
    labels = Annotations(regions=list(regions))
    decoys = Annotations()
    return SecondLook(labels, decoys)


def again(number: int, **fields: object) -> Region:
    return new(id=f"1.witness.regions.{number}", source="mirrored", **fields)


def test_a_label_is_repeated_if_the_same_name_is_found_at_the_same_place_again() -> None:
    sample = Annotations(
        regions=[
            new(id="1.refine.regions.0", support=-0.2),
            new(id="1.refine.regions.1", box=THERE, support=-0.4),
            new(id="1.refine.regions.2", box=FAR, support=-0.6),
        ]
    )
    look = mirrored(again(0, box=BESIDE), again(1, box=THERE, phrase="mug"), again(2, box=HERE))
    added = counted(sample, look)["added"]
    assert (added["all"] == count_levels([-0.2, -0.4, -0.6])).all()
    assert (added["repeated"] == count_levels([-0.2])).all()


def test_labels_are_counted_by_what_the_merge_could_do_with_them() -> None:
    sample = Annotations(
        regions=[
            old(support=-1.0),
            old(id="0.detect.regions.1", box=THERE, support=-2.0),
            old(id="0.detect.regions.2", box=(20.0, 20.0, 30.0, 30.0), support=-3.0),
            new(id="1.refine.regions.0"),
            new(id="1.refine.regions.1", box=THERE, phrase="mug"),
            new(id="1.refine.regions.2", box=FAR),
        ]
    )
    look = mirrored(again(0), again(1, box=THERE, phrase="mug"))
    found = counted(sample, look)
    sums = {}
    for name in ("same", "renamed", "added"):
        sums[name] = (found[name]["all"].sum(), found[name]["repeated"].sum())
    assert sums == {"same": (1, 1), "renamed": (1, 1), "added": (1, 0)}
    assert (found["old"] == count_levels([-1.0, -2.0, -3.0])).all()
    assert (found["missed"] == count_levels([-3.0])).all()


def test_an_old_label_is_missed_if_neither_look_finds_anything_there() -> None:
    sample = Annotations(regions=[old(support=-1.0), old(id="o", box=THERE, support=-2.0)])
    found = counted(sample, mirrored(again(0, box=BESIDE, phrase="mug")))
    assert (found["missed"] == count_levels([-2.0])).all()


def test_without_a_second_look_no_new_label_is_counted() -> None:
    sample = Annotations(regions=[new()])
    assert counted(sample, NO_LOOK)["added"]["all"].sum() == 0


def test_a_second_look_that_finds_nothing_has_repeated_nothing() -> None:
    sample = Annotations(regions=[new()])
    added = counted(sample, SecondLook.of(NOTHING, sample, 1))["added"]
    assert (added["all"].sum(), added["repeated"].sum()) == (1, 0)


def test_a_second_look_that_has_failed_is_none() -> None:
    assert SecondLook.of(Annotations(), Annotations(regions=[new()]), 1) == NO_LOOK


def test_of_a_sample_that_cannot_be_mirrored_there_is_no_second_look() -> None:
    sample = Annotations(regions=[old(brief="the left cup"), new(box=THERE)])
    assert SecondLook.of(NOTHING, sample, 1) == NO_LOOK
    # What the model itself has found was not shown to it.
    sample = Annotations(regions=[old(), new(box=THERE, brief="the left cup")])
    assert SecondLook.of(NOTHING, sample, 1).took_place


def test_a_label_that_is_wrong_in_a_mirror_is_not_counted_because_none_could_repeat_it() -> None:
    regions = [new(brief="the left cup"), new(id=OTHER, box=THERE)]
    sample = Annotations(regions=regions, texts=[written("A cup on the right.")])
    look = SecondLook.of(NOTHING, sample, 1)
    assert counted(sample, look)["added"]["all"].sum() == 1
    assert counted(sample, look, "texts")["added"]["all"].sum() == 0


def phrase(text_id: str, **fields: object) -> Triplet:
    known = {"id": "1.refine.triplets.0", "source": "refine", "round": 1, "score": 0.9}
    return Triplet(
        **{**known, "text_id": text_id, "start": 0, "end": 5, "phrase": "a cup", **fields}
    )


@pytest.mark.parametrize(("words", "asked"), [("a cup on a table", 1), ("a cup on the left", 0)])
def test_phrases_are_looked_for_in_the_mirror_if_their_text_stays_true(
    words: str, asked: int
) -> None:
    sample = Annotations(texts=[text(words, id="t")], triplets=[phrase("t", box=HERE)])
    look = SecondLook.of(NOTHING, sample, 1)
    assert counted(sample, look, "triplets")["added"]["all"].sum() == asked


@pytest.mark.parametrize(("box", "confirms"), [(BESIDE, 1), ((6.0, 0.0, 16.0, 10.0), 0)])
def test_a_phrase_elsewhere_does_not_confirm_the_old_place(box: Box, confirms: int) -> None:
    before = phrase("t", box=HERE, id="o", source="detect", round=0, support=-1.0)
    texts = [text("a cup on a table", id="t")]
    sample = Annotations(texts=texts, triplets=[before, phrase("t", box=box)])
    rules = replace(CONFIG.triplets, same_iou=0.2, match_iou=0.5)
    config = replace(CONFIG, triplets=rules)
    look = SecondLook.of(NOTHING, sample, 1)
    by_kind = {c.name: c for c in comparisons(sample, 1, config, look)}
    assert count_second_look(by_kind["triplets"], look)["same"]["all"].sum() == confirms


@pytest.mark.parametrize(
    ("before", "possible"),
    [
        (old(support=-2.0), 1),
        (old(support=-0.1), 0),  # the new name is not likelier
        (old(), 0),  # the model has not judged it
        (old(support=-2.0, source=HUMAN), 0),
    ],
)
def test_only_names_that_the_merge_could_replace_count_as_renamable(
    before: Region, possible: int
) -> None:
    sample = Annotations(regions=[before, new(phrase="mug", support=-0.1)])
    found = counted(sample, mirrored())
    assert found["renamed"]["all"].sum() == 1
    assert found["renamable"]["all"].sum() == possible


def test_the_labels_of_people_are_counted_apart() -> None:
    sample = Annotations(regions=[old(support=-1.0), old(id="o", box=THERE, source=HUMAN)])
    found = counted(sample, mirrored())
    assert (found["human"], found["old"].sum()) == (1, 1)


def test_words_are_not_compared_because_they_cannot_be_read_in_a_mirror() -> None:
    comparison = {c.name: c for c in comparisons(Annotations(), 1, CONFIG, mirrored(again(0)))}
    assert comparison["regions"].repeats is not None
    assert comparison["text_regions"].repeats is None


def test_of_a_learned_sample_only_what_no_old_label_confirms_is_counted() -> None:
    sample = Annotations(regions=[old(support=-1.0), new(), new(id=OTHER, box=THERE)])
    look = mirrored(again(0), again(1, box=THERE))
    (regions,) = [c for c in comparisons(sample, 1, CONFIG, look) if c.name == "regions"]
    changes = count_changes(regions)
    assert changes["added"]["repeated"].sum() == 1
    assert changes.keys() == {"added", "renamed"}


def test_the_support_of_decoys_is_counted() -> None:
    decoy = replace(old(support=-2.5), id="1.witness.regions.9", round=1, source="decoy")
    said = replace(NOTHING, regions=[decoy, again(0)])
    look = SecondLook.of(said, Annotations(), 1)
    assert [region.id for region in look.mirrored.regions] == ["1.witness.regions.0"]
    found = counted(Annotations(regions=[old(support=-1.0)]), look)
    assert np.flatnonzero(found["decoys"]).tolist() == [250]


def test_a_text_is_repeated_only_in_equal_words() -> None:
    sample = Annotations(texts=[text("A cup on a table."), written("A mug on a table.")])
    for words, repeated in (("a mug on a table", 1), ("A mug on the table.", 0)):
        look = SecondLook(Annotations(texts=[written(words, id="w")]), Annotations())
        assert counted(sample, look, "texts")["renamed"]["repeated"].sum() == repeated


def test_places_are_compared_where_both_looks_and_an_old_label_have_the_thing() -> None:
    sample = Annotations(
        regions=[
            old(box=(1.0, 0.0, 11.0, 11.0), support=-1.0),
            new(box=HERE),
            new(id="1.refine.regions.1", box=THERE),
        ]
    )
    look = mirrored(again(0, box=(0.0, 0.0, 10.0, 12.0)))
    places = counted(sample, look)["places"]
    assert places["pairs"] == 1
    assert places["earlier"] == 0
    # The new box is the mean of both looks, (0, 0, 10, 11).
    assert from_fixed_point(places["from_old"]) == pytest.approx((0.01 + 0.01) / 4)
    assert from_fixed_point(places["from_look"]) == pytest.approx(0.04 / 4)


def test_the_boxes_of_people_do_not_tell_how_exact_other_boxes_are() -> None:
    sample = Annotations(regions=[old(source=HUMAN), new(box=HERE)])
    assert counted(sample, mirrored(again(0)))["places"]["pairs"] == 0
