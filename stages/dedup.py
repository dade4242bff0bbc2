"""Finds duplicate images. In: stored bytes and pixels. Out: which image each duplicate repeats.

Two images count as duplicates for one of four reasons:

- exact: their stored bytes have the same sha256;
- near: their perceptual hashes (library: ImageHash, 64 bits) differ in at most `distance` bits;
- mirrored, if it is asked for: the hash of one and that of the other's mirror image do so;
- semantic, if a model is given: the cosine of their embeddings by a two-tower model (SigLIP 2,
  CLIP) is at least `similarity`.

The best copy is kept: the one with most pixels, then with most bytes, then with the first key.
Images are judged in this order, and each is compared with the kept ones only. So a chain of small
steps never removes a picture of which no near copy is left. The perceptual hash of an image
without structure (a white page, a silhouette) says nothing; such an image has exact copies only.
"""

from __future__ import annotations

import hashlib
import io
from collections.abc import Callable, Iterator, Sequence
from dataclasses import dataclass, field, replace
from typing import TYPE_CHECKING, Annotated, ClassVar, Literal

import numpy as np
from pydantic import Field

from stages.base import CONTENT
from stages.ingest import to_rgb
from stages.similarity import Pairs, close_hashes, similar_vectors
from stages.specialists.pretrained import PretrainedConfig

if TYPE_CHECKING:
    from PIL.Image import Image

EXACT, NEAR, MIRRORED, SEMANTIC = "exact", "near", "mirrored", "semantic"
# If two images are duplicates for several reasons, the first of these is reported.
KINDS = (EXACT, NEAR, MIRRORED, SEMANTIC)
# Standard deviation of an image at 32 x 32 pixels, in grey levels of 255, below which its
# perceptual hash is noise.
MIN_CONTRAST = 2.0
# So many images are compared all with all.
FEW = 512


@dataclass(frozen=True, slots=True, kw_only=True)
class HashConfig(PretrainedConfig):
    method: Literal["phash", "dhash", "whash", "average_hash"] = "phash"
    """The perceptual hash, by its name in ImageHash."""

    model: str = field(default="", metadata=CONTENT)
    """The model of the embeddings: a folder or a hub name; empty for none."""

    batch_size: int = 32
    """Images that are hashed at once."""


@dataclass(frozen=True, slots=True, kw_only=True)
class DedupConfig(HashConfig):
    """Thresholds are decisions: no image is hashed again when they change."""

    distance: Annotated[int, Field(ge=0, le=12)] = 6
    """Bits of 64 in which near duplicates may differ; unrelated images differ in about 32."""

    mirrored: bool = False
    """Whether mirror images count as duplicates."""

    similarity: Annotated[float, Field(gt=0, le=1)] = 0.97
    """Least cosine of the embeddings of semantic duplicates."""


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
class Duplicate:
    """An image that repeats a kept one: a row of `groups.parquet`."""

    key: str
    """The key of the duplicate."""

    shard: str
    """The shard of the duplicate."""

    kept: str
    """The key of the image that it repeats."""

    kind: str
    """One of `KINDS`."""

    distance: float = 0.0
    """In bits (near, mirrored), or 1 - cosine (semantic)."""


@dataclass(frozen=True, slots=True, order=True)
class _Repeat:
    """Which image a duplicate repeats; of several, the smallest one counts, by these fields."""

    kept: int
    """The number of the kept image, in the order of judgement."""

    kind: int
    """The index in `KINDS`."""

    distance: float


# The duplicates found so far, by their number in the order of judgement.
_Repeats = dict[int, _Repeat]


class Hashes:
    """Makes the hashes of images. The model, if there is one, is loaded once."""

    version: ClassVar[int] = 2

    def __init__(self, config: HashConfig) -> None:
        import imagehash

        self._hash = getattr(imagehash, config.method)
        self._embed: Callable[[Sequence[np.ndarray]], list[np.ndarray]] | None = None
        if config.model:
            from stages.specialists.score import ImageTextScore, ImageTextScoreConfig

            score_config = ImageTextScoreConfig(
                model=config.model,
                revision=config.revision,
                device=config.device,
                dtype=config.dtype,
                rows=config.rows,
            )
            self._embed = ImageTextScore(score_config).embed_images

    def __call__(self, shard: str, keys: Sequence[str], images: Sequence[bytes]) -> list[Hashed]:
        """The hashes of some images of a shard, in order; `images` are stored files."""
        rows = []
        pixels = []
        for key, data in zip(keys, images, strict=True):
            image = _decode(data)
            rows.append(self._hashed(shard, key, data, image))
            # Only a model needs the pixels of the whole batch at once.
            if self._embed is not None:
                pixels.append(np.asarray(image))
        if self._embed is None:
            return rows
        vectors = self._embed(pixels)
        embedded = []
        for row, vector in zip(rows, vectors, strict=True):
            numbers = [float(value) for value in vector]
            embedded.append(replace(row, embedding=numbers))
        return embedded

    def _hashed(self, shard: str, key: str, data: bytes, image: Image) -> Hashed:
        from PIL import ImageOps

        own = mirrored = ""
        small = image.convert("L").resize((32, 32))
        contrast = np.asarray(small, float).std()
        if contrast >= MIN_CONTRAST:
            own = str(self._hash(image))
            mirror_image = ImageOps.mirror(image)
            mirrored = str(self._hash(mirror_image))
        return Hashed(
            key=key,
            shard=shard,
            pixels=image.width * image.height,
            bytes=len(data),
            sha256=hashlib.sha256(data).hexdigest(),
            hash=own,
            mirrored=mirrored,
        )


def _decode(data: bytes) -> Image:
    from PIL import Image

    with Image.open(io.BytesIO(data)) as opened:
        return to_rgb(opened)


def duplicates(rows: Sequence[Hashed], config: DedupConfig) -> list[Duplicate]:
    """The duplicates among images, sorted by key; kept images are not in the list."""
    images = sorted(rows, key=lambda row: (-row.pixels, -row.bytes, row.key))
    exact = _exact_copies(images)
    distinct = [number for number in range(len(images)) if number not in exact]
    repeats: _Repeats = {}
    comparison = _Comparison(images, config)
    _settle(comparison, np.array(distinct, np.int64), repeats)
    for number, first in exact.items():
        # A copy of a duplicate repeats what that duplicate repeats.
        copy_of_first = _Repeat(first, KINDS.index(EXACT), 0.0)
        repeats[number] = repeats.get(first, copy_of_first)
    found = []
    for number, repeat in repeats.items():
        image = images[number]
        found.append(
            Duplicate(
                key=image.key,
                shard=image.shard,
                kept=images[repeat.kept].key,
                kind=KINDS[repeat.kind],
                distance=repeat.distance,
            )
        )
    return sorted(found, key=lambda duplicate: duplicate.key)


def _exact_copies(images: Sequence[Hashed]) -> dict[int, int]:
    """The number of each image with the bytes of an earlier one, and the first one's number."""
    first_of: dict[str, int] = {}
    copies = {}
    for number, image in enumerate(images):
        first = first_of.setdefault(image.sha256, number)
        if first != number:
            copies[number] = first
    return copies


class _Comparison:
    """What images are compared by, as arrays over their numbers."""

    def __init__(self, images: Sequence[Hashed], config: DedupConfig) -> None:
        self.config = config
        hashes = [image.hash for image in images]
        mirrored = [image.mirrored for image in images]
        embeddings = []
        if config.model:
            embeddings = [image.embedding for image in images]
        self.has_hash = np.array([bool(digits) for digits in hashes], bool)
        self.hashes = _as_numbers(hashes)
        self.mirrored = _as_numbers(mirrored)
        self.vectors = np.array(embeddings, np.float32)

    def pairs(self, later: np.ndarray, kept: np.ndarray) -> Iterator[tuple[int, Pairs]]:
        """(index in `KINDS`, pairs) of every two images that are duplicates.

        `later` and `kept` are numbers of images, (n,) and (m,) int; so are the indices of the
        pairs. A pair may come more than once.
        """
        later_hashed = later[self.has_hash[later]]
        kept_hashed = kept[self.has_hash[kept]]
        comparisons = [(NEAR, self.hashes, self.hashes)]
        if self.config.mirrored:
            comparisons.append((MIRRORED, self.hashes, self.mirrored))
            comparisons.append((MIRRORED, self.mirrored, self.hashes))
        for kind, left, right in comparisons:
            hashes = close_hashes(left[later_hashed], right[kept_hashed], self.config.distance)
            for pairs in hashes:
                yield KINDS.index(kind), _numbered(pairs, later_hashed, kept_hashed)
        if self.config.model:
            left = self.vectors[later]
            right = self.vectors[kept]
            for pairs in similar_vectors(left, right, self.config.similarity):
                yield KINDS.index(SEMANTIC), _numbered(pairs, later, kept)


def _as_numbers(hashes: Sequence[str]) -> np.ndarray:
    """Hexadecimal hashes as (n,) uint64; 0 for an image without one."""
    numbers = [int(digits or "0", 16) for digits in hashes]
    return np.array(numbers, np.uint64)


def _numbered(pairs: Pairs, left: np.ndarray, right: np.ndarray) -> Pairs:
    """Pairs of places in two arrays of numbers, as pairs of those numbers."""
    return Pairs(left[pairs.left], right[pairs.right], pairs.distance)


def _settle(comparison: _Comparison, rows: np.ndarray, repeats: _Repeats) -> np.ndarray:
    """Judge images that are in order, the best first: duplicates go into `repeats`.

    Returns the numbers of the kept ones. The better half is judged first, and the other half is
    compared with what is kept of it. The result is the same as if each image were compared with
    all kept ones, but many images are compared at once.
    """
    if len(rows) <= FEW:
        _settle_few(comparison, rows, repeats)
    else:
        middle = len(rows) // 2
        better = rows[:middle]
        rest = rows[middle:]
        kept = _settle(comparison, better, repeats)
        repeats.update(_first_repeats(comparison, rest, kept))
        _settle(comparison, _without(rest, repeats), repeats)
    return _without(rows, repeats)


def _settle_few(comparison: _Comparison, rows: np.ndarray, repeats: _Repeats) -> None:
    """As `_settle`, all images compared with all: duplicates go into `repeats`."""
    candidates = []
    for kind, pairs in comparison.pairs(rows, rows):
        for later, earlier, distance in pairs.rows():
            if earlier < later:
                candidates.append((later, _Repeat(earlier, kind, float(distance))))
    for later, repeat in sorted(candidates):
        if later not in repeats and repeat.kept not in repeats:
            repeats[later] = repeat


def _first_repeats(comparison: _Comparison, later: np.ndarray, kept: np.ndarray) -> _Repeats:
    """For each of `later` that repeats one of `kept`: the first such one."""
    repeats: _Repeats = {}
    for kind, pairs in comparison.pairs(later, kept):
        # Sorted by image, then by kept image; the first row of each image is its best.
        order = np.lexsort((pairs.right, pairs.left))
        _, places = np.unique(pairs.left[order], return_index=True)
        best = order[places]
        best_pairs = Pairs(
            left=pairs.left[best],
            right=pairs.right[best],
            distance=pairs.distance[best],
        )
        for image, first, distance in best_pairs.rows():
            repeat = _Repeat(first, kind, float(distance))
            repeats[image] = min(repeats.get(image, repeat), repeat)
    return repeats


def _without(rows: np.ndarray, repeats: _Repeats) -> np.ndarray:
    """The numbers in `rows`, (n,) int, of images that are no duplicates."""
    kept = [row for row in rows.tolist() if row not in repeats]
    return np.array(kept, np.int64)
