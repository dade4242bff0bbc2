"""Which image repeats which: the decisions of `stages.dedup`, over arrays.

Images are numbered in the order of judgement, the best first. Each is compared with the kept ones
only.
"""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass

import numpy as np

from stages.similarity import Pairs, close_hashes, similar_vectors

EXACT, NEAR, MIRRORED, SEMANTIC = "exact", "near", "mirrored", "semantic"
# If two images are duplicates for several reasons, the first of these is reported.
KINDS = (EXACT, NEAR, MIRRORED, SEMANTIC)
# So many images are compared all with all.
FEW = 512


@dataclass(frozen=True, slots=True, order=True)
class Repeat:
    """Which image a duplicate repeats; of several, the smallest one counts, by these fields."""

    kept: int
    """The number of the kept image, in the order of judgement."""

    kind: int
    """The index in `KINDS`."""

    distance: float
    """In bits (near, mirrored), or 1 - cosine (semantic)."""


# The duplicates found so far, by their number in the order of judgement.
Repeats = dict[int, Repeat]


@dataclass(frozen=True, slots=True, kw_only=True)
class Comparison:
    """What n images are compared by."""

    has_hash: np.ndarray
    """(n,) bool: whether the image has a perceptual hash."""

    hashes: np.ndarray
    """(n,) uint64: the perceptual hashes; 0 for an image without one."""

    mirrored: np.ndarray | None
    """(n,) uint64: the hashes of the mirror images; None if mirror images are no duplicates."""

    vectors: np.ndarray | None
    """(n, d) float32: embeddings; None if there is no model."""

    distance: int
    """Most bits in which the hashes of near duplicates differ."""

    similarity: float
    """Least cosine of the embeddings of semantic duplicates."""

    def pairs(self, later: np.ndarray, kept: np.ndarray) -> Iterator[tuple[int, Pairs]]:
        """(index in `KINDS`, pairs) of every two images that are duplicates.

        `later` and `kept` are numbers of images, (n,) and (m,) int; so are the indices of the
        pairs. A pair may come more than once.
        """
        later_hashed = later[self.has_hash[later]]
        kept_hashed = kept[self.has_hash[kept]]
        comparisons = [(NEAR, self.hashes, self.hashes)]
        if self.mirrored is not None:
            comparisons.append((MIRRORED, self.hashes, self.mirrored))
            comparisons.append((MIRRORED, self.mirrored, self.hashes))
        for kind, left, right in comparisons:
            left_hashes = left[later_hashed]
            right_hashes = right[kept_hashed]
            for pairs in close_hashes(left_hashes, right_hashes, self.distance):
                yield KINDS.index(kind), _numbered(pairs, later_hashed, kept_hashed)
        if self.vectors is not None:
            left_vectors = self.vectors[later]
            right_vectors = self.vectors[kept]
            for pairs in similar_vectors(left_vectors, right_vectors, self.similarity):
                yield KINDS.index(SEMANTIC), _numbered(pairs, later, kept)


def _numbered(pairs: Pairs, left: np.ndarray, right: np.ndarray) -> Pairs:
    """Pairs of places in two arrays of numbers as pairs of the numbers.

    `left` is (n,) int, `right` (m,) int: the numbers that stand at the places.
    """
    return Pairs(
        left=left[pairs.left],
        right=right[pairs.right],
        distance=pairs.distance,
    )


def settle(comparison: Comparison, rows: np.ndarray, repeats: Repeats) -> np.ndarray:
    """Judge images that are in order, the best first: duplicates go into `repeats`.

    The better half is judged first, and the other half is compared with what is kept of it. The
    result is the same as if each image were compared with all kept ones, but many images are
    compared at once.

    Args:
        comparison: what they are compared by.
        rows: (n,) int64: their numbers.
        repeats: gets an entry for each duplicate.

    Returns:
        (kept,) int64: the numbers of the kept ones.
    """
    if len(rows) <= FEW:
        _settle_few(comparison, rows, repeats)
    else:
        middle = len(rows) // 2
        better = rows[:middle]
        rest = rows[middle:]
        kept = settle(comparison, better, repeats)
        repeats.update(first_repeats(comparison, rest, kept))
        settle(comparison, _without(rest, repeats), repeats)
    return _without(rows, repeats)


def _settle_few(comparison: Comparison, rows: np.ndarray, repeats: Repeats) -> None:
    """As `settle`, with one comparison of all images with all.

    The earliest images decide first: one that is a duplicate itself has no duplicates.
    """
    candidates = []
    for kind, pairs in comparison.pairs(rows, rows):
        for later, earlier, distance in pairs.rows():
            if earlier < later:
                repeat = Repeat(earlier, kind, float(distance))
                candidates.append((later, repeat))
    for later, repeat in sorted(candidates):
        if later not in repeats and repeat.kept not in repeats:
            repeats[later] = repeat


def first_repeats(comparison: Comparison, later: np.ndarray, kept: np.ndarray) -> Repeats:
    """For each of `later` that repeats one of `kept`: the first such one.

    `later` and `kept` are numbers of images, (n,) and (m,) int.
    """
    repeats: Repeats = {}
    for kind, pairs in comparison.pairs(later, kept):
        # Sorted by image, then by kept image; the first row of each image is its best.
        order = np.lexsort((pairs.right, pairs.left))
        sorted_left = pairs.left[order]
        _, places = np.unique(sorted_left, return_index=True)
        best = order[places]
        best_pairs = Pairs(
            left=pairs.left[best],
            right=pairs.right[best],
            distance=pairs.distance[best],
        )
        for image, first, distance in best_pairs.rows():
            repeat = Repeat(first, kind, float(distance))
            # The image may repeat another one for another reason.
            earlier_repeat = repeats.get(image, repeat)
            repeats[image] = min(earlier_repeat, repeat)
    return repeats


def _without(rows: np.ndarray, repeats: Repeats) -> np.ndarray:
    """The numbers in `rows`, (n,) int, of images that are no duplicates."""
    kept = [row for row in rows.tolist() if row not in repeats]
    return np.array(kept, np.int64)
