"""Summaries: what is counted on one shard, in a form that adds up over shards.

A summary is a tree of dicts. Its leaves are whole numbers and arrays of whole numbers, which are
added, rankings, which are joined (`ranking.py`), and texts, which belong to one shard alone. Whole
numbers add up to the same sum in any order, and rankings join to the same one. So a sum depends
neither on how the samples are divided into shards nor on who adds first.

The driver reads a summary of every shard, so that is what the files are made for: most counts are
zero, and only the others are stored; the arrays of a summary are one vector, so that one addition
adds them all (`Sum`).
"""

from __future__ import annotations

import base64
import json
import math
import zlib
from collections.abc import Sequence

import numpy as np

from pipeline.quality.ranking import Ranked, Ranking
from pipeline.storage.json_types import Json

Summary = Json
"""A tree of dicts; see above."""

FRACTION = 1 << 40
"""Fractions are counted in parts of this size, because sums of floats depend on their order."""

FORMAT = 2
"""Raised when the files of summaries change."""

Keys = tuple[str, ...]
"""The keys that lead from the root of a summary to a leaf."""

_PLACE = np.dtype("<u4")
"""The type of a place in the vector of all arrays, as it is stored."""


def add(total: Summary, other: Summary) -> None:
    """Add `other` to `total`; `other` stays as it is."""
    for name, value in other.items():
        if isinstance(value, dict):
            add(total.setdefault(name, {}), value)
        elif name in total:
            # In place, so that no array is made for each shard.
            total[name] += value
        else:
            total[name] = value.copy() if isinstance(value, np.ndarray) else value


def fixed_point(value: float) -> int:
    """A fraction as a whole number that can be added up; `from_fixed_point` undoes it."""
    return round(value * FRACTION)


def from_fixed_point(total: int) -> float:
    """The fraction that a sum of `fixed_point` stands for."""
    return total / FRACTION


def encode(summary: Summary) -> bytes:
    """A summary as JSON, with the numbers of its arrays packed by zlib and Base64."""
    leaves = _Leaves()
    tree = leaves.without(summary)
    vector = np.concatenate([np.empty(0, np.int64), *(each.ravel() for _, each in leaves.arrays)])
    places = np.flatnonzero(vector)
    counts = vector[places]
    # As few bytes a count as they fit.
    least = np.min_scalar_type(int(counts.max(initial=0))).newbyteorder("<")
    packed = places.astype(_PLACE).tobytes() + counts.astype(least).tobytes()
    rankings = []
    for path, ranking in leaves.rankings:
        rankings.append([path, [[sample.value, sample.key] for sample in ranking.first]])
    stored = {
        "tree": tree,
        # A text, because the texts of two shards are nearly always equal, and so quickly compared.
        "arrays": json.dumps([[path, array.shape] for path, array in leaves.arrays]),
        "type": least.str,
        "packed": base64.b64encode(zlib.compress(packed)).decode(),
        "rankings": rankings,
    }
    return json.dumps(stored, sort_keys=True, separators=(",", ":")).encode()


def decode(data: bytes) -> Summary:
    """The summary that `encode` made `data` from. Its arrays are int64."""
    total = Sum()
    total.add(data)
    return total.summary()


class Sum:
    """The sum of encoded summaries."""

    def __init__(self) -> None:
        self._tree: Summary = {}
        # The arrays, one after the other, by the text that tells their places and shapes.
        self._vectors: dict[str, np.ndarray] = {}

    def add(self, data: bytes) -> None:
        """Add what `encode` made."""
        stored = json.loads(data)
        for path, samples in stored["rankings"]:
            ranking = Ranking(tuple(Ranked(key, number) for number, key in samples))
            _put(stored["tree"], path, ranking)
        add(self._tree, stored["tree"])
        packed = zlib.decompress(base64.b64decode(stored["packed"]))
        count = len(packed) // (_PLACE.itemsize + np.dtype(stored["type"]).itemsize)
        places = np.frombuffer(packed, _PLACE, count)
        counts = np.frombuffer(packed, stored["type"], count, places.nbytes).astype(np.int64)
        arrays = stored["arrays"]
        if arrays not in self._vectors:
            size = sum(math.prod(shape) for _, shape in json.loads(arrays))
            self._vectors[arrays] = np.zeros(size, np.int64)
        # No place occurs twice.
        self._vectors[arrays][places] += counts

    def summary(self) -> Summary:
        """The sum. Nothing can be added after that."""
        for arrays, vector in self._vectors.items():
            first = 0
            for path, shape in json.loads(arrays):
                last = first + math.prod(shape)
                part: Summary = {}
                _put(part, path, vector[first:last].reshape(shape))
                add(self._tree, part)
                first = last
        return self._tree


class _Leaves:
    """The leaves of a summary that JSON does not know."""

    def __init__(self) -> None:
        self.arrays: list[tuple[Keys, np.ndarray]] = []
        self.rankings: list[tuple[Keys, Ranking]] = []

    def without(self, tree: Summary, place: Keys = ()) -> Summary:
        """A tree without these leaves, which are collected; `place` is that of the tree."""
        rest: Summary = {}
        for name, value in sorted(tree.items()):
            path = (*place, name)
            if isinstance(value, dict):
                rest[name] = self.without(value, path)
            elif isinstance(value, np.ndarray):
                self.arrays.append((path, value))
            elif isinstance(value, Ranking):
                self.rankings.append((path, value))
            else:
                rest[name] = value
        return rest


def _put(tree: Summary, path: Sequence[str], leaf: np.ndarray | Ranking) -> None:
    """Put a leaf in its place in a tree."""
    *places, name = path
    for place in places:
        tree = tree.setdefault(place, {})
    tree[name] = leaf
