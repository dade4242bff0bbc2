"""Summaries: what is counted on one shard, in a form that adds up over shards.

A summary is a tree of dicts. Its leaves are whole numbers and arrays of whole numbers, which are
added, rankings, which are joined (`ranking.py`), and texts, which belong to one shard alone. Whole
numbers add up to the same sum in any order, and rankings join to the same one. So a sum depends
neither on how the samples are divided into shards nor on who adds first.
"""

from __future__ import annotations

import base64
import json
import zlib

import numpy as np

from pipeline.quality.ranking import Ranked, Ranking
from pipeline.storage.json_types import Json

Summary = Json
"""A tree of dicts; see above."""

FRACTION = 1 << 40
"""Fractions are counted in parts of this size, because sums of floats depend on their order."""

_PACKED = "packed"
"""The key under which an array has its bytes."""
_RANKED = "ranked"
"""The key under which a ranking has its samples."""


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
    """A summary as JSON. The bytes of an array are packed by zlib and Base64."""
    text = json.dumps(summary, default=_leaf, sort_keys=True, separators=(",", ":"))
    return text.encode()


def decode(data: bytes) -> Summary:
    """The summary that `encode` made `data` from. Its arrays are int64."""
    summary: Summary = json.loads(data, object_hook=_unpacked)
    return summary


def _leaf(leaf: object) -> Json:
    """A leaf that JSON does not know as JSON values."""
    if isinstance(leaf, Ranking):
        return {_RANKED: [[sample.value, sample.key] for sample in leaf.first]}
    return _packed(leaf)


def _packed(array: object) -> Json:
    """An array of counts as JSON values, in as few bytes a number as they fit."""
    assert isinstance(array, np.ndarray), f"{array!r}: no leaf of a summary"
    least = np.min_scalar_type(int(array.max(initial=0)))
    numbers = array.astype(least.newbyteorder("<"))
    packed = base64.b64encode(zlib.compress(numbers.tobytes()))
    return {_PACKED: packed.decode(), "type": numbers.dtype.str, "shape": list(array.shape)}


def _unpacked(value: Json) -> Json | Ranking | np.ndarray:
    """The leaf that `_leaf` made a value from; other values stay as they are."""
    if _RANKED in value:
        return Ranking(tuple(Ranked(key, number) for number, key in value[_RANKED]))
    if _PACKED not in value:
        return value
    data = zlib.decompress(base64.b64decode(value[_PACKED]))
    numbers = np.frombuffer(data, value["type"]).reshape(value["shape"])
    return numbers.astype(np.int64)
