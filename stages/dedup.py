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
from collections.abc import Callable, Iterator, Sequence
from dataclasses import dataclass, field, replace
from typing import TYPE_CHECKING, Annotated, ClassVar, Literal

import numpy as np
from pydantic import Field

from stages.base import CONTENT, no_effect
from stages.hashed import Hashed, HashTable, as_numbers
from stages.image_file import open_image, to_rgb
from stages.repeats import EXACT, KINDS, Comparison, Repeat, Repeats, first_repeats, settle
from stages.specialists.pretrained import PretrainedConfig

if TYPE_CHECKING:
    from PIL.Image import Image

# Standard deviation of an image at 32 x 32 pixels, in grey levels of 255, below which its
# perceptual hash is noise.
MIN_CONTRAST = 2.0
NO_MODEL = "no model makes embeddings; set model"


@dataclass(frozen=True, slots=True, kw_only=True)
class HashConfig(PretrainedConfig):
    method: Literal["phash", "dhash", "whash", "average_hash"] = "phash"
    """The perceptual hash, by its name in ImageHash."""

    model: str = field(default="", metadata=CONTENT)
    """The model of the embeddings: a folder or a hub name; empty for none."""

    batch_size: int = 32
    """Images that are hashed at once."""

    def without_effect(self) -> Iterator[str]:
        if self.model:
            yield from PretrainedConfig.without_effect(self)
        else:
            names = ("revision", "device", "dtype", "rows")
            yield from no_effect(self, names, NO_MODEL)


@dataclass(frozen=True, slots=True, kw_only=True)
class DedupConfig(HashConfig):
    """Thresholds are decisions: no image is hashed again when they change."""

    distance: Annotated[int, Field(ge=0, le=12)] = 6
    """Bits of 64 in which near duplicates may differ; unrelated images differ in about 32."""

    mirrored: bool = False
    """Whether mirror images count as duplicates."""

    similarity: Annotated[float, Field(gt=0, le=1)] = 0.97
    """Least cosine of the embeddings of semantic duplicates."""

    def without_effect(self) -> Iterator[str]:
        yield from HashConfig.without_effect(self)
        if not self.model:
            yield from no_effect(self, ("similarity",), NO_MODEL)


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
        """The hashes of some images of a shard, in order.

        Args:
            shard: name of the shard.
            keys: keys of the samples.
            images: for each of them the bytes of the stored file.
        """
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
    with open_image(data) as opened:
        return to_rgb(opened)


def duplicates(table: HashTable, config: DedupConfig) -> list[Duplicate]:
    """The duplicates among images, sorted by key; kept images are not in the list."""
    order = table.best_first()
    exact = _exact_copies(table.sums[order])
    is_first = np.ones(len(table), bool)
    is_first[list(exact)] = False
    comparison = Comparison(
        has_hash=table.has_hash[order],
        hashes=table.hashes[order],
        mirrored=table.mirrored[order] if config.mirrored else None,
        vectors=table.vectors[order] if config.model else None,
        distance=config.distance,
        similarity=config.similarity,
    )
    repeats: Repeats = {}
    settle(comparison, np.flatnonzero(is_first), repeats)
    for number, first in exact.items():
        # A copy of a duplicate repeats what that duplicate repeats.
        copy_of_first = Repeat(first, KINDS.index(EXACT), 0.0)
        repeats[number] = repeats.get(first, copy_of_first)
    found = []
    for number, repeat in repeats.items():
        place = order[number]
        found.append(
            Duplicate(
                key=table.keys[place].decode(),
                shard=table.shard_names[table.shards[place]],
                kept=table.keys[order[repeat.kept]].decode(),
                kind=KINDS[repeat.kind],
                distance=repeat.distance,
            )
        )
    return sorted(found, key=lambda duplicate: duplicate.key)


def repeats_of(
    rows: Sequence[Hashed],
    references: Sequence[Hashed],
    config: DedupConfig,
) -> list[Duplicate]:
    """Which images repeat one of some references, such as evaluation images; sorted by key.

    Each image is compared with all references. These may lack some hashes: an empty sha256, hash
    or embedding matches nothing. `Duplicate.kept` is the key of the reference.
    """
    images = [*references, *rows]
    first = len(references)
    by_sum: dict[str, int] = {}
    for number, reference in enumerate(references):
        if reference.sha256:
            by_sum.setdefault(reference.sha256, number)
    comparison = _comparison(images, config)
    repeats = first_repeats(comparison, np.arange(first, len(images)), np.arange(first))
    for number, row in enumerate(rows, first):
        if row.sha256 in by_sum:
            repeats[number] = Repeat(by_sum[row.sha256], KINDS.index(EXACT), 0.0)
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


def _exact_copies(sums: np.ndarray) -> dict[int, int]:
    """The images that have the bytes of an earlier one; `sums` is (n, 4) uint64, in their order.

    Returns the number of each of them, with the number of the first image with these bytes.
    """
    _, firsts, groups = np.unique(sums, axis=0, return_index=True, return_inverse=True)
    first_of = firsts[groups.ravel()]
    copies = np.flatnonzero(first_of != np.arange(len(sums)))
    return dict(zip(copies.tolist(), first_of[copies].tolist(), strict=True))


def _comparison(images: Sequence[Hashed], config: DedupConfig) -> Comparison:
    """What the images are compared by, as the settings want it."""
    hashes = [image.hash for image in images]
    mirrored = None
    if config.mirrored:
        mirrored = as_numbers([image.mirrored for image in images])
    vectors = None
    if config.model:
        # A reference that is known by its hash alone gets zeros, which are similar to nothing.
        width = max((len(image.embedding) for image in images), default=0)
        vectors = np.zeros((len(images), width), np.float32)
        for number, image in enumerate(images):
            if image.embedding:
                vectors[number] = image.embedding
    return Comparison(
        has_hash=np.array([bool(digits) for digits in hashes], bool),
        hashes=as_numbers(hashes),
        mirrored=mirrored,
        vectors=vectors,
        distance=config.distance,
        similarity=config.similarity,
    )
