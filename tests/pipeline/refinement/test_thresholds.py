"""What confirms an old label, and the thresholds and the agreement that are measured by it."""

from dataclasses import replace
from typing import Any

import pytest

from pipeline.quality.levels import count_levels
from pipeline.refinement.comparison import comparisons
from pipeline.refinement.right_shares import Curves
from pipeline.refinement.rules import Certainties, MergeConfig, Rules, Thresholds
from pipeline.refinement.second_look import NO_LOOK
from pipeline.refinement.thresholds import (
    Confirmations,
    agreement,
    confirmed_labels,
    count_judged,
    thresholds_from,
)
from pipeline.schema import Annotations, Box, TextRegion, Triplet
from tests.pipeline.labels import (
    BESIDE,
    CONFIG,
    HERE,
    OTHER,
    TEXTS,
    THERE,
    new,
    old,
    text,
    written,
)
from tests.pipeline.refinement.counted import levels


def confirmed(sample: Annotations, kind: str, config: MergeConfig = CONFIG) -> Confirmations:
    """How many labels of a kind are confirmed."""
    by_kind = {comparison.name: comparison for comparison in comparisons(sample, 1, config)}
    return confirmed_labels(by_kind[kind])


def test_a_label_is_confirmed_if_it_was_judged_and_found_under_the_same_name() -> None:
    regions = [
        old(support=-1.0),
        new(box=BESIDE, support=-0.05),
        old(id="0.detect.regions.1", box=THERE, support=-1.0),
        new(id=OTHER, box=THERE, phrase="mug"),
        old(id="0.detect.regions.2", box=(80.0, 80.0, 90.0, 90.0)),
    ]
    assert confirmed(Annotations(regions=regions), "regions") == Confirmations(1, 2)


def test_human_labels_confirm_though_they_are_not_judged() -> None:
    sample = Annotations(regions=[old(source="human"), new(support=-0.05)])
    assert confirmed(sample, "regions") == Confirmations(1, 1)


def test_free_texts_confirm_each_other_by_the_words_that_they_share() -> None:
    sample = Annotations(texts=[text("A cup on a table."), written("A cup on a chair.")])
    for share, count in ((0.8, 1), (0.81, 0)):
        config = replace(CONFIG, texts=replace(TEXTS, agree=share))
        assert confirmed(sample, "texts", config).confirmed == count


def test_a_model_that_confirms_few_labels_gets_no_thresholds() -> None:
    counted = {"confirmed": 19, "possible": 38}
    curves = Curves.of({"same": levels(), "added": levels(), "renamed": levels()})
    assert thresholds_from(Rules(), counted, curves) == Thresholds(refound=0.5)


def test_only_a_model_that_confirms_a_fifth_of_the_old_labels_may_drop_any() -> None:
    counted = {
        "same": levels((-0.1, 40, 36)),
        "added": levels((-0.1, 100, 90)),
        "renamed": levels(),
        "old": count_levels([-0.5] * 100 + [-3.0] * 100),
        "decoys": count_levels([-3.0] * 100),
        "places": {"pairs": 0},
        "possible": 200,
    }
    curves = Curves.of(counted)
    few = thresholds_from(Rules(), {**counted, "confirmed": 38}, curves)
    enough = thresholds_from(Rules(), {**counted, "confirmed": 40}, curves)
    assert (few.drop, enough.drop) == (None, pytest.approx(-3.0, abs=0.02))
    assert few.add == enough.add == Certainties(twice=-0.105, once=-0.105, unasked=-0.105)


def phrase(**fields: Any) -> Triplet:
    known = {"id": "0.ground.triplets.0", "text_id": text("").id, "phrase": "A cup"}
    return Triplet(**{**known, "start": 0, "end": 5, "box": HERE, **fields})


def test_agreement_is_the_confirmed_share_of_the_judged_labels_and_their_mean_support() -> None:
    not_asked_about = TextRegion(
        id="0.ocr.text_regions.0", quad=(0, 0, 9, 0, 9, 9, 0, 9), text="STOP"
    )
    not_found = old(id="0.detect.regions.1", box=THERE, support=-3.0)
    sample = Annotations(
        texts=[text("A cup.", support=-1.0), written("A cup.")],
        regions=[old(support=-2.0), not_found, new()],
        text_regions=[not_asked_about],
        triplets=[phrase(support=-2.0), phrase(id="1.refine.triplets.0", round=1, score=0.9)],
    )
    assert agreement(count_judged([(sample, NO_LOOK)], 1, CONFIG)) == {
        "refound": 0.75,
        "support": -2.0,
        "kinds": {
            "texts": {"confirmed": 1, "of": 1},
            "regions": {"confirmed": 1, "of": 2},
            "triplets": {"confirmed": 1, "of": 1},
        },
    }
    assert agreement(count_judged([], 1, CONFIG)) == {"refound": None, "support": None, "kinds": {}}


@pytest.mark.parametrize(
    ("box", "confirmed"),
    [((1.0, 0.0, 11.0, 10.0), 1), ((6.0, 0.0, 16.0, 10.0), 0)],
    ids=["IoU 0.82", "IoU 0.25"],
)
def test_a_phrase_is_confirmed_by_its_place_alone(box: Box, confirmed: int) -> None:
    before = phrase(support=-1.0)
    now = phrase(id="1.refine.triplets.0", round=1, box=box, score=0.9, support=-1.0)
    sample = Annotations(texts=[text("A cup.", support=None)], triplets=[before, now])
    kinds = agreement(count_judged([(sample, NO_LOOK)], 1, CONFIG))["kinds"]
    assert kinds == {"triplets": {"confirmed": confirmed, "of": 1}}


def test_more_phrases_than_other_labels_must_be_confirmed() -> None:
    assert MergeConfig().triplets.min_refound == 0.4


def test_of_several_captions_no_more_can_be_confirmed_than_were_written() -> None:
    captions = [text(f"Caption {i}.", id=f"0.caption.texts.{i}") for i in range(5)]
    long = text("Long.", id="0.d.texts.0", granularity="detailed")
    sample = Annotations(texts=[*captions, long, written("Caption 3.")])
    assert agreement(count_judged([(sample, NO_LOOK)], 1, CONFIG))["kinds"] == {
        "texts": {"confirmed": 1, "of": 1}
    }
