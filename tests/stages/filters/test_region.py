"""The region rules, one by one, and together against a plain reference."""

from __future__ import annotations

import numpy as np
import pytest

from pipeline.schema import HUMAN, REVIEWED, Annotations, Box, Region, TextRegion
from stages.base import Sample
from stages.filters.region import (
    REASONS,
    RegionColumns,
    RegionFilter,
    RegionFilterConfig,
    decide,
    min_score,
)

A: Box = (10.0, 10.0, 50.0, 50.0)
NEAR_A: Box = (11.0, 10.0, 51.0, 50.0)
QUAD = (0.0, 0.0, 9.0, 0.0, 9.0, 5.0, 0.0, 5.0)


def region(
    id: str, box: Box = A, phrase: str = "dog", score: float | None = 0.9, **more: object
) -> Region:
    return Region(id=id, box=box, phrase=phrase, score=score, **{"source": "detect", **more})


def dropped(regions: list[Region], **settings: object) -> dict[str, str | None]:
    sample = Sample(key="k", size=(100, 100), annotations=Annotations(regions=regions))
    (result,) = RegionFilter(RegionFilterConfig(**settings))([sample])
    return {r.id: r.dropped for r in result.regions}


def test_a_good_region_is_not_revised() -> None:
    assert dropped([region("a")]) == {}


def test_a_low_score_falls_and_the_threshold_itself_stays() -> None:
    assert dropped([region("a", score=0.29), region("b", (60, 60, 90, 90), score=0.3)]) == {
        "a": "low_score"
    }


def test_a_score_that_is_not_a_number_falls() -> None:
    assert dropped([region("a", score=float("nan"))]) == {"a": "low_score"}


def test_confidence_outranks_the_raw_score() -> None:
    assert dropped([region("a", score=0.9, confidence=0.1)]) == {"a": "low_score"}
    assert dropped([region("a", score=0.1, confidence=0.9)]) == {}


def test_labels_without_a_score_pass_the_threshold_and_win_the_suppression() -> None:
    assert dropped([region("a", score=0.99), region("b", NEAR_A, score=None)]) == {
        "a": "class_overlap"
    }


def test_thresholds_go_by_source_and_class_the_most_special_first() -> None:
    config = RegionFilterConfig(min_scores={"detect": 0.2, "/dog": 0.5, "detect/cat": 0.8})
    assert min_score(config, "other", "bird") == 0.3
    assert min_score(config, "detect", "bird") == 0.2
    assert min_score(config, "detect", "dog") == 0.5
    assert min_score(config, "detect", "cat") == 0.8


def test_overlap_within_a_class_and_across_classes_have_thresholds_of_their_own() -> None:
    shifted: Box = (18.0, 10.0, 58.0, 50.0)  # IoU 2/3 with A
    regions = [region("a"), region("b", shifted, score=0.8), region("c", shifted, "cat", 0.7)]
    assert dropped(regions) == {"b": "class_overlap"}
    assert dropped(regions, any_iou=0.6) == {"b": "class_overlap", "c": "any_overlap"}
    assert dropped(regions, class_iou=1.0, any_iou=1.0) == {}


@pytest.mark.parametrize("box", [(10, 10, 11, 50), (10, 50, 50, 10), (float("nan"), 1, 20, 20)])
def test_degenerate_boxes_fall(box: Box) -> None:
    assert dropped([region("a", box)]) == {"a": "degenerate_box"}


def test_a_human_label_is_never_dropped_and_outranks_machines() -> None:
    human = region("h", NEAR_A, score=0.01, source=HUMAN)
    assert dropped([region("a", score=0.99), human]) == {"a": "duplicate_of_human"}
    assert dropped([region("a", score=0.99), human], human_iou=1.0) == {"a": "class_overlap"}
    assert dropped([region("h", (5, 5, 5, 5), source=HUMAN)]) == {}


def test_what_was_dropped_before_is_left_alone_and_suppresses_nothing() -> None:
    assert dropped([region("a", dropped="not_supported"), region("b", NEAR_A, score=0.4)]) == {}


def test_soft_suppression_spares_a_strong_neighbour_that_the_hard_one_takes() -> None:
    shifted: Box = (18.0, 10.0, 58.0, 50.0)
    regions = [region("a"), region("b", shifted, score=0.8), region("c", NEAR_A, score=0.35)]
    assert dropped(regions) == {"b": "class_overlap", "c": "class_overlap"}
    assert dropped(regions, soft_sigma=0.8, any_iou=1.0) == {"c": "class_overlap"}


def test_text_regions_follow_their_own_threshold_and_need_a_text() -> None:
    low = TextRegion(id="o0", source="ocr", quad=QUAD, text="A", score=0.5)
    blank = TextRegion(id="o1", source="ocr", quad=QUAD, text=" ", score=0.9)
    sample = Sample(key="k", size=(100, 100), annotations=Annotations(text_regions=[low, blank]))
    (result,) = RegionFilter(RegionFilterConfig(min_scores={"ocr": 0.6}))([sample])
    assert [(t.id, t.dropped) for t in result.text_regions] == [
        ("o0", "low_score"),
        ("o1", "empty_text"),
    ]


def test_each_sample_of_a_batch_is_judged_by_itself() -> None:
    sample = Sample(key="k", size=(100, 100), annotations=Annotations(regions=[region("a")]))
    low = Sample(
        key="l", size=(100, 100), annotations=Annotations(regions=[region("a", score=0.1)])
    )
    results = RegionFilter(RegionFilterConfig())([sample, low, sample])
    assert [len(r.regions) for r in results] == [0, 1, 0]


def plain_iou(a: np.ndarray, b: np.ndarray) -> float:
    width = max(0.0, min(a[2], b[2]) - max(a[0], b[0]))
    height = max(0.0, min(a[3], b[3]) - max(a[1], b[1]))
    return width * height / (area(a) + area(b) - width * height)


def area(box: np.ndarray) -> float:
    return (box[2] - box[0]) * (box[3] - box[1])


def plain_decide(columns: RegionColumns, config: RegionFilterConfig) -> list[str | None]:
    reasons: list[str | None] = [None] * len(columns.score)
    for i, (box, score) in enumerate(zip(columns.box, columns.score, strict=True)):
        if box[2] - box[0] < config.min_side or box[3] - box[1] < config.min_side:
            reasons[i] = "degenerate_box"
        elif score < columns.min_score[i]:
            reasons[i] = "low_score"
        elif columns.agreement is not None and columns.agreement[i] < config.min_agreement:
            reasons[i] = "low_agreement"
        elif score != np.inf and any(
            columns.image[j] == columns.image[i]
            and columns.label[j] == columns.label[i]
            and plain_iou(box, columns.box[j]) > config.human_iou
            for j in np.flatnonzero(columns.score == np.inf)
        ):
            reasons[i] = "duplicate_of_human"
    order = sorted(range(len(reasons)), key=lambda i: (-columns.score[i], i))
    for reason, threshold in (("class_overlap", config.class_iou), ("any_overlap", config.any_iou)):
        kept: dict[int, list[int]] = {}
        for i in order:
            if reasons[i]:
                continue
            rivals = [
                j
                for j in kept.setdefault(int(columns.image[i]), [])
                if reason == "any_overlap" or columns.label[j] == columns.label[i]
            ]
            if any(plain_iou(columns.box[i], columns.box[j]) > threshold for j in rivals):
                reasons[i] = reason
            else:
                kept[int(columns.image[i])].append(i)
    return [
        None if score == np.inf else reason
        for score, reason in zip(columns.score, reasons, strict=True)
    ]


def test_the_rules_over_columns_equal_a_plain_reference_on_ten_thousand_regions() -> None:
    rng = np.random.default_rng(5)
    corner, side = rng.uniform(0, 60, (10_000, 2)), rng.uniform(5, 40, (10_000, 2))
    boxes, scores = np.concatenate([corner, corner + side], 1), rng.random(10_000).round(2)
    boxes[:50, 2] = boxes[:50, 0]
    scores[50:150] = np.inf
    columns = RegionColumns(
        rng.integers(0, 500, 10_000),
        rng.integers(0, 4, 10_000),
        scores,
        rng.choice([0.2, 0.4], 10_000),
        boxes,
        rng.choice([0.5, 1.0], 10_000, p=[0.1, 0.9]),
    )
    config = RegionFilterConfig(class_iou=0.4, any_iou=0.6, min_agreement=0.6)
    expected = plain_decide(columns, config)
    assert {*expected} == {*REASONS}
    assert [REASONS[code] for code in decide(columns, config)] == expected


def test_a_machines_box_of_what_a_human_has_labelled_is_a_duplicate_whatever_its_score() -> None:
    regions = [
        region("same", box=(0.0, 0.0, 100.0, 56.0)),
        region("other class", box=(0.0, 0.0, 100.0, 56.0), phrase="cat"),
        region("elsewhere", box=(60.0, 60.0, 160.0, 160.0)),
        region("h", box=(0.0, 0.0, 100.0, 100.0), score=None, source=HUMAN),
        region("crowd", box=(60.0, 60.0, 160.0, 160.0), score=None, source=HUMAN, dropped="crowd"),
    ]
    assert dropped(regions) == {"same": "duplicate_of_human"}
    assert dropped(regions, human_iou=1.0, any_iou=1.0) == {}


def test_reviewed_remains_the_reason_of_labels_only_that_people_could_see() -> None:
    away = {"dropped": REVIEWED}
    human = region("human", source=HUMAN, model="review", score=None)
    found = dropped(
        [
            human,
            region("mark", (0, 0, 0, 0), "", None, source=HUMAN, **away),
            region("low", score=0.1, **away),
            region("seen", NEAR_A, **away),
            region("repeat", A, score=0.8, **away),
            region("new", (60, 60, 90, 90), score=0.9),
        ]
    )
    # The human box takes no part, as there was none when people saw the others.
    assert found == {"low": "low_score", "repeat": "class_overlap"}
