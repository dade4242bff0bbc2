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
        lefts = self.left.tolist()
        rights = self.right.tolist()
        distances = self.distance.tolist()
        return zip(lefts, rights, distances, strict=True)


def close_hashes(left: np.ndarray, right: np.ndarray, distance: int) -> Iterator[Pairs]:
    """All pairs of hashes that differ in few bits; a pair may come more than once.

    Method: multi-index hashing (Norouzi, Punjani and Fleet, CVPR 2012). If two hashes are cut into
    k parts and are close, then at least one of their parts differs by at most distance // k bits.
    Only hashes that are so near in a part are compared.

    Args:
        left: (n,) uint64.
        right: (m,) uint64.
        distance: the most bits in which the hashes of a pair differ.

    Returns:
        Blocks of pairs; `Pairs.distance` is in bits.
    """
    # With so many parts there is about one hash for each value of a part.
    bits_of_part = np.log2(max(len(right), 2))
    parts = max(1, round(BITS / bits_of_part))
    edges = [BITS * i // parts for i in range(parts + 1)]
    for start, end in pairwise(edges):
        left_parts = _bits_between(left, start, end)
        right_parts = _bits_between(right, start, end)
        order = np.argsort(right_parts, kind="stable")
        sorted_parts = right_parts[order]
        for flipped in _bit_patterns(end - start, distance // parts):
            probes = left_parts ^ np.uint64(flipped)
            for rows, places in _equal_values(probes, sorted_parts):
                others = order[places]
                # The whole hashes decide.
                difference = left[rows] ^ right[others]
                bits = np.bitwise_count(difference)
                is_close = bits <= distance
                yield Pairs(
                    left=rows[is_close],
                    right=others[is_close],
                    distance=bits[is_close],
                )


def _bits_between(hashes: np.ndarray, start: int, end: int) -> np.ndarray:
    """The bits from `start` to `end` of each hash, as a number: (n,) uint64 to (n,) uint64."""
    ones = (1 << (end - start)) - 1
    return (hashes >> np.uint64(start)) & np.uint64(ones)


def _bit_patterns(bits: int, most: int) -> Iterator[int]:
    """All numbers of `bits` bits of which at most `most` are ones."""
    most_ones = min(most, bits)
    for ones in range(most_ones + 1):
        for places in combinations(range(bits), ones):
            pattern = 0
            for place in places:
                pattern |= 1 << place
            yield pattern


def _equal_values(
    probes: np.ndarray,
    keys: np.ndarray,
) -> Iterator[tuple[np.ndarray, np.ndarray]]:
    """All pairs of equal values, in blocks of about `BLOCK` pairs or of a single probe.

    Args:
        probes: (n,) uint64.
        keys: (m,) uint64, ascending.

    Returns:
        For each block the indices into `probes` and those into `keys`, each (pairs,) int.
    """
    low = np.searchsorted(keys, probes, "left")
    high = np.searchsorted(keys, probes, "right")
    matches = high - low
    ends = np.cumsum(matches)
    start = 0
    while start < len(probes):
        # A block goes on for as many probes as give `BLOCK` pairs, but for one at least.
        pairs_before = ends[start - 1] if start else 0
        block_end = int(np.searchsorted(ends, pairs_before + BLOCK, "right"))
        stop = max(start + 1, block_end)
        counts = matches[start:stop]
        rows = np.repeat(np.arange(start, stop), counts)
        first_pairs = np.cumsum(counts) - counts
        # For each pair, its number among the pairs of its probe.
        steps = np.arange(len(rows)) - np.repeat(first_pairs, counts)
        yield rows, low[rows] + steps
        start = stop


def similar_vectors(left: np.ndarray, right: np.ndarray, similarity: float) -> Iterator[Pairs]:
    """All pairs of vectors whose cosine is at least `similarity`.

    Args:
        left: (n, d) float; the vectors may have any length.
        right: (m, d) float.
        similarity: a cosine, -1 to 1.

    Returns:
        Blocks of pairs; `Pairs.distance` is 1 - cosine.
    """
    for start in range(0, len(left), ROWS):
        left_block = left[start : start + ROWS]
        left_units = _normalised(left_block)
        for other_start in range(0, len(right), ROWS):
            right_block = right[other_start : other_start + ROWS]
            right_units = _normalised(right_block)
            cosines = left_units @ right_units.T
            rows, others = np.nonzero(cosines >= similarity)
            distances = 1 - cosines[rows, others]
            yield Pairs(
                left=start + rows,
                right=other_start + others,
                distance=distances,
            )


def _normalised(vectors: np.ndarray) -> np.ndarray:
    """Vectors of length 1, (n, d) float; the zero vector stays as it is."""
    lengths = np.linalg.norm(vectors, axis=1, keepdims=True)
    divisors = np.maximum(lengths, 1e-12)
    return vectors / divisors
