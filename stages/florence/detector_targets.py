"""What each cell of the detector answers for, and how boxes are compared.

A *cell* is one position of the vision tower's last feature map, in row-major order. Here boxes are
xyxy in shares of the image's sides (0..1).
"""

from __future__ import annotations

from collections.abc import Sequence
from typing import TYPE_CHECKING

import numpy as np

from pipeline.schema import Region
from stages.base import Sample

if TYPE_CHECKING:
    import torch

# Share of a box's sides, around its centre, where cells answer for it.
_CENTRE = 1 / 3
_MIN_AREA = 1e-9


def cell_centres(rows: int, columns: int) -> np.ndarray:
    """Return the middle of each cell.

    Args:
        rows: rows of the feature map.
        columns: columns of the feature map.

    Returns:
        (cells, 2), float32: x and y in shares of the image's sides.
    """
    y, x = np.mgrid[0:rows, 0:columns]
    x_shares = (x.ravel() + 0.5) / columns
    y_shares = (y.ravel() + 0.5) / rows
    centres = np.stack([x_shares, y_shares], axis=1)
    return centres.astype(np.float32)


def assign_cells(
    sample: Sample,
    categories: Sequence[str],
    shape: tuple[int, int],
) -> tuple[np.ndarray, np.ndarray]:
    """Assign the boxes of a sample to cells.

    A box is assigned to the cells whose middle lies in its middle third, and always to the cell
    nearest to its centre. Of several boxes a cell gets the smallest (FCOS: Tian et al., ICCV 2019).

    Args:
        sample: its kept regions of these categories count.
        categories: names of the categories.
        shape: rows and columns of the feature map.

    Returns:
        The category of each cell (cells,), int64, -1 for none; and its box (cells, 4), float32,
        xyxy in shares of the image's sides, zeros for none.
    """
    points = cell_centres(*shape)
    cell_categories = np.full(len(points), -1)
    cell_boxes = np.zeros((len(points), 4), np.float32)
    regions = [r for r in sample.annotations.kept().regions if r.phrase in categories]
    boxes = _box_shares(regions, sample.size)
    sides = boxes[:, 2:] - boxes[:, :2]
    areas = np.prod(sides, axis=1)
    # From the largest to the smallest, so that the smallest is written last.
    for i in np.argsort(-areas, kind="stable"):
        low = boxes[i, :2]
        high = boxes[i, 2:]
        centre = (low + high) / 2
        reach = (high - low) * _CENTRE / 2
        distances = np.abs(points - centre)
        is_inside: np.ndarray = np.all(distances <= reach, axis=1)
        nearest = distances.sum(axis=1).argmin()
        is_inside[nearest] = True
        cell_categories[is_inside] = categories.index(regions[i].phrase)
        cell_boxes[is_inside] = boxes[i]
    return cell_categories, cell_boxes


def _box_shares(regions: Sequence[Region], size: tuple[int, int]) -> np.ndarray:
    """The boxes of regions, (n, 4) float32, xyxy in shares of the image's sides.

    `size` is (width, height) of the image, in pixels.
    """
    scale = np.tile(size, 2)
    shares = [np.asarray(region.box) / scale for region in regions]
    # Without regions, too, there are four columns.
    return np.array(shares, np.float32).reshape(-1, 4)


def giou(boxes: torch.Tensor, others: torch.Tensor) -> torch.Tensor:
    """Return the generalised IoU of pairs of boxes (Rezatofighi et al., CVPR 2019).

    Args:
        boxes: (pairs, 4), float: xyxy in any unit.
        others: (pairs, 4), float: xyxy in the same unit.

    Returns:
        (pairs,), in the dtype of the boxes: 1 for equal boxes, down to -1 for distant ones.
    """
    import torch

    low, high = boxes.split(2, dim=1)
    other_low, other_high = others.split(2, dim=1)
    shared_low = torch.maximum(low, other_low)
    shared_high = torch.minimum(high, other_high)
    shared = _areas(shared_low, shared_high)
    union = _areas(low, high) + _areas(other_low, other_high) - shared
    # The smallest box around both.
    hull_low = torch.minimum(low, other_low)
    hull_high = torch.maximum(high, other_high)
    hull = _areas(hull_low, hull_high)
    iou = shared / union.clamp(min=_MIN_AREA)
    empty_share = (hull - union) / hull.clamp(min=_MIN_AREA)
    return iou - empty_share


def _areas(low: torch.Tensor, high: torch.Tensor) -> torch.Tensor:
    """Areas (boxes,) from two opposite corners, (boxes, 2) each.

    A box with a negative side has no area.
    """
    sides = (high - low).clamp(min=0)
    return sides.prod(dim=1)
