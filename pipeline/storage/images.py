"""The images of a shard: its table, its tar, and the labels that came with them."""

from __future__ import annotations

import hashlib
import json
from collections.abc import Iterable, Iterator, Mapping
from dataclasses import dataclass
from typing import IO

import numpy as np

from pipeline.rows import ImageRow, Record, Row
from pipeline.schema import Annotations
from pipeline.storage import layout
from pipeline.storage.arrow import from_dict
from pipeline.storage.checks import broken
from pipeline.storage.parquet import read_table
from pipeline.storage.store import Store
from stages.image_file import open_image, to_rgb

IMAGE_EXTENSIONS = ("jpg", "jpeg", "png", "webp", "bmp", "gif", "tif", "tiff", "avif")


@dataclass(frozen=True, slots=True)
class StoredSample:
    """A sample of a round as it is stored."""

    key: str
    image: bytes
    """The encoded image, such as a JPEG."""
    record: Record
    """Its record, with all labels."""


def read_images(store: Store, shard: str) -> list[ImageRow]:
    """The images of a shard that can be annotated, in the order of its tar."""
    rows: list[ImageRow] = read_table(store, layout.images_table(shard), ImageRow)
    return [row for row in rows if row.failed is None]


def read_image(store: Store, shard: str, tar: IO[bytes], image: ImageRow) -> bytes:
    """The stored bytes of an image, from the open tar of its shard.

    Raises:
        BrokenFiles: they are not those that ingest has stored.
    """
    tar.seek(image.offset or 0)
    data = tar.read(image.size or 0)
    _compare(store, layout.images_tar(shard), image.key, data, image.sha256)
    return data


def read_given(store: Store, shard: str) -> dict[str, Annotations]:
    """The labels that the source gave, by key. The stages add to them and revise them."""
    return _read_labels(store, layout.given_table(shard))


def read_truth(store: Store, shard: str) -> dict[str, Annotations]:
    """The labels that are known to be true, by key; empty if there are none."""
    return _read_labels(store, layout.truth_table(shard))


def read_image_bytes(store: Store, shard: str) -> Iterator[bytes]:
    """The stored bytes of each of `read_images`, in the same order.

    Raises:
        BrokenFiles: those of an image are not what ingest has stored.
    """
    for _, data in _stored_images(store, shard):
        yield data


def with_images(
    store: Store, shard: str, tar: str, samples: Iterable[tuple[str, Mapping[str, bytes]]]
) -> Iterator[StoredSample]:
    """The samples of a round's shard with their images, wherever these are stored.

    `samples` are the keys and members {extension: bytes} of the round's tar `tar`, in its order. If
    a sample has no image there (`rounds.images: reference`), the tar of `images/` has it.

    Raises:
        ValueError: neither tar holds the image of a sample.
        BrokenFiles: an image has other bytes than were stored, or a record is no JSON.
    """
    stored: Iterator[tuple[str, bytes]] | None = None
    for key, members in samples:
        record = _parse_record(store, tar, key, members["json"])
        image = _image_among(members)
        if image is not None:
            _compare(store, tar, key, image, record.sha256)
        else:
            # The tar of `images/` has the same order, so one pass through it finds all images.
            stored = stored or _stored_images(store, shard)
            image = _next_of(stored, key)
        if image is None:
            raise ValueError(
                f"{key}: neither its shard nor {store.shown(layout.images_tar(shard))} holds its "
                "image; give a round in its work folder, or shards that hold images"
            )
        yield StoredSample(key, image, record)


def decode_image(data: bytes) -> np.ndarray:
    """The pixels of a stored image: (height, width, 3) uint8 RGB, read-only.

    Raises:
        PIL.UnidentifiedImageError, OSError: the bytes are no image, or a broken one.
    """
    with open_image(data) as image:
        pixels = np.asarray(to_rgb(image))
    pixels.flags.writeable = False
    return pixels


def _stored_images(store: Store, shard: str) -> Iterator[tuple[str, bytes]]:
    """The key and the bytes of each image in the tar of a shard."""
    images = read_images(store, shard)
    with store.open_whole(layout.images_tar(shard)) as tar:
        for image in images:
            yield image.key, read_image(store, shard, tar, image)


def _compare(store: Store, tar: str, key: str, data: bytes, sha256: str | None) -> None:
    """Compare the image of a sample in a tar with the digest that was stored.

    Raises:
        BrokenFiles: it has other bytes.
    """
    if hashlib.sha256(data).hexdigest() != sha256:
        raise broken(store, tar, f"{key} has other bytes than were stored")


def _parse_record(store: Store, tar: str, key: str, text: bytes) -> Record:
    """Parse the record of a sample in a tar.

    Raises:
        BrokenFiles: it is no JSON.
    """
    try:
        record: Record = from_dict(Record, json.loads(text))
    except ValueError as error:
        raise broken(store, tar, f"{key}.json: {error}") from error
    return record


def _image_among(members: Mapping[str, bytes]) -> bytes | None:
    """The image of a sample among its files, None if it has none."""
    for extension, data in members.items():
        if extension in IMAGE_EXTENSIONS:
            return data
    return None


def _next_of(stored: Iterator[tuple[str, bytes]], key: str) -> bytes | None:
    """The next image of this key, None if there is none or no tar."""
    try:
        for other, data in stored:
            if other == key:
                return data
    except FileNotFoundError:
        return None
    return None


def _read_labels(store: Store, name: str) -> dict[str, Annotations]:
    if not store.exists(name):
        return {}
    rows: list[Row] = read_table(store, name, Row)
    return {row.key: row.annotations for row in rows}
