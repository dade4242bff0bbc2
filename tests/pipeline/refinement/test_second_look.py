"""What a model's second look repeats, and what is counted of both looks."""

from dataclasses import replace

import numpy as np
import pytest

from pipeline.quality.levels import count_levels
from pipeline.quality.summary import Summary, from_fixed_point
from pipeline.refinement.comparison import comparisons
from pipeline.refinement.evidence import count_changes, count_second_look
from pipeline.refinement.second_look import NO_LOOK, SecondLook
from pipeline.schema import Annotations, Region
from tests.pipeline.labels import BESIDE, CONFIG, HERE, OTHER, THERE, new, old, text, written

FAR = (80.0, 80.0, 90.0, 90.0)


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
    look = SecondLook.of(Annotations(regions=[decoy, again(0)]))
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
    places = counted(sample, mirrored(again(0, box=(0.0, 0.0, 10.0, 12.0))))["places"]
    assert places["pairs"] == 1
    assert places["earlier"] == 0
    # The new box is the mean of both looks, (0, 0, 10, 11).
    assert from_fixed_point(places["from_old"]) == pytest.approx((0.01 + 0.01) / 4)
    assert from_fixed_point(places["from_look"]) == pytest.approx(0.04 / 4)
