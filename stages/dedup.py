"""Duplicate images. In: stored bytes and pixels. Out: hashes of each image, then which image each one repeats.

Exact: equal sha256 of the stored bytes. Near: perceptual hashes (library: ImageHash, DCT of 64 bits) at most `distance`
bits apart; with `mirrored` also those of the mirrored image. Semantic: embeddings of a two-tower model (SigLIP 2, CLIP)
whose cosine is at least `similarity`.

The best copy is kept: most pixels, then most bytes, then the first key. Images are gone through in that order, and each
is compared with those that are kept: a chain of small steps never takes away a picture that has no near copy left. Of
an image without any structure (a white page, a silhouette) a perceptual hash says nothing; it has copies of its bytes
only.
"""

from __future__ import annotations

import hashlib
import io
from collections.abc import Iterator, Sequence
from dataclasses import dataclass, field, replace
from itertools import combinations, pairwise
from typing import TYPE_CHECKING, Annotated, Any, ClassVar, Literal

import numpy as np
from pydantic import Field

from stages.base import CONTENT
from stages.ingest import to_rgb
from stages.specialists.pretrained import PretrainedConfig

if TYPE_CHECKING:
    from PIL.Image import Image

EXACT, NEAR, MIRRORED, SEMANTIC = "exact", "near", "mirrored", "semantic"
KINDS = (EXACT, NEAR, MIRRORED, SEMANTIC)  # the first that holds tells of a pair
BITS = 64
EVEN = 2.0  # grey levels of 255: the standard deviation of 32x32 pixels below which a hash is noise
BLOCK = 1 << 20  # pairs compared at once
ROWS = 2048  # embeddings compared at once with as many others
FEW = 512  # images compared all with all

Pairs = tuple[np.ndarray, np.ndarray, np.ndarray]  # indices, indices of others, distances
Repeats = dict[
    int, tuple[int, int, float]
]  # index of an image -> the one it repeats, kind, distance


@dataclass(frozen=True, slots=True, kw_only=True)
class HashConfig(PretrainedConfig):
    """`model` is the embedding's, '' for none."""

    method: Literal["phash", "dhash", "whash", "average_hash"] = "phash"
    model: str = field(default="", metadata=CONTENT)
    batch_size: int = 32


@dataclass(frozen=True, slots=True, kw_only=True)
class DedupConfig(HashConfig):
    """Thresholds are decisions: another one hashes no image again."""

    distance: Annotated[int, Field(ge=0, le=12)] = (
        6  # bits of 64; unrelated images are some 32 apart
    )
    mirrored: bool = False
    similarity: Annotated[float, Field(gt=0, le=1)] = 0.97  # cosine


@dataclass(frozen=True, slots=True, kw_only=True)
class Hashed:
    """One image: a row of a table of hashes. Hashes are 16 hexadecimal digits, '' of an image without structure."""

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

    version: ClassVar[int] = 2

    def __init__(self, config: HashConfig) -> None:
        import imagehash

        self._hash = getattr(imagehash, config.method)
        self._embed: Any = None
        if config.model:
            from stages.specialists.score import ImageTextScore, ImageTextScoreConfig

            shared = {
                name: getattr(config, name)
                for name in ("model", "revision", "device", "dtype", "rows")
            }
            self._embed = ImageTextScore(ImageTextScoreConfig(**shared)).embed_images

    def __call__(self, shard: str, keys: Sequence[str], images: Sequence[bytes]) -> list[Hashed]:
        made, pixels = [], []
        for key, data in zip(keys, images, strict=True):
            image = _decode(data)
            made.append(self._one(shard, key, data, image))
            if self._embed is not None:
                pixels.append(np.asarray(image))
        if self._embed is None:
            return made
        found = self._embed(pixels)
        return [
            replace(row, embedding=[float(v) for v in each])
            for row, each in zip(made, found, strict=True)
        ]

    def _one(self, shard: str, key: str, data: bytes, image: Image) -> Hashed:
        from PIL import ImageOps

        small = np.asarray(image.convert("L").resize((32, 32)), float)
        pictures = (image, ImageOps.mirror(image)) if small.std() >= EVEN else ()
        hashes = [str(self._hash(picture)) for picture in pictures] or ["", ""]
        return Hashed(
            key=key,
            shard=shard,
            pixels=image.width * image.height,
            bytes=len(data),
            sha256=hashlib.sha256(data).hexdigest(),
            hash=hashes[0],
            mirrored=hashes[1],
        )


def _decode(data: bytes) -> Image:
    from PIL import Image

    with Image.open(io.BytesIO(data)) as opened:
        return to_rgb(opened)


def duplicates(rows: Sequence[Hashed], config: DedupConfig) -> list[Duplicate]:
    """Which image each of the others repeats, sorted by key; those that are kept are not in it."""
    order = sorted(rows, key=lambda row: (-row.pixels, -row.bytes, row.key))
    first: dict[str, int] = {}
    same: dict[int, int] = {}  # index in `order` -> the first one with its bytes
    for i, row in enumerate(order):
        if (one := first.setdefault(row.sha256, i)) != i:
            same[i] = one
    made: Repeats = {}
    _settle(
        _Looks(order, config),
        np.array([i for i in range(len(order)) if i not in same], np.int64),
        made,
    )
    for i, one in same.items():
        made[i] = made.get(one, (one, 0, 0.0))
    found = [
        Duplicate(
            key=order[i].key,
            shard=order[i].shard,
            kept=order[one].key,
            kind=KINDS[kind],
            distance=distance,
        )
        for i, (one, kind, distance) in made.items()
    ]
    return sorted(found, key=lambda duplicate: duplicate.key)


class _Looks:
    """What images are compared by, as arrays."""

    def __init__(self, rows: Sequence[Hashed], config: DedupConfig) -> None:
        self.config = config
        self.hashed = np.array([bool(row.hash) for row in rows], bool)
        self.hashes = np.array([int(row.hash or "0", 16) for row in rows], np.uint64)
        self.mirrored = np.array([int(row.mirrored or "0", 16) for row in rows], np.uint64)
        self.vectors = np.array([row.embedding for row in rows] if config.model else [], np.float32)

    def pairs(self, later: np.ndarray, kept: np.ndarray) -> Iterator[tuple[int, Pairs]]:
        """(index in `KINDS`, pairs of rows) of every two that count as one; a pair may come more than once."""
        one, other = later[self.hashed[later]], kept[self.hashed[kept]]
        looks = [(1, self.hashes, self.hashes)]
        if self.config.mirrored:
            looks += [(2, self.hashes, self.mirrored), (2, self.mirrored, self.hashes)]
        for kind, mine, theirs in looks:
            for a, b, bits in close(mine[one], theirs[other], self.config.distance):
                yield kind, (one[a], other[b], bits)
        if self.config.model:
            for a, b, cosines in alike(
                self.vectors[later], self.vectors[kept], self.config.similarity
            ):
                yield 3, (later[a], kept[b], 1 - cosines)


def _settle(looks: _Looks, rows: np.ndarray, made: Repeats) -> np.ndarray:
    """Those of `rows`, the best ones first, that repeat no earlier one; the others go into `made`.

    The better half is settled first, and the other half compared with what is kept of it: as if each were compared
    with all that are kept, in memory and time for many at once.
    """
    if len(rows) <= FEW:
        _settle_few(looks, rows, made)
    else:
        better, rest = np.split(rows, [len(rows) // 2])
        kept = _settle(looks, better, made)
        made |= _first(looks, rest, kept)
        _settle(looks, _left(rest, made), made)
    return _left(rows, made)


def _settle_few(looks: _Looks, rows: np.ndarray, made: Repeats) -> None:
    found = [
        (a, b, kind, distance)
        for kind, pairs in looks.pairs(rows, rows)
        for a, b, distance in zip(*(column.tolist() for column in pairs), strict=True)
        if b < a
    ]
    for a, b, kind, distance in sorted(found):
        if a not in made and b not in made:
            made[a] = (b, kind, float(distance))


def _first(looks: _Looks, later: np.ndarray, kept: np.ndarray) -> Repeats:
    """The first of `kept` that each of `later` repeats."""
    found: Repeats = {}
    for kind, (a, b, distances) in looks.pairs(later, kept):
        order = np.lexsort((b, a))
        rows, places = np.unique(a[order], return_index=True)
        best = order[places]
        for row, one, distance in zip(
            rows.tolist(), b[best].tolist(), distances[best].tolist(), strict=True
        ):
            new = (one, kind, float(distance))
            found[row] = min(found.get(row, new), new)
    return found


def _left(rows: np.ndarray, made: Repeats) -> np.ndarray:
    return np.array([row for row in rows.tolist() if row not in made], np.int64)


def close(one: np.ndarray, other: np.ndarray, distance: int) -> Iterator[Pairs]:
    """(indices in `one`, indices in `other`, bits apart) of all 64-bit hashes at most `distance` bits apart, a block at
    a time; a pair may come more than once.

    Multi-index hashing (Norouzi, Punjani and Fleet, CVPR 2012): of m parts of two close hashes, one differs by at most
    distance // m bits, so only hashes that come so near in a part are compared.
    """
    parts = max(
        1, round(BITS / np.log2(max(len(other), 2)))
    )  # about one hash for each value of a part
    edges = [BITS * i // parts for i in range(parts + 1)]
    for start, end in pairwise(edges):
        mask = np.uint64((1 << (end - start)) - 1)
        keys = (other >> np.uint64(start)) & mask
        order = np.argsort(keys, kind="stable")
        probes = (one >> np.uint64(start)) & mask
        for flipped in _patterns(end - start, distance // parts):
            for a, b in _same(probes ^ np.uint64(flipped), keys[order]):
                bits = np.bitwise_count(one[a] ^ other[order[b]])
                near = bits <= distance
                yield a[near], order[b[near]], bits[near]


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


def alike(one: np.ndarray, other: np.ndarray, similarity: float) -> Iterator[Pairs]:
    """(indices in `one`, indices in `other`, cosines) of all vectors whose cosine is at least `similarity`."""
    for start in range(0, len(one), ROWS):
        mine = _unit(one[start : start + ROWS])
        for first in range(0, len(other), ROWS):
            cosines = mine @ _unit(other[first : first + ROWS]).T
            a, b = np.nonzero(cosines >= similarity)
            yield start + a, first + b, cosines[a, b]


def _unit(vectors: np.ndarray) -> np.ndarray:
    return vectors / np.maximum(np.linalg.norm(vectors, axis=1, keepdims=True), 1e-12)
