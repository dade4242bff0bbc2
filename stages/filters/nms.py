"""Non-maximum suppression over many images at once, in NumPy. Boxes are (n, 4) xyxy.

`groups` says which boxes compete: the image, or the image and class. Nothing loops over images or boxes:
overlapping pairs are found by comparing each box with the 1st, 2nd, ... box behind it in its group, and
greedy suppression is then settled for all groups together, a rank of the chain of suppressions at a time.
"""

from __future__ import annotations

import numpy as np

# Chunks of whole groups of about this many boxes stay in the processor's cache.
CHUNK = 32_768


def iou(a: np.ndarray, b: np.ndarray) -> np.ndarray:
    """Intersection over union of paired boxes, broadcast over leading axes; 0 where both are empty."""
    low, high = np.maximum(a[..., :2], b[..., :2]), np.minimum(a[..., 2:], b[..., 2:])
    side = np.clip(high - low, 0, None)
    shared = side[..., 0] * side[..., 1]
    total = area(a) + area(b) - shared
    return np.divide(shared, total, out=np.zeros_like(total), where=total > 0)


def area(boxes: np.ndarray) -> np.ndarray:
    return (boxes[..., 2] - boxes[..., 0]) * (boxes[..., 3] - boxes[..., 1])


def iou_matrix(a: np.ndarray, b: np.ndarray) -> np.ndarray:
    return iou(np.asarray(a, float)[:, None], np.asarray(b, float)[None])


def nms(boxes: np.ndarray, scores: np.ndarray, groups: np.ndarray, threshold: float) -> np.ndarray:
    """True for the boxes that greedy suppression keeps: a box falls to a kept one of its group with a
    higher score (the earlier of equals) and an IoU above the threshold."""
    if (groups[1:] < groups[:-1]).any():
        order = np.argsort(groups, kind="stable")
        kept = np.empty(len(order), bool)
        kept[order] = nms(boxes[order], scores[order], groups[order], threshold)
        return kept
    kept = np.ones(len(groups), bool)
    for start, stop in _chunks(groups):
        score = scores[start:stop]
        first, second = overlapping_pairs(boxes[start:stop], groups[start:stop], threshold)
        wins = score[first] >= score[second]  # the earlier of equals
        winner, loser = np.where(wins, first, second), np.where(wins, second, first)
        kept[start:stop] = _greedy(stop - start, winner, loser)
    return kept


def soft_nms(boxes: np.ndarray, scores: np.ndarray, groups: np.ndarray, sigma: float) -> np.ndarray:
    """Scores after Gaussian soft suppression: each box, best first, multiplies the scores of those behind
    it in its group by exp(-IoU^2 / sigma)."""
    scores = scores.astype(float)
    left = np.arange(len(scores))
    while len(left):
        left = left[np.lexsort((-scores[left], groups[left]))]
        is_best = np.r_[True, groups[left][1:] != groups[left][:-1]]
        best = left[is_best][np.cumsum(is_best) - 1]
        overlap = iou(boxes[left], boxes[best])
        scores[left] *= np.where(is_best, 1.0, np.exp(-(overlap**2) / sigma))
        left = left[~is_best]
    return scores


def overlapping_pairs(
    boxes: np.ndarray, groups: np.ndarray, threshold: float
) -> tuple[np.ndarray, np.ndarray]:
    """Index pairs (i < j) of one group, groups being contiguous, whose IoU is above the threshold."""
    behind = _behind(groups)
    columns = np.ascontiguousarray(boxes.T)
    areas = area(boxes)
    firsts, seconds = [], []
    first, lag = np.flatnonzero(behind >= 1), 1
    while len(first):
        second = first + lag
        shared = _intersection(columns, first, second)
        hit = shared > threshold * (areas[first] + areas[second] - shared)
        firsts.append(first[hit])
        seconds.append(second[hit])
        lag += 1
        first = first[behind[first] >= lag]
    none = np.empty(0, np.intp)
    return np.concatenate([none, *firsts]), np.concatenate([none, *seconds])


def _intersection(columns: np.ndarray, first: np.ndarray, second: np.ndarray) -> np.ndarray:
    left, top, right, bottom = columns
    width = np.minimum(right[first], right[second]) - np.maximum(left[first], left[second])
    height = np.minimum(bottom[first], bottom[second]) - np.maximum(top[first], top[second])
    return np.clip(width, 0, None) * np.clip(height, 0, None)


def _behind(groups: np.ndarray) -> np.ndarray:
    """How many members of its group stand behind each one."""
    ends = np.flatnonzero(np.r_[groups[1:] != groups[:-1], True])
    sizes = np.diff(np.r_[-1, ends])
    return np.repeat(ends, sizes) - np.arange(len(groups))


def _greedy(count: int, winner: np.ndarray, loser: np.ndarray) -> np.ndarray:
    """Who survives when each pair's loser falls if its winner survives."""
    kept = np.ones(count, bool)
    while len(winner):
        contested = np.zeros(count, bool)
        contested[loser] = True
        sure = ~contested[winner]
        kept[loser[sure]] = False
        open_ = ~sure & kept[winner] & kept[loser]
        winner, loser = winner[open_], loser[open_]
    return kept


def _chunks(groups: np.ndarray) -> list[tuple[int, int]]:
    if not len(groups):
        return []
    ends = np.flatnonzero(np.r_[groups[1:] != groups[:-1], True]) + 1
    cuts = ends[np.unique(np.searchsorted(ends, np.arange(CHUNK, len(groups), CHUNK)))]
    stops = sorted({*cuts.tolist(), len(groups)})
    return list(zip([0, *stops[:-1]], stops, strict=True))
