"""Finds the similar ones among millions of hashes or vectors, a block of pairs at a time.

Hashes are 64-bit numbers that are compared by the bits in which they differ. Vectors are compared
by their cosine. Memory does not depend on how many pairs are similar: each function yields its
pairs in blocks. `stages.dedup` builds on it.
"""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass
from itertools import combinations, pairwise

import numpy as np

BITS = 64
# Pairs that are compared at once.
BLOCK = 1 << 20
# Vectors that are compared at once with as many others.
ROWS = 2048


@dataclass(frozen=True, slots=True)
class Pairs:
    """Similar pairs; each column has n rows."""

    left: np.ndarray
    """(n,) int: indices into the first of the compared arrays."""

    right: np.ndarray
    """(n,) int: indices into the second one."""

    distance: np.ndarray
    """(n,): bits in which two hashes differ, or 1 - cosine of two vectors."""

    def rows(self) -> Iterator[tuple[int, int, float]]:
        """The pairs as plain numbers: left, right, distance."""
        return zip(self.left.tolist(), self.right.tolist(), self.distance.tolist(), strict=True)


def close_hashes(left: np.ndarray, right: np.ndarray, distance: int) -> Iterator[Pairs]:
    """All pairs of hashes that differ in at most `distance` bits; a pair may come more than once.

    `left` is (n,) uint64, `right` (m,) uint64. Method: multi-index hashing (Norouzi, Punjani and
    Fleet, CVPR 2012). If two hashes are cut into k parts and are close, then at least one of their
    parts differs by at most distance // k bits. Only hashes that are so near in a part are
    compared.
    """
    # With so many parts there is about one hash for each value of a part.
    parts = max(1, round(BITS / np.log2(max(len(right), 2))))
    edges = [BITS * i // parts for i in range(parts + 1)]
    for start, end in pairwise(edges):
        mask = np.uint64((1 << (end - start)) - 1)
        right_parts = (right >> np.uint64(start)) & mask
        left_parts = (left >> np.uint64(start)) & mask
        order = np.argsort(right_parts, kind="stable")
        for flipped in _bit_patterns(end - start, distance // parts):
            probes = left_parts ^ np.uint64(flipped)
            for rows, places in _equal_values(probes, right_parts[order]):
                others = order[places]
                bits = np.bitwise_count(left[rows] ^ right[others])
                is_close = bits <= distance
                yield Pairs(rows[is_close], others[is_close], bits[is_close])


def _bit_patterns(bits: int, most: int) -> Iterator[int]:
    """All numbers of `bits` bits of which at most `most` are ones."""
    for ones in range(min(most, bits) + 1):
        for places in combinations(range(bits), ones):
            yield sum(1 << place for place in places)


def _equal_values(probes: np.ndarray, keys: np.ndarray) -> Iterator[tuple[np.ndarray, np.ndarray]]:
    """Equal values as (indices into `probes`, indices into the sorted `keys`).

    Each block holds about `BLOCK` pairs at most, or the pairs of a single probe.
    """
    low = np.searchsorted(keys, probes, "left")
    high = np.searchsorted(keys, probes, "right")
    matches = high - low
    ends = np.cumsum(matches)
    start = 0
    while start < len(probes):
        pairs_before = ends[start - 1] if start else 0
        block_end = int(np.searchsorted(ends, pairs_before + BLOCK, "right"))
        stop = max(start + 1, block_end)
        counts = matches[start:stop]
        rows = np.repeat(np.arange(start, stop), counts)
        first_pairs = np.cumsum(counts) - counts
        steps = np.arange(len(rows)) - np.repeat(first_pairs, counts)
        yield rows, low[rows] + steps
        start = stop


def similar_vectors(left: np.ndarray, right: np.ndarray, similarity: float) -> Iterator[Pairs]:
    """All pairs of vectors, (n, d) and (m, d) float, whose cosine is at least `similarity`."""
    for start in range(0, len(left), ROWS):
        left_units = _normalised(left[start : start + ROWS])
        for other_start in range(0, len(right), ROWS):
            right_units = _normalised(right[other_start : other_start + ROWS])
            cosines = left_units @ right_units.T
            rows, others = np.nonzero(cosines >= similarity)
            yield Pairs(start + rows, other_start + others, 1 - cosines[rows, others])


def _normalised(vectors: np.ndarray) -> np.ndarray:
    """Vectors of length 1; the zero vector stays as it is."""
    lengths = np.linalg.norm(vectors, axis=1, keepdims=True)
    return vectors / np.maximum(lengths, 1e-12)
