"""What confirms an old label, and the levels and the agreement that are measured by it."""

import math
from dataclasses import replace

import pytest

from pipeline.refinement.rules import MergeConfig, Rules, Thresholds
from pipeline.refinement.thresholds import (
    Confirmation,
    Confirmations,
    agreement,
    confirmed_labels,
    thresholds_from,
)
from pipeline.schema import Annotations, TextRegion, Triplet
from tests.pipeline.labels import (
    BESIDE,
    CONFIG,
    HERE,
    OTHER,
    TEXTS,
    THERE,
    new,
    old,
    other,
    text,
    written,
)


def test_confirmed_are_judged_labels_that_were_found_under_the_same_name() -> None:
    given = [
        old(support=-1.0),
        new(box=BESIDE, support=-0.05),
        old(id="0.detect.regions.1", box=THERE, support=-1.0),
    ]
    given += [
        new(id=OTHER, box=THERE, phrase="mug"),
        old(id="0.detect.regions.2", box=(80.0, 80.0, 90.0, 90.0)),
    ]
    found = confirmed_labels(Annotations(regions=given), 1, CONFIG)["regions"]
    log_score = pytest.approx(math.log(0.9))
    assert found.labels == [Confirmation(place_and_name=log_score, name=-0.05, old=-1.0)]
    assert found.possible == 2


def test_levels_are_what_all_confirmed_labels_reach_but_for_a_share() -> None:
    rules = Rules(add_share=0.1, rename_share=0.5, drop_share=0.05)
    labels = []
    for i in range(21):
        labels.append(Confirmation(place_and_name=-i / 10, name=-i / 100, old=-float(i)))
    confirmed = Confirmations(labels, possible=42)
    expected = Thresholds(refound=0.5, add=-1.8, rename=-0.1, drop=-19.0)
    assert thresholds_from(rules, confirmed) == expected
    assert thresholds_from(replace(rules, drop_share=0.0), confirmed).drop is None
    too_few = Confirmations(labels[:19], possible=19)
    assert thresholds_from(rules, too_few) == Thresholds(refound=1.0)
    human = Confirmations([replace(label, old=None) for label in labels], possible=42)
    assert thresholds_from(rules, human).drop is None
    assert thresholds_from(rules, Confirmations()) == Thresholds()


def test_human_labels_confirm_though_they_are_not_judged() -> None:
    given = Annotations(regions=[old(source="human"), new(support=-0.05)])
    found = confirmed_labels(given, 1, CONFIG)["regions"]
    log_score = pytest.approx(math.log(0.9))
    assert found.labels == [Confirmation(place_and_name=log_score, name=-0.05, old=None)]
    assert found.possible == 1


def test_free_texts_confirm_each_other_by_the_words_that_they_share() -> None:
    given = Annotations(texts=[text("A cup on a table."), written("A cup on a chair.")])
    loose, strict = (replace(CONFIG, texts=replace(TEXTS, agree=share)) for share in (0.8, 0.81))
    assert len(confirmed_labels(given, 1, loose)["texts"].labels) == 1
    assert not confirmed_labels(given, 1, strict)["texts"].labels


def test_agreement_is_the_share_of_judged_labels_that_are_confirmed_and_their_mean_support() -> (
    None
):
    caption = text("A cup.", support=-1.0)
    phrase = Triplet(
        id="0.ground.triplets.0", text_id=caption.id, phrase="A cup", start=0, end=5, box=HERE
    )
    read = TextRegion(
        id="0.ocr.text_regions.0", quad=(0, 0, 9, 0, 9, 9, 0, 9), text="STOP"
    )  # nobody asked about it
    missed = old(id="0.detect.regions.1", box=THERE, support=-3.0)
    named = other(id="1.refine.regions.7", box=THERE, parents=[missed.id])  # asked about, not found
    sample = Annotations(
        texts=[caption, written("A cup.")],
        regions=[old(support=-2.0), missed, new(), named],
        text_regions=[read],
        triplets=[
            replace(phrase, support=-2.0),
            replace(phrase, id="1.refine.triplets.0", round=1, score=0.9),
        ],
    )
    assert agreement([sample], 1, CONFIG) == {
        "refound": 0.75,
        "support": -2.0,
        "kinds": {
            "texts": {"confirmed": 1, "of": 1},
            "regions": {"confirmed": 1, "of": 2},
            "triplets": {"confirmed": 1, "of": 1},
        },
    }
    assert agreement([], 1, CONFIG) == {"refound": None, "support": None, "kinds": {}}


def test_a_phrase_is_confirmed_by_its_place_alone() -> None:
    caption = text("A cup.", support=None)
    before = Triplet(
        id="0.ground.triplets.0",
        text_id=caption.id,
        phrase="A cup",
        start=0,
        end=5,
        box=HERE,
        support=-1.0,
    )
    for box, count in (
        ((1.0, 0.0, 11.0, 10.0), 1),
        ((6.0, 0.0, 16.0, 10.0), 0),
    ):  # IoU 0.82 and 0.25
        now = replace(before, id="1.refine.triplets.0", round=1, box=box, score=0.9)
        sample = Annotations(texts=[caption], triplets=[before, now])
        assert agreement([sample], 1, CONFIG)["kinds"] == {
            "triplets": {"confirmed": count, "of": 1}
        }
    assert MergeConfig().triplets.min_refound == 0.4


def test_of_several_captions_no_more_can_be_confirmed_than_were_written() -> None:
    captions = [text(f"Caption {i}.", id=f"0.caption.texts.{i}") for i in range(5)]
    long = text("Long.", id="0.d.texts.0", granularity="detailed")
    sample = Annotations(texts=[*captions, long, written("Caption 3.")])
    assert agreement([sample], 1, CONFIG)["kinds"] == {"texts": {"confirmed": 1, "of": 1}}
