import math
import random
from collections import Counter
from dataclasses import replace
from typing import Any

import pytest

from pipeline.quality import truth
from pipeline.refinement.merge import merge
from pipeline.refinement.rules import MergeConfig, Thresholds
from pipeline.refinement.thresholds import (
    Confirmation,
    Confirmations,
    measure_thresholds,
    thresholds_from,
)
from pipeline.schema import Annotations, Region, TextRegion, Triplet
from tests.pipeline.labels import (
    BESIDE,
    CONFIG,
    HERE,
    MASK,
    MEASURED,
    NEW,
    OLD,
    OTHER,
    RULES,
    THERE,
    merged,
    new,
    old,
    other,
    text,
    written,
)
from tests.pipeline.simulated import Quality, Simulated, noisy_scenes


def test_agreement_keeps_the_old_label_and_raises_its_confidence() -> None:
    result = merged(old(), new(box=(0.0, 0.0, 10.0, 9.9)))
    assert result[OLD].dropped is None
    assert result[OLD].confidence == pytest.approx(1 - 0.4 * 0.1)
    assert (result[NEW].dropped, result[NEW].parents) == ("agrees", [OLD])


def test_a_box_found_elsewhere_on_the_same_thing_takes_the_weighted_mean_of_both_and_loses_the_mask() -> (
    None
):
    result = merged(old(mask=MASK, brief="red cup"), new(box=BESIDE, brief="red cup"))
    assert result[OLD].dropped == "reshaped"
    assert (result[NEW].box, result[NEW].parents, result[NEW].mask) == (
        (1.0, 0.0, 11.0, 10.0),
        [OLD],
        None,
    )
    assert (result[NEW].phrase, result[NEW].brief, result[NEW].dropped) == ("cup", "red cup", None)
    assert (result[NEW].source, result[NEW].round) == ("refine", 1)
    heavier = replace(CONFIG, regions=replace(RULES, reshape=1.0))
    assert merged(old(), new(box=BESIDE), config=heavier)[NEW].box == BESIDE
    never = replace(CONFIG, regions=replace(RULES, reshape=0.0))
    assert merged(old(), new(box=BESIDE), config=never)[OLD].box == HERE


def test_a_likelier_label_of_the_same_region_replaces_the_old_one_and_names_it_as_parent() -> None:
    result = merged(old(support=-2.0), new(phrase="mug"))
    assert result[OLD].dropped == "relabelled"
    assert (result[NEW].dropped, result[NEW].parents, result[NEW].phrase) == (None, [OLD], "mug")


@pytest.mark.parametrize("support", [math.log(0.9) - 0.4, None])
def test_a_label_that_is_not_likelier_by_the_margin_or_was_not_compared_does_not_replace(
    support: float | None,
) -> None:
    result = merged(old(support=support), new(phrase="mug"))
    assert (result[OLD].dropped, result[NEW].dropped) == (None, "less_likely")


def test_where_the_old_label_stays_the_new_box_counts_nevertheless() -> None:
    result = merged(old(support=-0.1), new(phrase="mug", box=BESIDE))
    assert (result[OLD].dropped, result[NEW].phrase, result[NEW].box) == (
        "reshaped",
        "cup",
        (1.0, 0.0, 11.0, 10.0),
    )


def test_an_old_label_that_is_neither_found_nor_believed_is_dropped() -> None:
    elsewhere = new(box=THERE)
    assert merged(old(support=-3.0), elsewhere)[OLD].dropped == "not_supported"
    assert merged(old(support=-1.0), elsewhere)[OLD].dropped is None


def test_without_a_confirmed_label_nothing_is_added_renamed_or_dropped() -> None:
    blind = replace(CONFIG, levels={"regions": Thresholds(refound=1.0)})
    result = merged(
        old(support=-9.0), other(support=-0.001), new(box=THERE, score=1.0), config=blind
    )
    assert {r.id: r.dropped for r in result.values()} == {
        OLD: None,
        OTHER: "less_likely",
        NEW: "not_confident",
    }
    assert (
        merged(old(support=-9.0), new(phrase="mug", score=1.0), config=blind)[OLD].dropped is None
    )


def test_a_level_that_the_rules_fix_goes_before_the_measured_one() -> None:
    fixed = replace(RULES, drop_below=-9.0, add_above=-0.05, rename_above=-0.1)
    result = merged(
        old(support=-3.0), other(), new(box=THERE), config=replace(CONFIG, regions=fixed)
    )
    assert {r.id: r.dropped for r in result.values()} == {
        OLD: None,
        OTHER: "less_likely",
        NEW: "not_confident",
    }


def test_a_wrong_label_that_nothing_overlaps_takes_the_name_that_the_model_gives_it_with_box_and_mask() -> (
    None
):
    result = merged(old(support=-2.0, mask=MASK), other())
    assert result[OLD].dropped == "relabelled"
    assert (result[OTHER].dropped, result[OTHER].phrase, result[OTHER].box) == (None, "mug", HERE)
    assert (result[OTHER].mask, result[OTHER].parents) == (MASK, [OLD])


def test_a_wrong_label_found_too_unsurely_under_another_name_takes_the_one_that_the_model_is_sure_of() -> (
    None
):
    unsure = new(phrase="mug", score=0.5, support=-0.7)  # below the level to come in by itself
    result = merged(old(support=-2.0), other(), unsure)
    assert {i: r.dropped for i, r in result.items()} == {
        OLD: "relabelled",
        OTHER: None,
        NEW: "agrees",
    }
    again = merged(
        old(support=-2.0), other(), new(score=0.5, support=-0.7)
    )  # found under its own name
    assert {i: r.dropped for i, r in again.items()} == {
        OLD: None,
        OTHER: "less_likely",
        NEW: "agrees",
    }


def test_a_label_that_never_had_a_score_gets_none_by_agreement() -> None:
    assert merged(old(score=None), new(score=0.2))[OLD].confidence is None


def test_a_name_that_is_hardly_likelier_or_unlikely_itself_changes_nothing() -> None:
    close = merged(old(support=-0.6), other())
    assert (close[OLD].dropped, close[OTHER].dropped) == (None, "less_likely")
    vague = merged(old(support=-4.0), other(support=-1.5), new(box=THERE))
    assert (vague[OLD].dropped, vague[OTHER].dropped) == ("not_supported", "not_confident")


def test_an_old_box_beside_a_thing_that_stands_under_the_name_it_would_get_is_a_duplicate() -> None:
    result = merged(
        old(box=(6.0, 0.0, 16.0, 10.0), support=-2.0), other(box=(6.0, 0.0, 16.0, 10.0))
    )
    assert result[OLD].dropped == "relabelled"
    beside = new(id="1.refine.regions.2", phrase="mug", box=(1.0, 0.0, 11.0, 10.0))
    result = merged(
        old(box=(6.0, 0.0, 16.0, 10.0), support=-2.0), other(box=(6.0, 0.0, 16.0, 10.0)), beside
    )
    assert (result[OLD].dropped, result[OTHER].dropped) == ("duplicate", "duplicate")


def test_an_old_label_that_the_model_did_not_look_at_stays() -> None:
    assert merged(old(support=None))[OLD].dropped is None


def test_a_new_label_comes_in_only_when_place_and_label_are_sure() -> None:
    result = merged(old(), new(box=THERE))
    assert (result[NEW].dropped, result[NEW].confidence) == (None, 0.9)
    assert merged(new(box=THERE, score=0.5))[NEW].dropped == "not_confident"
    assert merged(new(box=THERE, score=0.5, support=-0.01))[NEW].dropped == "not_confident"
    assert merged(new(box=THERE, support=-0.5))[NEW].dropped == "not_confident"


def test_of_a_model_that_found_too_few_old_labels_again_nothing_is_taken() -> None:
    for share, fate in ((0.29, "not_trusted"), (0.31, None)):
        config = replace(CONFIG, levels={"regions": replace(MEASURED, refound=share)})
        result = merged(old(support=-2.0), new(phrase="mug"), config=config)
        assert (result[NEW].dropped, result[OLD].dropped) == (fate, None if fate else "relabelled")


def test_a_box_that_moves_or_gets_another_name_is_no_less_sure_than_before() -> None:
    lax = replace(CONFIG, levels={"regions": replace(MEASURED, add=-2.0)})
    moved = merged(old(score=0.9, mask=MASK), new(box=BESIDE, score=0.19), config=lax)[NEW]
    assert (moved.dropped, moved.score, moved.confidence) == (
        None,
        0.9,
        pytest.approx(1 - 0.1 * 0.81),
    )
    unscored = merged(old(score=None), new(box=BESIDE, score=0.19), config=lax)[NEW]
    assert (unscored.dropped, unscored.score, unscored.confidence) == (None, None, None)
    assert (
        merged(old(score=0.9, support=-2.5), new(phrase="mug", score=0.22), config=lax)[
            NEW
        ].confidence
        == 0.9
    )
    assert merged(old(score=0.9, support=-2.0), other(score=0.3))[OTHER].confidence == 0.9


def test_a_quad_that_begins_at_another_corner_is_the_same_quad() -> None:
    quad = (10.0, 10.0, 50.0, 10.0, 50.0, 20.0, 10.0, 20.0)
    word = TextRegion(id="0.ocr.text_regions.0", quad=quad, text="STOP", score=0.9, support=-0.5)
    turned = replace(
        word, id="1.refine.text_regions.0", round=1, quad=quad[4:] + quad[:4], support=None
    )
    config = replace(CONFIG, text_regions=replace(CONFIG.text_regions, reshape=0.5))
    result = merge(Annotations(text_regions=[word, turned]), 1, config).text_regions
    assert {t.id: (t.quad if t.dropped is None else t.dropped) for t in result} == {
        word.id: quad,
        turned.id: "agrees",
    }


def test_what_replaces_a_word_stands_where_it_stood() -> None:
    words = [
        TextRegion(
            id=f"0.ocr.text_regions.{i}",
            quad=(0, i, 9, i, 9, i + 1, 0, i + 1),
            text=t,
            support=-2.0,
        )
        for i, t in enumerate(("N0", "PARKING", "HERE"))
    ]
    name = replace(
        words[0],
        id="1.refine.text_regions.0",
        round=1,
        text="NO",
        parents=[words[0].id],
        score=0.9,
        support=-0.1,
    )
    found = replace(
        words[1], id="1.refine.text_regions.1", round=1, text="PARKED", score=0.95, support=-0.1
    )
    seen = Annotations(text_regions=words).overlaid(Annotations(text_regions=[found, name]))
    kept = seen.overlaid(merge(seen, 1, CONFIG)).kept()
    assert [t.text for t in kept.text_regions] == ["NO", "PARKED", "HERE"]


def test_nothing_is_taken_of_a_kind_that_nothing_was_measured_of() -> None:
    result = merged(old(support=-5.0), new(box=BESIDE, score=1.0), config=MergeConfig())
    assert (result[OLD].dropped, result[OLD].box, result[NEW].dropped) == (
        None,
        HERE,
        "not_trusted",
    )


def test_what_an_unsure_model_found_moves_no_box() -> None:
    result = merged(old(), new(box=BESIDE, score=0.5))
    assert (result[OLD].dropped, result[OLD].box, result[NEW].dropped) == (None, HERE, "agrees")


def test_of_two_names_for_one_old_label_the_likelier_counts() -> None:
    result = merged(
        old(support=-2.0), other(), other(id="1.refine.regions.2", phrase="jug", support=-0.1)
    )
    assert (result[OLD].dropped, result[OTHER].dropped) == ("relabelled", "less_likely")
    assert (result["1.refine.regions.2"].dropped, result["1.refine.regions.2"].parents) == (
        None,
        [OLD],
    )


def test_words_and_texts_that_the_model_does_not_find_stay() -> None:
    quad = (0.0, 0.0, 10.0, 0.0, 10.0, 5.0, 0.0, 5.0)
    word = TextRegion(id="0.ocr.text_regions.0", quad=quad, text="STOP", support=-9.0)
    given = Annotations(texts=[text("A cup.", support=-9.0)], text_regions=[word])
    agreed = Confirmations([Confirmation(-0.1, -0.1, -0.1)] * 20, possible=20)
    measured_by = {
        kind: thresholds_from(rules, agreed)
        for kind, rules in (
            ("texts", MergeConfig().texts),
            ("text_regions", MergeConfig().text_regions),
        )
    }
    result = given.overlaid(merge(given, 1, MergeConfig(levels=measured_by)))
    assert [a.dropped for a in result.all()] == [None, None]


def test_human_labels_are_never_touched() -> None:
    human = old(source="human", support=-9.0)
    for given in (
        [],
        [new(phrase="mug")],
        [new()],
        [new(box=BESIDE)],
        [other()],
        [new(phrase="mug"), other()],
    ):
        result = merged(human, *given)
        assert result[OLD] == human
        assert all(r.dropped for r in result.values() if r.id != OLD)


def test_the_likelier_text_stays_and_triplets_of_the_other_go_with_it() -> None:
    triplet = Triplet(
        id="0.ground.triplets.0", text_id=text("").id, phrase="A cup", start=0, end=5, box=HERE
    )
    grounded = replace(triplet, id="1.refine.triplets.0", round=1, score=0.99, box=THERE)
    given = Annotations(texts=[text("A cup."), written("A mug.")], triplets=[triplet, grounded])
    result = given.overlaid(merge(given, 1, CONFIG))
    assert [t.dropped for t in result.texts] == ["relabelled", None]
    assert [t.dropped for t in result.triplets] == ["text_dropped", "text_dropped"]


@pytest.mark.parametrize(
    ("tie", "fates"),
    [
        ("old", {"A mug on a table.": "less_likely"}),
        ("longer", {"A cup.": "relabelled"}),
        ("both", {}),
    ],
)
def test_of_two_likely_texts_the_setting_says_which_stays(tie: Any, fates: dict[str, str]) -> None:
    config = replace(CONFIG, texts=replace(CONFIG.texts, tie=tie))
    given = Annotations(texts=[text("A cup.", support=-0.1), written("A mug on a table.")])
    result = given.overlaid(merge(given, 1, config)).texts
    assert {t.text: t.dropped for t in result if t.dropped} == fates


def test_of_several_captions_a_new_one_is_compared_with_the_one_most_like_it() -> None:
    given = Annotations(
        texts=[
            text("Two dogs run.", support=-2.0),
            text("A red car stands.", id="0.caption.texts.1", support=-2.0),
        ]
    )
    given.texts.append(written("A red truck stands.", score=0.95))
    fates = {t.id: (t.dropped, t.parents) for t in given.overlaid(merge(given, 1, CONFIG)).texts}
    assert fates["0.caption.texts.0"] == (None, [])
    assert fates["0.caption.texts.1"] == ("relabelled", [])
    assert fates[given.texts[-1].id] == (None, ["0.caption.texts.1"])


def test_texts_of_another_granularity_are_another_thing() -> None:
    given = Annotations(texts=[text("A cup."), written("A mug.", granularity="detailed")])
    assert all(t.dropped is None for t in given.overlaid(merge(given, 1, CONFIG)).texts)


def test_a_misread_word_is_read_again() -> None:
    quad = (0.0, 0.0, 10.0, 0.0, 10.0, 5.0, 0.0, 5.0)
    read = TextRegion(id="0.ocr.text_regions.0", quad=quad, text="ST0P", support=-3.0)
    again = TextRegion(
        id="1.refine.text_regions.0",
        round=1,
        quad=quad,
        text="STOP",
        support=-0.1,
        score=0.9,
        parents=[read.id],
    )
    given = Annotations(text_regions=[read, again])
    assert [t.dropped for t in given.overlaid(merge(given, 1, CONFIG)).text_regions] == [
        "relabelled",
        None,
    ]


def test_a_phrase_found_elsewhere_takes_the_mean_box_and_keeps_its_span() -> None:
    said = text("A cup.")
    first = Triplet(
        id="0.ground.triplets.0",
        text_id=said.id,
        phrase="A cup",
        start=0,
        end=5,
        box=HERE,
        mask=MASK,
    )
    again = replace(first, id="1.refine.triplets.0", round=1, box=BESIDE, score=0.9, mask=None)
    given = Annotations(texts=[said], triplets=[first, again])
    before, after = given.overlaid(merge(given, 1, CONFIG)).triplets
    assert (before.dropped, after.box, after.start, after.end) == (
        "reshaped",
        (1.0, 0.0, 11.0, 10.0),
        0,
        5,
    )
    assert (after.mask, after.parents) == (None, [first.id])


def test_the_result_does_not_depend_on_the_order_of_the_input() -> None:
    rng = random.Random(0)
    for _ in range(200):
        made = random_regions(rng)
        expected = merged(*made)
        rng.shuffle(made)
        assert merged(*made) == expected


def test_every_annotation_has_one_fate_and_whatever_replaces_another_names_it() -> None:
    rng = random.Random(1)
    for _ in range(300):
        made = random_regions(rng)
        result = merged(*made)
        assert set(result) == {r.id for r in made}
        revised = merge(Annotations(regions=made), 1, CONFIG).regions
        assert max(Counter(r.id for r in revised).values(), default=1) == 1
        kept = [r for r in result.values() if r.dropped is None]
        assert all(r.source for r in kept)
        replaced = {p for r in kept for p in r.parents}
        assert {
            r.id for r in result.values() if r.dropped in ("relabelled", "reshaped")
        } == replaced & set(result)


def test_a_second_merge_with_a_model_that_agrees_changes_no_label() -> None:
    rng = random.Random(2)
    for _ in range(200):
        kept = [
            replace(r, round=0, support=-0.1)
            for r in merged(*random_regions(rng)).values()
            if r.dropped is None
        ]
        kept = [r for i, r in enumerate(kept) if not any(overlaps(r, o) for o in kept[:i])]
        again = [
            replace(r, id=f"1.again.regions.{i}", round=1, parents=[]) for i, r in enumerate(kept)
        ]
        after = merged(*kept, *again)
        assert all(after[r.id].dropped is None and after[r.id].box == r.box for r in kept)
        assert all(after[r.id].dropped == "agrees" for r in again)


def test_merged_labels_are_better_than_the_old_ones_and_than_the_models_own() -> None:
    scenes, quality = noisy_scenes(120), Quality()
    alone = [
        (Simulated(quality, i)(known, Annotations(), 1), known)
        for i, (_, known) in enumerate(scenes)
    ]
    labels, scores = scenes, [f1(scenes)]
    for number in (1, 2, 3):
        asked = [Simulated(quality, 1000 * number + i) for i in range(len(labels))]
        both = [
            each.overlaid(model(known, each, number))
            for model, (each, known) in zip(asked, labels, strict=True)
        ]
        config = MergeConfig(levels=measure_thresholds(both, number, MergeConfig()))
        refined = [said.overlaid(merge(said, number, config)).kept() for said in both]
        labels = [(each, known) for each, (_, known) in zip(refined, labels, strict=True)]
        scores.append(f1(labels))
    (before, before75), (after, after75) = scores[0], scores[-1]
    assert 0.55 < before < 0.65 and f1(alone)[0] < 0.82
    assert after > f1(alone)[0] + 0.04 and after >= 0.85
    assert after75 >= 2 * before75


def f1(pairs: list[tuple[Annotations, Annotations]]) -> tuple[float, float]:
    metrics = truth.score_round(pairs)["metrics"]
    return metrics["region_attributes"]["f1"], metrics["region_attributes_75"]["f1"]


def overlaps(a: Region, b: Region) -> bool:
    return min(a.box[2], b.box[2]) > max(a.box[0], b.box[0]) and min(a.box[3], b.box[3]) > max(
        a.box[1], b.box[1]
    )


def random_regions(rng: random.Random) -> list[Region]:
    """Old regions, found ones, and alternatives to some of the old."""
    made: list[Region] = []
    for i in range(8):
        x, y, fresh = rng.uniform(0, 20), rng.uniform(0, 20), rng.random() < 0.5
        box, name = (x, y, x + 10, y + 10), rng.choice(["cup", "mug"])
        human = not fresh and rng.random() < 0.2
        kind = "refine" if fresh else "detect"
        made.append(
            Region(
                id=f"{int(fresh)}.{kind}.regions.{i}",
                source="human" if human else kind,
                round=int(fresh),
                box=box,
                phrase=name,
                score=rng.random(),
                support=None if fresh else rng.uniform(-4, 0),
            )
        )
        if not fresh and rng.random() < 0.5:
            wrong = "mug" if name == "cup" else "cup"
            made.append(
                replace(
                    made[-1],
                    id=f"1.refine.regions.{i + 50}",
                    source="refine",
                    round=1,
                    phrase=wrong,
                    parents=[made[-1].id],
                    support=rng.uniform(-2, 0),
                )
            )
    return made
