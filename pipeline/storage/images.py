"""The images of a shard: its table, its tar, and the labels that came with them."""

from __future__ import annotations

import io
from collections.abc import Iterator

import numpy as np

from pipeline.schema import Annotations, ImageRow, Row
from pipeline.storage import layout
from pipeline.storage.parquet import read_table
from pipeline.storage.store import Store
from pipeline.storage.tars import read_tar
from stages.ingest import to_rgb


def read_images(store: Store, shard: str) -> list[ImageRow]:
    """The shard's images that can be annotated, in the order of its tar."""
    return [
        row for row in read_table(store, layout.images_table(shard), ImageRow) if row.failed is None
    ]


def read_given(store: Store, shard: str) -> dict[str, Annotations]:
    """What the source gave the samples of a shard, by key; it lies beneath everything that the stages say."""
    return _read_labels(store, layout.given_table(shard))


def read_truth(store: Store, shard: str) -> dict[str, Annotations]:
    """What is exactly known of a shard's samples, by key; empty when nothing is."""
    return _read_labels(store, layout.truth_table(shard))


def _read_labels(store: Store, name: str) -> dict[str, Annotations]:
    if not store.exists(name):
        return {}
    return {row.key: row.annotations for row in read_table(store, name, Row)}


def read_image_bytes(store: Store, shard: str) -> Iterator[bytes]:
    """The stored bytes of each of `read_images`, in order."""
    with store.open(layout.images_tar(shard)) as file:
        for _, members in read_tar(file):
            yield next(iter(members.values()))


def decode_image(data: bytes) -> np.ndarray:
    """(height, width, 3) uint8 RGB, read-only."""
    from PIL import Image

    with Image.open(io.BytesIO(data)) as image:
        pixels = np.asarray(to_rgb(image))
    pixels.flags.writeable = False
    return pixels
