"""The decoded images of a shard, shared by the stages of a group."""

from __future__ import annotations

import dataclasses
import functools
from collections.abc import Sequence
from concurrent.futures import ThreadPoolExecutor
from contextlib import ExitStack
from typing import Any

import numpy as np

from pipeline.schema import ImageRow
from pipeline.storage import layout
from pipeline.storage.images import decode_image
from pipeline.storage.store import Store
from stages.base import Sample

Asked = tuple[
    Sample, ImageRow | None
]  # the image that the stage is to see; None for one that does not look
KEEP = 512 << 20  # bytes of decoded images


class Pictures:
    """The images of a shard that are asked for, read and decoded a batch at a time; keeps some decoded ones, so that
    the stages of a group share them."""

    def __init__(self, store: Store, shard: str, threads: int, keep: int = KEEP) -> None:
        self._open = functools.partial(store.open, layout.images_tar(shard))
        self._threads, self._keep = threads, keep
        self._stack = ExitStack()
        self._file: Any = None
        self._encoded: dict[str, bytes] = {}
        self._known: dict[str, np.ndarray] = {}

    def __enter__(self) -> Pictures:
        self._pool = self._stack.enter_context(ThreadPoolExecutor(self._threads))
        return self

    def __exit__(self, *_: object) -> None:
        self._stack.close()

    def forget(self) -> None:
        self._known.clear()

    def read(self, batch: Sequence[Asked]) -> None:
        """Read what `shown` will decode of a batch, or of parts of it."""
        self._encoded = {
            i.key: self.bytes_of(i) for _, i in batch if i and i.key not in self._known
        }

    def shown(self, batch: Sequence[Asked]) -> list[Sample]:
        """The samples with their pictures."""
        new = [image.key for _, image in batch if image and image.key not in self._known]
        decoded = self._pool.map(decode_image, [self._encoded[key] for key in new])
        pictures = self._known | dict(zip(new, decoded, strict=True))
        if sum(picture.nbytes for picture in pictures.values()) <= self._keep:
            self._known = pictures
        return [
            dataclasses.replace(s, image=pictures[image.key]) if image else s for s, image in batch
        ]

    def bytes_of(self, image: ImageRow) -> bytes:
        if self._file is None:
            self._file = self._stack.enter_context(self._open())
        self._file.seek(image.offset)
        return bytes(self._file.read(image.size))
