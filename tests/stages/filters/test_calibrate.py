"""Thresholds that reach a wanted precision."""

from __future__ import annotations

import numpy as np
import pytest

from pipeline.schema import Annotations, Box, Region
from stages.filters.calibrate import CalibrateConfig, calibrate, correct, curve, min_scores

A: Box = (0.0, 0.0, 10.0, 10.0)
FAR: Box = (50.0, 50.0, 60.0, 60.0)


def region(box: Box = A, phrase: str = "dog", score: float | None = 0.8) -> Region:
    return Region(source="detect", box=box, phrase=phrase, score=score)


def test_a_curve_by_hand() -> None:
    found = curve(np.array([0.9, 0.5, 0.7, 0.3]), np.array([True, False, True, True]), there=4)
    assert found.threshold.tolist() == [0.9, 0.7, 0.5, 0.3]
    assert found.precision == pytest.approx([1, 1, 2 / 3, 3 / 4])
    assert found.recall == pytest.approx([1 / 4, 1 / 2, 1 / 2, 3 / 4])
    assert [found.reach(p) for p in (1.0, 0.75, 0.5)] == [1, 3, 3]


def test_equal_scores_stand_or_fall_together() -> None:
    found = curve(np.array([0.5, 0.5, 0.5]), np.array([True, False, False]), there=1)
    assert (found.threshold.tolist(), found.precision.tolist()) == ([0.5], [1 / 3])
    assert found.reach(0.5) is None


def test_a_truth_is_found_once_by_the_surest_label_of_its_category() -> None:
    labels = [region(score=0.5), region(score=0.9), region(phrase="cat"), region(FAR)]
    assert correct(labels, [region(score=None)], 0.5).tolist() == [False, True, False, False]
    assert correct(labels, [], 0.5).tolist() == [False] * 4
    assert correct([], [region()], 0.5).tolist() == []


def test_thresholds_come_per_source_and_per_class_with_enough_labels() -> None:
    dogs = [(Annotations(regions=[region(score=0.2 + i / 100)]), Annotations(regions=[region()])) for i in range(40)]
    cats = [(Annotations(regions=[region(phrase="cat", score=s)]), Annotations()) for s in (0.25, 0.9)]
    curves = calibrate(dogs + cats, CalibrateConfig(min_labels=30))
    assert sorted(curves) == ["detect", "detect/dog"]
    assert curves["detect/dog"].recall[-1] == 1
    found = min_scores(curves, 1.0)
    assert found["detect/dog"] == pytest.approx(0.2)
    assert found["detect"] == 1.01  # the surest label of all is a wrong cat
    assert min_scores(curves, 0.95)["detect"] == pytest.approx(0.2)
