from __future__ import annotations

import numpy as np
import pytest
from pycocotools import mask as coco_mask

from pipeline.quality.geometry import box_iou, greedy_match, quad_iou


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
