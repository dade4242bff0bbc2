"""The images of a shard: its table, its tar, and the labels that came with them."""

from __future__ import annotations

from collections.abc import Iterator

import numpy as np

from pipeline.schema import Annotations, ImageRow, Row
from pipeline.storage import layout
from pipeline.storage.parquet import read_table
from pipeline.storage.store import Store
from pipeline.storage.tars import read_tar
from stages.image_file import open_image, to_rgb


def read_images(store: Store, shard: str) -> list[ImageRow]:
    """The images of a shard that can be annotated, in the order of its tar."""
    rows: list[ImageRow] = read_table(store, layout.images_table(shard), ImageRow)
    return [row for row in rows if row.failed is None]


def read_given(store: Store, shard: str) -> dict[str, Annotations]:
    """The labels that the source gave, by key. The stages add to them and revise them."""
    return _read_labels(store, layout.given_table(shard))


def read_truth(store: Store, shard: str) -> dict[str, Annotations]:
    """The labels that are known to be true, by key; empty if there are none."""
    return _read_labels(store, layout.truth_table(shard))


def read_image_bytes(store: Store, shard: str) -> Iterator[bytes]:
    """The stored bytes of each of `read_images`, in the same order."""
    with store.open(layout.images_tar(shard)) as file:
        for _, members in read_tar(file):
            yield next(iter(members.values()))


def decode_image(data: bytes) -> np.ndarray:
    """The pixels of a stored image: (height, width, 3) uint8 RGB, read-only.

    Raises:
        PIL.UnidentifiedImageError, OSError: the bytes are no image, or a broken one.
    """
    with open_image(data) as image:
        pixels = np.asarray(to_rgb(image))
    pixels.flags.writeable = False
    return pixels


def _read_labels(store: Store, name: str) -> dict[str, Annotations]:
    if not store.exists(name):
        return {}
    rows: list[Row] = read_table(store, name, Row)
    return {row.key: row.annotations for row in rows}
