"""The rules of the merge, on regions: what is kept, moved, replaced, dropped and added."""

import math
from dataclasses import replace

import pytest

from pipeline.refinement.rules import Certainties, MergeConfig, Thresholds
from pipeline.schema import Region
from tests.pipeline.labels import (
    BESIDE,
    BETWEEN,
    CONFIG,
    HERE,
    MASK,
    MEASURED,
    NEW,
    OLD,
    RULES,
    THERE,
    fates,
    merged,
    new,
    old,
)


def test_agreement_keeps_the_old_label_and_raises_its_confidence() -> None:
    result = merged(old(), new(box=(0.0, 0.0, 10.0, 9.9)))
    assert result[OLD].dropped is None
    assert result[OLD].confidence == pytest.approx(1 - 0.4 * 0.1)
    assert result[NEW].dropped == "agrees"
    assert result[NEW].parents == [OLD]


def test_a_box_found_elsewhere_on_the_same_thing_moves_to_the_mean_and_loses_the_mask() -> None:
    result = merged(old(mask=MASK, brief="red cup"), new(box=BESIDE, brief="red cup"))
    assert result[OLD].dropped == "reshaped"
    moved = result[NEW]
    assert moved.box == BETWEEN
    assert moved.parents == [OLD]
    assert moved.mask is None
    assert (moved.phrase, moved.brief, moved.dropped) == ("cup", "red cup", None)
    assert (moved.source, moved.round) == ("refine", 1)


def test_the_setting_says_how_much_the_new_place_counts() -> None:
    only_new = replace(CONFIG, regions=replace(RULES, reshape=1.0))
    assert merged(old(), new(box=BESIDE), config=only_new)[NEW].box == BESIDE
    never = replace(CONFIG, regions=replace(RULES, reshape=0.0))
    assert merged(old(), new(box=BESIDE), config=never)[OLD].box == HERE


def test_a_likelier_label_replaces_the_old_one_and_has_it_as_parent() -> None:
    result = merged(old(support=-2.0), new(phrase="mug"))
    assert result[OLD].dropped == "relabelled"
    assert result[NEW].dropped is None
    assert result[NEW].parents == [OLD]
    assert result[NEW].phrase == "mug"


@pytest.mark.parametrize("support", [math.log(0.9) - 0.4, None])
def test_a_label_replaces_only_a_judged_one_that_is_less_likely_by_the_margin(
    support: float | None,
) -> None:
    found = fates(old(support=support), new(phrase="mug"))
    assert found == {OLD: None, NEW: "less_likely"}


def test_another_name_needs_less_certainty_than_a_new_label_if_so_it_was_measured() -> None:
    measured = replace(MEASURED, add=Certainties.fixed(-0.1), rename=Certainties.fixed(-0.8))
    config = replace(CONFIG, levels={"regions": measured})
    found = merged(old(support=-2.0), new(phrase="mug", score=0.5), config=config)
    assert found[OLD].dropped == "relabelled"
    assert fates(new(box=THERE, score=0.5), config=config) == {NEW: "not_confident"}


def test_where_the_old_label_stays_the_new_box_counts_nevertheless() -> None:
    result = merged(old(support=-0.1), new(phrase="mug", box=BESIDE))
    assert result[OLD].dropped == "reshaped"
    assert result[NEW].phrase == "cup"
    assert result[NEW].box == BETWEEN


def test_an_old_label_that_is_neither_found_nor_believed_is_dropped() -> None:
    elsewhere = new(box=THERE)
    assert merged(old(support=-3.0), elsewhere)[OLD].dropped == "not_supported"
    assert merged(old(support=-1.0), elsewhere)[OLD].dropped is None


def test_without_an_estimate_nothing_is_added_renamed_or_dropped() -> None:
    blind = replace(CONFIG, levels={"regions": Thresholds(refound=1.0)})
    unfound = old(support=-9.0)
    elsewhere = new(box=THERE, score=1.0)
    assert fates(unfound, elsewhere, config=blind) == {OLD: None, NEW: "not_confident"}
    result = merged(unfound, new(phrase="mug", score=1.0), config=blind)
    assert result[OLD].dropped is None


def test_a_threshold_that_the_rules_fix_takes_precedence_over_the_measured_one() -> None:
    rules = replace(RULES, drop_below=-9.0, add_above=-0.05, rename_above=-0.1)
    fixed = replace(CONFIG, regions=rules)
    assert fates(old(support=-3.0), new(box=THERE), config=fixed) == {
        OLD: None,
        NEW: "not_confident",
    }
    assert fates(old(support=-3.0), new(phrase="mug"), config=fixed) == {
        OLD: None,
        NEW: "less_likely",
    }


def test_a_label_that_never_had_a_score_gets_none_by_agreement() -> None:
    assert merged(old(score=None), new(score=0.2))[OLD].confidence is None


def test_an_old_label_that_the_model_did_not_look_at_stays() -> None:
    assert merged(old(support=None))[OLD].dropped is None


def test_a_new_label_is_added_only_if_place_and_label_are_certain() -> None:
    added = merged(old(), new(box=THERE))[NEW]
    assert (added.dropped, added.confidence) == (None, 0.9)
    assert merged(new(box=THERE, score=0.5))[NEW].dropped == "not_confident"
    assert merged(new(box=THERE, score=0.5, support=-0.01))[NEW].dropped == "not_confident"
    assert merged(new(box=THERE, support=-0.5))[NEW].dropped == "not_confident"


def test_a_model_that_confirms_too_few_old_labels_is_not_trusted() -> None:
    def found(refound: float) -> dict[str, str | None]:
        config = replace(CONFIG, levels={"regions": replace(MEASURED, refound=refound)})
        return fates(old(support=-2.0), new(phrase="mug"), config=config)

    assert found(0.29) == {OLD: None, NEW: "not_trusted"}
    assert found(0.31) == {OLD: "relabelled", NEW: None}


def test_nothing_is_taken_of_a_kind_without_measured_thresholds() -> None:
    result = merged(old(support=-5.0), new(box=BESIDE, score=1.0), config=MergeConfig())
    assert (result[OLD].dropped, result[OLD].box) == (None, HERE)
    assert result[NEW].dropped == "not_trusted"


LAX = replace(CONFIG, levels={"regions": replace(MEASURED, rename=Certainties.fixed(-2.0))})


def test_a_box_that_moves_is_no_less_certain_than_before() -> None:
    moved = merged(old(score=0.9, mask=MASK), new(box=BESIDE, score=0.19), config=LAX)[NEW]
    assert (moved.dropped, moved.score) == (None, 0.9)
    assert moved.confidence == pytest.approx(1 - 0.1 * 0.81)
    unscored = merged(old(score=None), new(box=BESIDE, score=0.19), config=LAX)[NEW]
    assert (unscored.dropped, unscored.score, unscored.confidence) == (None, None, None)


def test_a_box_that_gets_another_name_is_no_less_certain_than_before() -> None:
    replaced = merged(old(score=0.9, support=-2.5), new(phrase="mug", score=0.22), config=LAX)
    assert replaced[NEW].confidence == 0.9


@pytest.mark.parametrize(
    "regions",
    [
        [],
        [new(phrase="mug")],
        [new()],
        [new(box=BESIDE)],
    ],
)
def test_human_labels_are_never_touched(regions: list[Region]) -> None:
    human = old(source="human", support=-9.0)
    result = merged(human, *regions)
    assert result.pop(OLD) == human
    assert all(region.dropped for region in result.values())
