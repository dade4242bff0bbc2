"""Duplicate images. In: stored bytes and pixels. Out: hashes of each image, then which image each one repeats.

Exact: equal sha256 of the stored bytes. Near: perceptual hashes (library: ImageHash, DCT of 64 bits) at most `distance`
bits apart; with `mirrored` also those of the mirrored image. Semantic: embeddings of a two-tower model (SigLIP 2, CLIP)
whose cosine is at least `similarity`.

The best copy is kept: most pixels, then most bytes, then the first key. Every other one is within the threshold of the
one that is kept, so a chain of small steps never takes away a picture that has no near copy left.
"""

from __future__ import annotations

import hashlib
import io
from collections.abc import Iterator, Sequence
from dataclasses import dataclass, field, replace
from itertools import combinations, pairwise
from typing import Any, ClassVar, Literal

import numpy as np

from stages.base import CONTENT
from stages.ingest import to_rgb
from stages.specialists.pretrained import PretrainedConfig

EXACT, NEAR, MIRRORED, SEMANTIC = "exact", "near", "mirrored", "semantic"
BITS = 64
BLOCK = 1 << 22  # pairs compared at once
ROWS = 2048  # embeddings compared at once with all others


@dataclass(frozen=True, slots=True, kw_only=True)
class HashConfig(PretrainedConfig):
    """`model` is the embedding's, '' for none."""

    method: Literal["phash", "dhash", "whash", "average_hash"] = "phash"
    model: str = field(default="", metadata=CONTENT)
    batch_size: int = 32


@dataclass(frozen=True, slots=True, kw_only=True)
class DedupConfig(HashConfig):
    """Thresholds are decisions: another one hashes no image again."""

    distance: int = 6  # bits of 64
    mirrored: bool = False
    similarity: float = 0.97  # cosine


@dataclass(frozen=True, slots=True, kw_only=True)
class Hashed:
    """One image: a row of a table of hashes. Hashes are 16 hexadecimal digits."""

    key: str
    shard: str
    pixels: int
    bytes: int
    sha256: str
    hash: str
    mirrored: str
    embedding: list[float] = field(default_factory=list)


@dataclass(frozen=True, slots=True, kw_only=True)
class Duplicate:
    """An image that repeats the kept one: a row of `groups.parquet`.

    `distance` is in bits (near, mirrored) or 1 - cosine (semantic).
    """

    key: str
    shard: str
    kept: str
    kind: str
    distance: float = 0.0


class Hashes:
    """The hashes of images; the model, if any, is loaded once."""

    version: ClassVar[int] = 1

    def __init__(self, config: HashConfig) -> None:
        import imagehash

        self._hash = getattr(imagehash, config.method)
        self._embed: Any = None
        if config.model:
            from stages.specialists.score import ImageTextScore, ImageTextScoreConfig

            shared = {name: getattr(config, name) for name in ("model", "revision", "device", "dtype", "rows")}
            self._embed = ImageTextScore(ImageTextScoreConfig(**shared)).embed_images

    def __call__(self, shard: str, keys: Sequence[str], images: Sequence[bytes]) -> list[Hashed]:
        made, pixels = [], []
        for key, data in zip(keys, images, strict=True):
            row, rgb = self._one(shard, key, data)
            made.append(row)
            pixels.append(rgb)
        if self._embed is None:
            return made
        found = self._embed(pixels)
        return [replace(row, embedding=[float(v) for v in each]) for row, each in zip(made, found, strict=True)]

    def _one(self, shard: str, key: str, data: bytes) -> tuple[Hashed, np.ndarray]:
        from PIL import Image, ImageOps

        with Image.open(io.BytesIO(data)) as opened:
            image = to_rgb(opened)
        row = Hashed(
            key=key, shard=shard, pixels=image.width * image.height, bytes=len(data),
            sha256=hashlib.sha256(data).hexdigest(), hash=str(self._hash(image)),
            mirrored=str(self._hash(ImageOps.mirror(image))),
        )  # fmt: skip
        return row, np.asarray(image)


def duplicates(rows: Sequence[Hashed], config: DedupConfig) -> list[Duplicate]:
    """Which image each of the others repeats, sorted by key; those that are kept are not in it."""
    order = sorted(rows, key=lambda row: (-row.pixels, -row.bytes, row.key))
    made: dict[int, tuple[int, str, float]] = {}  # index in `order` -> (the one it repeats, kind, distance)
    for kind, content in ((EXACT, [row.sha256 for row in order]), (NEAR, [row.hash for row in order])):
        first: dict[str, int] = {}
        for i, value in enumerate(content):
            if i not in made and first.setdefault(value, i) != i:
                made[i] = (first[value], kind, 0.0)
    left = [i for i in range(len(order)) if i not in made]
    earlier: dict[int, list[tuple[float, str, int]]] = {}
    for a, b, kind, distance in _pairs([order[i] for i in left], config):
        earlier.setdefault(left[b], []).append((distance, kind, left[a]))
    for i in sorted(earlier):
        for distance, kind, one in sorted(earlier[i]):
            if one not in made and i not in made:
                made[i] = (one, kind, distance)
    found = []
    for i, last in made.items():
        while last[0] in made:  # a copy of a copy repeats what that one repeats
            last = made[last[0]]
        row, (one, kind, distance) = order[i], last
        found.append(Duplicate(key=row.key, shard=row.shard, kept=order[one].key, kind=kind, distance=distance))
    return sorted(found, key=lambda duplicate: duplicate.key)


def _pairs(rows: Sequence[Hashed], config: DedupConfig) -> Iterator[tuple[int, int, str, float]]:
    """(earlier, later, kind, distance) of every two rows that count as one."""
    hashes = np.array([int(row.hash, 16) for row in rows], np.uint64)
    for a, b, bits in close(hashes, hashes, config.distance):
        if a < b:
            yield a, b, NEAR, float(bits)
    if config.mirrored:
        turned = np.array([int(row.mirrored, 16) for row in rows], np.uint64)
        for a, b, bits in close(hashes, turned, config.distance):
            if a < b:
                yield a, b, MIRRORED, float(bits)
    if config.model:
        for a, b, cosine in alike(np.array([row.embedding for row in rows], np.float32), config.similarity):
            yield a, b, SEMANTIC, 1 - cosine


def close(one: np.ndarray, other: np.ndarray, distance: int) -> Iterator[tuple[int, int, int]]:
    """(index in `one`, index in `other`, bits apart) of all 64-bit hashes at most `distance` bits apart, each once.

    Multi-index hashing (Norouzi, Punjani and Fleet, CVPR 2012): of m parts of two close hashes, one differs by at most
    distance // m bits, so only hashes that come so near in a part are compared.
    """
    parts = max(1, round(BITS / np.log2(max(len(other), 2))))  # about one hash for each value of a part
    edges = [BITS * i // parts for i in range(parts + 1)]
    found: dict[tuple[int, int], int] = {}
    for start, end in pairwise(edges):
        mask = np.uint64((1 << (end - start)) - 1)
        keys = (other >> np.uint64(start)) & mask
        order = np.argsort(keys, kind="stable")
        probes = (one >> np.uint64(start)) & mask
        for flipped in _patterns(end - start, distance // parts):
            for a, b in _same(probes ^ np.uint64(flipped), keys[order]):
                bits = np.bitwise_count(one[a] ^ other[order[b]])
                near = bits <= distance
                pairs = zip(a[near].tolist(), order[b[near]].tolist(), strict=True)
                found |= zip(pairs, bits[near].tolist(), strict=True)
    yield from ((a, b, bits) for (a, b), bits in found.items())


def _patterns(bits: int, most: int) -> Iterator[int]:
    """All numbers of `bits` bits with at most `most` ones."""
    for ones in range(min(most, bits) + 1):
        for places in combinations(range(bits), ones):
            yield sum(1 << place for place in places)


def _same(probes: np.ndarray, keys: np.ndarray) -> Iterator[tuple[np.ndarray, np.ndarray]]:
    """(indices in `probes`, indices in the sorted `keys`) of equal values, no more than a block at a time."""
    low, high = np.searchsorted(keys, probes, "left"), np.searchsorted(keys, probes, "right")
    ends = np.cumsum(high - low)
    start = 0
    while start < len(probes):
        before = ends[start - 1] if start else 0
        stop = max(start + 1, int(np.searchsorted(ends, before + BLOCK, "right")))
        counts = (high - low)[start:stop]
        indices = np.repeat(np.arange(start, stop), counts)
        steps = np.arange(len(indices)) - np.repeat(np.cumsum(counts) - counts, counts)
        yield indices, low[indices] + steps
        start = stop


def alike(vectors: np.ndarray, similarity: float) -> Iterator[tuple[int, int, float]]:
    """(earlier, later, cosine) of all vectors whose cosine is at least `similarity`."""
    unit = vectors / np.maximum(np.linalg.norm(vectors, axis=1, keepdims=True), 1e-12)
    for start in range(0, len(unit), ROWS):
        cosines = unit[start : start + ROWS] @ unit[start:].T
        for a, b in zip(*np.nonzero(cosines >= similarity), strict=True):
            if a < b:
                yield start + int(a), start + int(b), float(cosines[a, b])
