"""What rests on too few judgements is named in one line."""

from __future__ import annotations

import pytest

from pipeline.quality.audit import score, wilson
from pipeline.quality.calibration import CalibrateConfig, CalibrationSummary, calibrate, summary
from pipeline.quality.calibration_truth import Truth
from pipeline.quality.small_samples import (
    few_for_a_class,
    few_for_thresholds,
    few_verdicts,
    least_judgements,
)
from pipeline.schema import Annotations, Region


def region(number: int, score: float | None, source: str = "detect") -> Region:
    left = 20.0 * number
    return Region(source=source, box=(left, 0, left + 10, 10), phrase="dog", score=score)


def calibrated(right: int, wrong: int) -> CalibrationSummary:
    """The summary for a specialist whose wrong labels score less than its right ones."""
    labels = [region(number, 0.9) for number in range(right)]
    labels += [region(right + number, 0.1) for number in range(wrong)]
    truth = Truth(
        Annotations(regions=[region(number, None) for number in range(right)]), ("regions",)
    )
    config = CalibrateConfig(precision=0.9, min_labels=1000)
    curves = calibrate([(Annotations(regions=labels), truth)], config)
    return summary(curves, config, 1)


@pytest.mark.parametrize("share", [0.5, 0.8, 0.9, 1.0])
def test_the_least_count_is_the_first_with_an_interval_of_a_fifth(share: float) -> None:
    least = least_judgements(share)
    for judged, is_enough in ((least - 1, False), (least, True)):
        low, high = wilson(share * judged, judged)
        assert (high - low <= 0.2) == is_enough


def test_of_a_precision_of_one_the_interval_has_a_closed_form() -> None:
    # Its width is z^2 / (n + z^2), at most 0.2 from n = 4 z^2 = 15.4 on.
    assert least_judgements(1.0) == 16


def test_the_interval_is_of_the_labels_above_the_threshold() -> None:
    (row,) = calibrated(right=9, wrong=1)["thresholds"]
    assert (row["threshold"], row["judged"], row["labels"]) == (0.1, 10, 10)
    # scipy.stats.binomtest(9, 10).proportion_ci(method="wilson")
    assert (row["low"], row["high"]) == pytest.approx((0.5958499732, 0.9821237869))
    (row,) = calibrated(right=9, wrong=8)["thresholds"]
    assert (row["threshold"], row["judged"], row["labels"]) == (0.9, 9, 17)


def test_a_threshold_on_few_labels_is_named_with_what_is_needed() -> None:
    line = few_for_thresholds(calibrated(right=9, wrong=1)["thresholds"], 0.9)
    assert line == (
        "1 of 1 thresholds rest on so few labels that their precision is not known to a tenth (37"
        " labels above a threshold are needed for a precision of 0.9): regions detect (10: 0.60 to"
        " 0.98); label more images"
    )
    assert few_for_thresholds(calibrated(right=40, wrong=0)["thresholds"], 0.9) is None


@pytest.mark.parametrize(("wrong", "is_few"), [(2, True), (40, False)])
def test_a_threshold_that_is_never_reached_needs_enough_labels_too(
    wrong: int, is_few: bool
) -> None:
    summary = calibrated(right=0, wrong=wrong)
    assert summary["thresholds"][0]["threshold"] is None
    assert (few_for_thresholds(summary["thresholds"], 0.9) is not None) == is_few


def test_a_long_list_is_cut() -> None:
    line = few_for_a_class({f"detect/{number}": number for number in range(11)}, 30)
    assert line is not None
    assert line.startswith("classes with fewer than 30 labels (11) take the threshold of their")
    assert line.endswith(
        "detect/0 (0), detect/1 (1), detect/2 (2), detect/3 (3), detect/4 (4),"
        " detect/5 (5), detect/6 (6), detect/7 (7) and 3 more"
    )
    assert few_for_a_class({}, 30) is None


def test_precisions_on_few_verdicts_are_named() -> None:
    def judged(source: str, yes: int, no: int) -> list[dict[str, str]]:
        verdicts = ["yes"] * yes + ["no"] * no
        return [{"type": "regions", "source": source, "verdict": verdict} for verdict in verdicts]

    items = judged("detect", 40, 0) + judged("refine", 3, 0)
    line = few_verdicts(score({"round": "r", "items": items}))
    assert line == (
        "1 of 3 precisions rest on so few verdicts that they are not known to a tenth (16 are"
        " enough for each of them): regions refine (3: 0.44 to 1.00); judge more with `fld audit"
        " sample --n`"
    )
    assert few_verdicts(score({"round": "r", "items": judged("detect", 40, 0)})) is None
