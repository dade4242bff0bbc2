"""Non-maximum suppression (NMS) over many images at once, in NumPy.

Boxes are (n, 4) floats, xyxy in pixels. `groups` (n,) says which boxes compete: boxes with the
same number, which stands for the image, or for the image and class.

No loop runs over images or boxes. Pairs that overlap are found by comparing each box with the
first, second, ... box behind it in its group. Greedy suppression is then settled for all groups
together, one link of the chains of suppressions at a time.
"""

from __future__ import annotations

import numpy as np

from stages.geometry import areas, paired_iou

# Whole groups are worked on together until they hold about this many boxes: the arrays of a chunk
# then stay in the processor's cache.
CHUNK = 32_768


def nms(boxes: np.ndarray, scores: np.ndarray, groups: np.ndarray, threshold: float) -> np.ndarray:
    """Which boxes greedy suppression keeps.

    A box is suppressed by a kept box of its group that has a higher score (of equal scores the
    earlier box wins) and an IoU above `threshold`.

    Args:
        boxes: (n, 4) float, xyxy in pixels.
        scores: (n,) float.
        groups: (n,) int, in any order.
        threshold: an IoU, 0 to 1.

    Returns:
        (n,) bool, in the order of the boxes.
    """
    is_sorted = (groups[1:] >= groups[:-1]).all()
    if is_sorted:
        return _nms_sorted(boxes, scores, groups, threshold)
    order = np.argsort(groups, kind="stable")
    kept = np.empty(len(order), bool)
    kept[order] = _nms_sorted(boxes[order], scores[order], groups[order], threshold)
    return kept


def _nms_sorted(
    boxes: np.ndarray,
    scores: np.ndarray,
    groups: np.ndarray,
    threshold: float,
) -> np.ndarray:
    """As `nms`, for groups in ascending order."""
    kept = np.ones(len(groups), bool)
    for start, stop in _chunks(groups):
        chunk = slice(start, stop)
        first, second = overlapping_pairs(boxes[chunk], groups[chunk], threshold)
        # Of each pair, the box with the lower score may fall.
        chunk_scores = scores[chunk]
        first_scores = chunk_scores[first]
        first_wins = first_scores >= chunk_scores[second]
        winner = np.where(first_wins, first, second)
        loser = np.where(first_wins, second, first)
        kept[chunk] = _greedy(stop - start, winner, loser)
    return kept


def soft_nms(boxes: np.ndarray, scores: np.ndarray, groups: np.ndarray, sigma: float) -> np.ndarray:
    """The scores after Gaussian soft suppression (Bodla et al., ICCV 2017).

    The best box of a group multiplies the scores of the others by exp(-IoU^2 / sigma); then the
    best of the others does so, until none is left.

    Args:
        boxes: (n, 4) float, xyxy in pixels.
        scores: (n,) float; left as it is.
        groups: (n,) int, in any order.
        sigma: the smaller it is, the more an overlap lowers a score.

    Returns:
        (n,) float64, in the order of the boxes.
    """
    scores = scores.astype(float)
    remaining = np.arange(len(scores))
    while len(remaining):
        # By group, and within a group from the best to the worst.
        descending = -scores[remaining]
        order = np.lexsort((descending, groups[remaining]))
        remaining = remaining[order]
        # The first of each group is its best; `best` names, for every box, the best of its group.
        is_best = np.concatenate([[True], _changes(groups[remaining])])
        number_of_group = np.cumsum(is_best) - 1
        best_of_groups = remaining[is_best]
        best = best_of_groups[number_of_group]
        overlap = paired_iou(boxes[remaining], boxes[best])
        decay = np.exp(-(overlap**2) / sigma)
        scores[remaining] *= np.where(is_best, 1.0, decay)
        remaining = remaining[np.logical_not(is_best)]
    return scores


def overlapping_pairs(
    boxes: np.ndarray,
    groups: np.ndarray,
    threshold: float,
) -> tuple[np.ndarray, np.ndarray]:
    """Pairs of boxes of one group whose IoU is above `threshold`.

    Args:
        boxes: (n, 4) float, xyxy in pixels.
        groups: (n,) int; the members of a group must be adjacent.
        threshold: an IoU, 0 to 1.

    Returns:
        Two (pairs,) int arrays of indices; the first of a pair is the lower one.
    """
    behind = _members_behind(groups)
    columns = np.ascontiguousarray(boxes.T)
    box_areas = areas(boxes)
    # The empty arrays are the result if no pair overlaps.
    firsts = [np.empty(0, np.intp)]
    seconds = [np.empty(0, np.intp)]
    lag = 1
    first = np.flatnonzero(behind >= lag)
    while len(first):
        second = first + lag
        shared = _intersection(columns, first, second)
        union = box_areas[first] + box_areas[second] - shared
        # The IoU is above the threshold; without a division by a union that may be zero.
        overlaps = shared > threshold * union
        firsts.append(first[overlaps])
        seconds.append(second[overlaps])
        lag += 1
        first = first[behind[first] >= lag]
    return np.concatenate(firsts), np.concatenate(seconds)


def _intersection(
    columns: np.ndarray,
    first: np.ndarray,
    second: np.ndarray,
) -> np.ndarray:
    """The shared area of pairs of boxes.

    Args:
        columns: (4, n) float: all left sides, all tops, all right sides, all bottoms.
        first: (pairs,) int: the index of one box of each pair.
        second: (pairs,) int: the index of the other one.

    Returns:
        (pairs,) float, in square pixels.
    """
    left, top, right, bottom = columns
    shared_left = np.maximum(left[first], left[second])
    shared_right = np.minimum(right[first], right[second])
    shared_top = np.maximum(top[first], top[second])
    shared_bottom = np.minimum(bottom[first], bottom[second])
    width = np.clip(shared_right - shared_left, 0, None)
    height = np.clip(shared_bottom - shared_top, 0, None)
    return width * height


def _members_behind(groups: np.ndarray) -> np.ndarray:
    """For each box, how many members of its group stand behind it: (n,) to (n,) int."""
    ends = _last_members(groups)
    sizes = np.diff(ends, prepend=-1)
    last_of_own_group = np.repeat(ends, sizes)
    return last_of_own_group - np.arange(len(groups))


def _last_members(groups: np.ndarray) -> np.ndarray:
    """The index of the last member of each group: (n,) to (groups,) int."""
    is_last = np.concatenate([_changes(groups), [True]])
    return np.flatnonzero(is_last)


def _changes(groups: np.ndarray) -> np.ndarray:
    """Where a group differs from the one before it: (n,) to (n - 1,) bool."""
    changes: np.ndarray = groups[1:] != groups[:-1]
    return changes


def _greedy(count: int, winner: np.ndarray, loser: np.ndarray) -> np.ndarray:
    """Which boxes survive if each pair's loser falls when its winner survives.

    Args:
        count: number of boxes.
        winner: (pairs,) int: the index of the better box of each overlapping pair.
        loser: (pairs,) int: the index of the other one.

    Returns:
        (count,) bool.
    """
    kept = np.ones(count, bool)
    while len(winner):
        contested = np.zeros(count, bool)
        contested[loser] = True
        # A winner that loses no open pair survives for certain, so that its losers fall.
        settled = np.logical_not(contested[winner])
        kept[loser[settled]] = False
        is_open = kept[winner] & kept[loser]
        is_open[settled] = False
        winner = winner[is_open]
        loser = loser[is_open]
    return kept


def _chunks(groups: np.ndarray) -> list[tuple[int, int]]:
    """Half-open ranges of whole groups that hold about `CHUNK` boxes each."""
    if not len(groups):
        return []
    ends = _last_members(groups) + 1
    targets = np.arange(CHUNK, len(groups), CHUNK)
    places = np.unique(np.searchsorted(ends, targets))
    inner_stops = ends[places].tolist()
    stops = sorted({*inner_stops, len(groups)})
    starts = [0, *stops[:-1]]
    return list(zip(starts, stops, strict=True))
