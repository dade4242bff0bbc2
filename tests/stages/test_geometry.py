"""Overlaps against pycocotools and values by hand; matching; masks there and back."""

from __future__ import annotations

import numpy as np
import pytest
from pycocotools import mask as coco_mask

from pipeline.schema import Mask, Region, TextRegion
from stages.geometry import (
    area,
    areas,
    bounds,
    box_iou,
    decode_mask,
    encode_mask,
    greedy_match,
    iou,
    is_degenerate,
    paired_iou,
    quad_iou,
)


def random_boxes(count: int, seed: int) -> np.ndarray:
    corners = np.random.default_rng(seed).uniform(0, 50, (count, 2, 2))
    return np.concatenate([corners.min(axis=1), corners.max(axis=1)], axis=1)


def test_the_iou_of_a_square_and_one_moved_by_half_its_sides_is_a_seventh() -> None:
    assert iou((0, 0, 2, 2), (1, 1, 3, 3)) == pytest.approx(1 / 7)


def test_one_pair_many_pairs_and_all_pairs_have_the_same_iou_to_the_last_bit() -> None:
    left, right = random_boxes(60, seed=1), random_boxes(60, seed=2)
    matrix = box_iou(left, right)
    assert paired_iou(left, right).tolist() == matrix.diagonal().tolist()
    for i in range(60):
        assert iou(tuple(left[i].tolist()), tuple(right[i].tolist())) == matrix[i, i]


def test_the_area_of_one_box_is_clamped_and_those_of_many_are_signed() -> None:
    boxes = np.array([[0.0, 0, 4, 3], [4, 0, 0, 3]])
    assert areas(boxes).tolist() == [12.0, -12.0]
    assert [area(box) for box in boxes.tolist()] == [12.0, 0.0]


def test_the_bounds_of_a_text_region_are_those_of_its_quad() -> None:
    quad = (3.0, 0.0, 9.0, 4.0, 6.0, 8.0, 0.0, 4.0)
    assert bounds(TextRegion(quad=quad, text="A")) == (0.0, 0.0, 9.0, 8.0)
    assert bounds(Region(box=(1.0, 2.0, 3.0, 4.0), phrase="dog")) == (1.0, 2.0, 3.0, 4.0)


def test_boxes_that_are_narrow_inverted_or_not_finite_are_degenerate() -> None:
    boxes = np.array([[0, 0, 2, 2], [0, 0, 1, 9], [9, 0, 0, 9], [0, 0, np.inf, 9]], float)
    assert is_degenerate(boxes, 2.0).tolist() == [False, True, True, True]


def test_a_mask_there_and_back_is_the_same_and_pycocotools_writes_it_so() -> None:
    pixels = np.random.default_rng(3).random((7, 5)) < 0.4
    mask = encode_mask(pixels)
    expected = coco_mask.encode(np.asfortranarray(pixels.astype(np.uint8)))
    assert mask == Mask(size=(7, 5), counts=expected["counts"].decode())
    assert np.array_equal(decode_mask(mask), pixels)
    assert decode_mask(mask).dtype == np.uint8


def test_box_iou_equals_pycocotools_on_random_boxes() -> None:
    rng = np.random.default_rng(0)
    corners = rng.uniform(0, 50, (40, 2, 2, 2))
    boxes = np.concatenate([corners.min(axis=2), corners.max(axis=2)], axis=-1).transpose(1, 0, 2)
    xywh = [np.hstack([side[:, :2], side[:, 2:] - side[:, :2]]) for side in boxes]
    expected = coco_mask.iou(xywh[0], xywh[1], np.zeros(40, np.uint8))
    np.testing.assert_allclose(box_iou(boxes[0], boxes[1]), expected, atol=1e-12)


def test_box_iou_of_empty_boxes_is_zero() -> None:
    assert box_iou([(5, 5, 5, 5)], [(5, 5, 5, 5)]).tolist() == [[0.0]]
    assert box_iou([], [(0, 0, 1, 1)]).shape == (0, 1)


def test_quad_iou_of_upright_quads_is_the_iou_of_their_boxes() -> None:
    quads = [(0, 0, 10, 0, 10, 4, 0, 4), (5, 0, 15, 0, 15, 4, 5, 4)]
    assert quad_iou(quads[:1], quads) == pytest.approx(np.array([[1.0, 1 / 3]]))


def test_quad_iou_of_a_diamond_in_its_box_is_a_half() -> None:
    diamond, box = (5, 0, 10, 5, 5, 10, 0, 5), (0, 0, 10, 0, 10, 10, 0, 10)
    assert quad_iou([diamond], [box])[0, 0] == pytest.approx(0.5)


def test_quad_iou_of_a_line_is_zero() -> None:
    assert quad_iou([(0, 0, 5, 0, 9, 0, 2, 0)], [(0, 0, 10, 0, 10, 10, 0, 10)]).tolist() == [[0.0]]


def test_the_surer_row_takes_the_contested_column() -> None:
    overlap = np.array([[0.9, 0.6], [0.8, 0.1]])
    assert greedy_match(overlap, [0.2, 0.7], 0.5) == [(1, 0), (0, 1)]
    assert greedy_match(overlap, [0.2, 0.7], 0.7) == [(1, 0)]
