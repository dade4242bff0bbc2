from __future__ import annotations

import numpy as np
import pytest

from pipeline.quality.truth import (
    GROUPS,
    METRICS,
    compare,
    count_sample,
    count_samples,
    group_of,
    score_round,
)
from pipeline.schema import Annotations, Box, Quad, Region, Text, TextRegion, Triplet

BOX: Box = (10, 10, 50, 50)
NEAR: Box = (14, 10, 54, 50)  # IoU 36 / 44 with BOX
LOOSE: Box = (22, 10, 62, 50)  # IoU 28 / 52 with BOX
FAR: Box = (60, 60, 90, 90)
QUAD: Quad = (10, 10, 50, 10, 50, 20, 10, 20)


def region(
    box: Box = BOX, phrase: str = "circle", brief: str | None = "red circle", **more: object
) -> Region:
    return Region(box=box, phrase=phrase, brief=brief, **more)  # type: ignore[arg-type]


def brief(text: str, **more: object) -> Text:
    return Text(id=f"t{text}", granularity="brief", text=text, **more)  # type: ignore[arg-type]


def counts(labels: Annotations, truth: Annotations) -> dict[str, tuple[int, ...]]:
    return dict(zip(METRICS, map(tuple, count_sample(labels, truth).tolist()), strict=True))


def of_regions(*regions: Region) -> Annotations:
    return Annotations(regions=list(regions))


def test_what_lies_in_a_crowd_of_its_category_is_neither_right_nor_wrong() -> None:
    crowd = region((0, 0, 500, 100), dropped="crowd")
    inside, single = region((200, 0, 240, 80)), region(BOX)
    truth = of_regions(region(BOX), crowd)
    assert counts(of_regions(single, inside), truth)["regions"] == (1, 1, 1)
    assert counts(of_regions(single, region((200, 0, 240, 80), "square")), truth)["regions"] == (
        1,
        2,
        1,
    )
    assert counts(of_regions(single, region((200, 300, 240, 380))), truth)["regions"] == (1, 2, 1)


def test_a_region_needs_overlap_and_category() -> None:
    truth = of_regions(region())
    assert counts(of_regions(region(NEAR, "Circle")), truth)["regions"] == (1, 1, 1)
    assert counts(of_regions(region(FAR)), truth)["regions"] == (0, 1, 1)
    assert counts(of_regions(region(BOX, "square")), truth)["regions"] == (0, 1, 1)


def test_a_loose_box_matches_at_half_but_not_at_three_quarters() -> None:
    found = counts(of_regions(region(LOOSE)), of_regions(region()))
    assert found["regions"] == (1, 1, 1) and found["regions_75"] == (0, 1, 1)
    assert found["region_attributes"] == (1, 1, 1) and found["region_attributes_75"] == (0, 1, 1)


def test_a_wrong_attribute_fails_only_the_attribute_metric() -> None:
    found = counts(of_regions(region(brief="blue circle")), of_regions(region()))
    assert found["regions"] == (1, 1, 1) and found["region_attributes"] == (0, 1, 1)


def test_an_article_before_the_brief_text_makes_no_difference() -> None:
    found = counts(of_regions(region(brief="A red circle")), of_regions(region()))
    assert found["region_attributes"] == (1, 1, 1)


def test_attributes_are_not_asked_for_where_the_truth_has_none() -> None:
    truth = of_regions(region(brief=None))
    assert counts(of_regions(region()), truth)["region_attributes"] == (1, 1, 1)
    assert counts(of_regions(region(brief=None)), of_regions(region()))["region_attributes"] == (
        0,
        1,
        1,
    )


def test_two_labels_of_one_object_match_once() -> None:
    labels = of_regions(region(score=0.3), region(NEAR, score=0.9))
    assert counts(labels, of_regions(region()))["regions"] == (1, 2, 1)


def test_dropped_labels_do_not_count() -> None:
    labels = of_regions(region(), region(FAR, dropped="low_score"))
    assert counts(labels, of_regions(region()))["regions"] == (1, 1, 1)


def test_a_text_is_right_whatever_its_case_and_punctuation_but_not_its_article() -> None:
    truth = Annotations(texts=[brief("A red circle, above a square.")])
    assert counts(Annotations(texts=[brief("a red circle above a square")]), truth)["texts"] == (
        1,
        1,
        1,
    )
    assert counts(Annotations(texts=[brief("the red circle above a square")]), truth)["texts"] == (
        0,
        1,
        1,
    )


def test_text_tokens_count_shared_words_with_repetition() -> None:
    labels, truth = (
        Annotations(texts=[brief("a dog a cat")]),
        Annotations(texts=[brief("a dog and a cow")]),
    )
    assert counts(labels, truth)["text_tokens"] == (3, 4, 5)


def test_a_missing_text_misses_its_words_and_a_spurious_one_adds_them() -> None:
    some, none = Annotations(texts=[brief("a dog")]), Annotations()
    assert counts(none, some)["text_tokens"] == (0, 0, 2) and counts(none, some)["texts"] == (
        0,
        0,
        1,
    )
    assert counts(some, none)["text_tokens"] == (0, 2, 0) and counts(some, none)["texts"] == (
        0,
        1,
        0,
    )


def test_further_captions_of_the_truth_are_alternatives() -> None:
    truth = Annotations(texts=[brief("a dog"), brief("one dog"), brief("a small dog")])
    assert counts(Annotations(texts=[brief("one dog")]), truth)["texts"] == (1, 1, 1)
    assert counts(Annotations(texts=[brief("one dog")]), truth)["text_tokens"] == (2, 2, 2)


def test_text_regions_match_by_letters_and_digits() -> None:
    truth = Annotations(text_regions=[TextRegion(quad=QUAD, text="EXIT 9")])
    right, wrong = (
        Annotations(text_regions=[TextRegion(quad=QUAD, text=t)]) for t in ("exit-9", "exit 8")
    )
    assert counts(right, truth)["text_regions"] == (1, 1, 1)
    assert counts(wrong, truth)["text_regions"] == (0, 1, 1)


def _tied(granularity: str, phrase: str, box: Box = BOX) -> Annotations:
    text = Text(id="t", granularity=granularity, text=phrase)  # type: ignore[arg-type]
    triplet = Triplet(text_id="t", phrase=phrase, start=0, end=len(phrase), box=box)
    return Annotations(texts=[text], triplets=[triplet])


def test_triplets_match_by_phrase_and_box_within_one_granularity() -> None:
    truth = _tied("brief", "a red circle")
    assert counts(_tied("brief", "the red circle", NEAR), truth)["triplets"] == (1, 1, 1)
    assert counts(_tied("brief", "a circle"), truth)["triplets"] == (0, 1, 1)
    assert counts(_tied("brief", "a red circle", FAR), truth)["triplets"] == (0, 1, 1)
    assert counts(_tied("detailed", "a red circle"), truth)["triplets"] == (0, 0, 1)


def test_ratios_are_of_the_sums_and_leave_out_what_has_no_truth() -> None:
    truth = of_regions(region(), region(FAR, "square", "blue square"))
    spurious = (of_regions(region(FAR)), Annotations())
    scores = score_round([(truth, truth), (of_regions(region()), truth), spurious])
    regions = scores["metrics"]["regions"]
    assert (regions["matched"], regions["labels"], regions["truth"]) == (3, 4, 4)
    assert regions["precision"] == regions["recall"] == regions["f1"] == 0.75
    assert "triplets" not in scores["metrics"] and scores["score"] == 0.75


def _samples(rights: list[bool]) -> np.ndarray:
    truth = of_regions(region())
    return count_samples((of_regions(region(BOX if right else FAR)), truth) for right in rights)


def test_the_bootstrap_interval_of_a_difference_has_the_width_of_theory() -> None:
    rng = np.random.default_rng(1)
    old, new = rng.random(400) < 0.5, rng.random(400) < 0.7
    found = compare(_samples(new.tolist()), _samples(old.tolist()), seed=7, resamples=4000)[
        "regions"
    ]
    differences = new.astype(float) - old
    error = 1.96 * differences.std() / 20
    assert found.value == pytest.approx(differences.mean())
    assert found.low == pytest.approx(differences.mean() - error, abs=0.012)
    assert found.high == pytest.approx(differences.mean() + error, abs=0.012)


def test_the_bootstrap_is_seeded_and_paired() -> None:
    old = _samples([True, False] * 50)
    assert compare(old, old, seed=0)["score"] == compare(old, old, seed=1)["score"]
    assert compare(old, old, seed=0)["score"].low == compare(old, old, seed=0)["score"].high == 0
    new = _samples([True, True, False, False] * 25)
    assert compare(new, old, seed=3) == compare(new, old, seed=3) != compare(new, old, seed=4)


def test_random_groups_of_samples_give_as_wide_an_interval_as_the_samples() -> None:
    rng = np.random.default_rng(0)
    keys = [f"image_{number}" for number in range(5000)]
    new = _samples((rng.random(len(keys)) < 0.63).tolist())
    old = _samples((rng.random(len(keys)) < 0.6).tolist())
    grouped = np.zeros((2, GROUPS, *new.shape[1:]), np.int64)
    groups = [group_of(key) for key in keys]
    np.add.at(grouped[0], groups, new)
    np.add.at(grouped[1], groups, old)
    single = compare(new, old, seed=0)["regions"]
    by_group = compare(grouped[0], grouped[1], seed=0)["regions"]
    assert by_group.value == single.value
    width = single.high - single.low
    assert by_group.high - by_group.low == pytest.approx(width, rel=0.1)
