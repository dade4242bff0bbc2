"""The hashes of images: as rows of a table of one shard, and of all images as arrays."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass, field

import numpy as np


@dataclass(frozen=True, slots=True, kw_only=True)
class Hashed:
    """The hashes of one image: a row of a table of hashes."""

    key: str
    """The key of the sample."""

    shard: str
    """The shard of the sample."""

    pixels: int
    """Width times height."""

    bytes: int
    """Size of the stored file."""

    sha256: str
    """Of the stored file, in hexadecimal."""

    hash: str
    """The perceptual hash, 16 hexadecimal digits; empty for an image without structure."""

    mirrored: str
    """The perceptual hash of the mirror image, in the same form."""

    embedding: list[float] = field(default_factory=list)
    """The unit vector of the model; empty if there is no model."""


@dataclass(frozen=True, slots=True, kw_only=True)
class HashTable:
    """The hashes of n images as arrays: about 85 bytes an image, where `Hashed` takes 700."""

    keys: np.ndarray
    """(n,) bytes: ASCII, as long as the longest key."""

    shards: np.ndarray
    """(n,) int64: their places in `shard_names`."""

    shard_names: list[str]

    pixels: np.ndarray
    """(n,) int64: width times height."""

    bytes: np.ndarray
    """(n,) int64: sizes of the stored files."""

    sums: np.ndarray
    """(n, 4) uint64: the sha256 of the stored files."""

    hashes: np.ndarray
    """(n,) uint64: perceptual hashes; 0 without one."""

    mirrored: np.ndarray
    """(n,) uint64: those of the mirror images; 0 without one."""

    has_hash: np.ndarray
    """(n,) bool: whether the image has a perceptual hash."""

    vectors: np.ndarray
    """(n, d) float32: unit vectors of the model; d is 0 without one."""

    @classmethod
    def of(cls, rows: Sequence[Hashed]) -> HashTable:
        """The table of some rows of one model, each with its sha256."""
        names = sorted({row.shard for row in rows})
        numbers = {name: number for number, name in enumerate(names)}
        width = len(rows[0].embedding) if rows else 0
        vectors = np.array([row.embedding for row in rows], np.float32)
        sums = b"".join(bytes.fromhex(row.sha256) for row in rows)
        return cls(
            keys=np.array([row.key.encode() for row in rows], np.bytes_),
            shards=np.array([numbers[row.shard] for row in rows], np.int64),
            shard_names=names,
            pixels=np.array([row.pixels for row in rows], np.int64),
            bytes=np.array([row.bytes for row in rows], np.int64),
            sums=np.frombuffer(sums, np.uint64).reshape(len(rows), 4),
            hashes=as_numbers([row.hash for row in rows]),
            mirrored=as_numbers([row.mirrored for row in rows]),
            has_hash=np.array([bool(row.hash) for row in rows], bool),
            vectors=vectors.reshape(len(rows), width),
        )

    @classmethod
    def joined(cls, parts: Sequence[HashTable]) -> HashTable:
        """One table of several, of which each has shards of its own."""
        names: list[str] = []
        shards = []
        for part in parts:
            shards.append(part.shards + len(names))
            names += part.shard_names
        arrays = {}
        for name in ARRAYS:
            arrays[name] = np.concatenate([getattr(part, name) for part in parts])
        return cls(shards=np.concatenate(shards), shard_names=names, **arrays)

    def __len__(self) -> int:
        return len(self.keys)

    def best_first(self) -> np.ndarray:
        """(n,) int64: the places of the images in the order of judgement."""
        return np.lexsort((self.keys, -self.bytes, -self.pixels))


ARRAYS = (
    "keys",
    "pixels",
    "bytes",
    "sums",
    "hashes",
    "mirrored",
    "has_hash",
    "vectors",
)
"""The arrays of a `HashTable` that are joined as they are."""


def as_numbers(hashes: Sequence[str]) -> np.ndarray:
    """Hexadecimal hashes as (n,) uint64; 0 for an image without one."""
    numbers = [int(digits or "0", 16) for digits in hashes]
    return np.array(numbers, np.uint64)
