"""Suppression over many images at once equals a plain reference, box by box."""

from __future__ import annotations

import numpy as np
import pytest

from stages.filters import nms as module
from stages.filters.nms import nms, soft_nms


def boxes_of(count: int, seed: int = 0) -> tuple[np.ndarray, np.ndarray]:
    rng = np.random.default_rng(seed)
    corner, side = rng.uniform(0, 60, (count, 2)), rng.uniform(5, 40, (count, 2))
    return np.concatenate([corner, corner + side], 1), rng.random(count).round(2)


def plain_iou(a: np.ndarray, b: np.ndarray) -> float:
    width = max(0.0, min(a[2], b[2]) - max(a[0], b[0]))
    height = max(0.0, min(a[3], b[3]) - max(a[1], b[1]))
    shared = width * height
    total = (a[2] - a[0]) * (a[3] - a[1]) + (b[2] - b[0]) * (b[3] - b[1]) - shared
    return shared / total if total else 0.0


def plain_nms(
    boxes: np.ndarray, scores: np.ndarray, groups: np.ndarray, threshold: float
) -> np.ndarray:
    kept: list[int] = []
    for i in sorted(range(len(boxes)), key=lambda i: (-scores[i], i)):
        rivals = [j for j in kept if groups[j] == groups[i]]
        if all(plain_iou(boxes[i], boxes[j]) <= threshold for j in rivals):
            kept.append(i)
    return np.isin(np.arange(len(boxes)), kept)


def plain_soft(
    boxes: np.ndarray, scores: np.ndarray, groups: np.ndarray, sigma: float
) -> np.ndarray:
    result = scores.copy()
    for group in set(groups.tolist()):
        left = [i for i in range(len(boxes)) if groups[i] == group]
        while left:
            best = max(left, key=lambda i: (result[i], -i))
            left.remove(best)
            for i in left:
                result[i] *= np.exp(-(plain_iou(boxes[i], boxes[best]) ** 2) / sigma)
    return result


@pytest.mark.parametrize("threshold", [0.05, 0.3, 0.7])
@pytest.mark.parametrize("chunk", [64, 32_768])
def test_nms_equals_the_plain_reference(
    threshold: float, chunk: int, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(module, "CHUNK", chunk)
    boxes, scores = boxes_of(1500)
    groups = np.random.default_rng(1).integers(0, 60, 1500)
    expected = plain_nms(boxes, scores, groups, threshold)
    assert 0 < expected.sum() < 1500
    assert np.array_equal(nms(boxes, scores, groups, threshold), expected)


def test_a_box_falls_only_to_one_that_itself_survives() -> None:
    chain = np.array([[0.0, 0, 10, 10], [4, 0, 14, 10], [8, 0, 18, 10]])
    kept = nms(chain, np.array([0.9, 0.8, 0.7]), np.zeros(3, int), 0.3)
    assert kept.tolist() == [True, False, True]


def test_the_earlier_of_two_equal_scores_wins() -> None:
    twice = np.array([[0.0, 0, 10, 10], [0, 0, 10, 10]])
    assert nms(twice, np.array([0.5, 0.5]), np.zeros(2, int), 0.5).tolist() == [True, False]


def test_no_boxes_give_no_boxes() -> None:
    none = np.empty(0, int)
    assert nms(np.empty((0, 4)), np.empty(0), none, 0.5).shape == (0,)
    assert soft_nms(np.empty((0, 4)), np.empty(0), none, 0.5).shape == (0,)


def test_soft_nms_equals_the_plain_reference() -> None:
    boxes, scores = boxes_of(300, seed=3)
    groups = np.random.default_rng(4).integers(0, 12, 300)
    assert np.allclose(soft_nms(boxes, scores, groups, 0.5), plain_soft(boxes, scores, groups, 0.5))
