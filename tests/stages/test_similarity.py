"""The pairs found are those of a comparison of all with all, and large sets take seconds."""

import time
from collections.abc import Iterator
from itertools import product

import numpy as np
import pytest

from stages.similarity import Pairs, close_hashes, similar_vectors


def listed(blocks: Iterator[Pairs]) -> list[tuple[int, int, float]]:
    return [pair for block in blocks for pair in block.rows()]


@pytest.mark.parametrize("distance", [0, 3, 6, 12])
def test_close_hashes_are_those_of_a_comparison_of_all_with_all(distance: int) -> None:
    rng = np.random.default_rng(distance)
    seeds = rng.integers(0, 1 << 63, 60, dtype=np.uint64)
    noise = np.bitwise_or.reduce(np.uint64(1) << rng.integers(0, 64, (6, 600), dtype=np.uint64))
    hashes = seeds[rng.integers(0, 60, 600)] ^ noise
    expected = {
        (i, j, bits)
        for (i, a), (j, b) in product(enumerate(hashes.tolist()), repeat=2)
        if (bits := (a ^ b).bit_count()) <= distance
    }
    assert set(listed(close_hashes(hashes, hashes, distance))) == expected


def test_two_hundred_thousand_hashes_are_compared_in_seconds() -> None:
    hashes = np.random.default_rng(1).integers(0, 1 << 63, 200_000, dtype=np.uint64)
    hashes[7] = hashes[150_000] ^ np.uint64(0b101)
    started = time.process_time()
    pairs = {(a, b) for a, b, _ in listed(close_hashes(hashes, hashes, 6)) if a < b}
    assert (7, 150_000) in pairs and len(pairs) < 10
    assert time.process_time() - started < 30


def test_vectors_are_alike_by_their_cosine_across_blocks() -> None:
    vectors = np.random.default_rng(2).normal(size=(5000, 16)).astype(np.float32)
    vectors[4900] = 3 * vectors[10]
    assert [(a, b) for a, b, _ in listed(similar_vectors(vectors, vectors, 0.999)) if a < b] == [
        (10, 4900)
    ]
