"""The decoded images of a shard, shared by the stages of a group."""

from __future__ import annotations

import dataclasses
from collections.abc import Sequence
from concurrent.futures import ThreadPoolExecutor
from contextlib import ExitStack
from dataclasses import dataclass
from typing import Any

import numpy as np

from pipeline.rows import ImageRow
from pipeline.storage import layout
from pipeline.storage.images import decode_image, read_image
from pipeline.storage.store import Store
from stages.base import Sample

MAX_DECODED_BYTES = 512 << 20


@dataclass(frozen=True, slots=True)
class StageInput:
    """One sample that a stage is about to see."""

    sample: Sample
    image: ImageRow | None
    """Its image, None for a stage that does not look at images."""


class Pictures:
    """The images of one shard, read and decoded one batch at a time.

    Decoded images are kept until `forget` while they fit in memory, so that the stages of a group
    decode each image once.
    """

    def __init__(
        self,
        store: Store,
        shard: str,
        threads: int,
        max_bytes: int = MAX_DECODED_BYTES,
    ) -> None:
        self._store = store
        self._shard = shard
        self._threads = threads
        self._max_bytes = max_bytes
        self._stack = ExitStack()
        self._tar: Any = None
        self._encoded: dict[str, bytes] = {}
        self._decoded: dict[str, np.ndarray] = {}

    def __enter__(self) -> Pictures:
        self._pool = self._stack.enter_context(ThreadPoolExecutor(self._threads))
        return self

    def __exit__(self, *_: object) -> None:
        self._stack.close()

    def forget(self) -> None:
        """Free the decoded images."""
        self._decoded.clear()

    def read(self, batch: Sequence[StageInput]) -> None:
        """Read the bytes that `with_pixels` will decode for this batch, or for parts of it.

        Raises:
            BrokenFiles: some are not those that ingest has stored.
        """
        self._encoded = {image.key: self.bytes_of(image) for image in self._missing(batch)}

    def with_pixels(self, batch: Sequence[StageInput]) -> list[Sample]:
        """The samples of a batch, with decoded images where the stage looks at them."""
        keys = [image.key for image in self._missing(batch)]
        decoded = self._pool.map(decode_image, [self._encoded[key] for key in keys])
        pictures = self._decoded | dict(zip(keys, decoded, strict=True))
        if sum(pixels.nbytes for pixels in pictures.values()) <= self._max_bytes:
            self._decoded = pictures
        samples = []
        for item in batch:
            sample = item.sample
            if item.image is not None:
                sample = dataclasses.replace(sample, image=pictures[item.image.key])
            samples.append(sample)
        return samples

    def bytes_of(self, image: ImageRow) -> bytes:
        """The stored bytes of an image.

        Raises:
            BrokenFiles: they are not those that ingest has stored.
        """
        if self._tar is None:
            opened = self._store.open_whole(layout.images_tar(self._shard))
            self._tar = self._stack.enter_context(opened)
        return read_image(self._store, self._shard, self._tar, image)

    def _missing(self, batch: Sequence[StageInput]) -> list[ImageRow]:
        """The images of a batch that are not decoded yet."""
        images = [item.image for item in batch if item.image is not None]
        return [image for image in images if image.key not in self._decoded]
