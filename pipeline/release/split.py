"""Splits by the hash of a key, with the same shares in each source.

A sample's place is the first 16 bits of the sha256 of its key, so it does not depend on the other
samples. For each source the driver sums up how many samples of the round have each place, and cuts
the places where the sums come nearest to the wanted shares. Samples that the release leaves out
count as well, so a takedown moves no other sample.
"""

from __future__ import annotations

import hashlib
from bisect import bisect_right
from collections.abc import Mapping
from dataclasses import dataclass

import numpy as np

from pipeline.release.config import TRAIN

PLACES = 1 << 16


def place_of(key: str, seed: int) -> int:
    """The place of a sample, 0 to `PLACES` - 1."""
    name = f"split/{seed}/{key}"
    return int.from_bytes(hashlib.sha256(name.encode()).digest()[:2], "big")


@dataclass(frozen=True, slots=True)
class Cuts:
    """Where the splits of one source begin."""

    first: tuple[int, ...]
    """The first place of each split after the first one, ascending."""
    splits: tuple[str, ...]
    """The splits in this order; `train` is the last."""

    def split_of(self, place: int) -> str:
        """The split of the samples at a place."""
        return self.splits[bisect_right(self.first, place)]


def cuts_of(samples: np.ndarray, shares: Mapping[str, float]) -> Cuts:
    """Cut the places of one source.

    Args:
        samples: (PLACES,) int: how many samples have each place.
        shares: the share of each split but `train`, 0 to 1.
    """
    # before[place] samples have a smaller place.
    before = np.concatenate([[0], np.cumsum(samples)])
    first: list[int] = []
    total = 0.0
    for share in shares.values():
        total += share
        distances = np.abs(before - total * before[-1])
        first.append(max([int(distances.argmin()), *first]))
    return Cuts(tuple(first), (*shares, TRAIN))
