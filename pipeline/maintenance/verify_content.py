"""What `fld verify --deep` checks of files that hash as they should: whether they agree.

The rows of tables are counted, and each sample of a tar is looked up through its index.
"""

from __future__ import annotations

import hashlib
import json
from collections.abc import Iterator, Sequence
from dataclasses import dataclass

import pyarrow as pa

from pipeline.rows import ImageRow, IndexRow, Record
from pipeline.storage import layout
from pipeline.storage.layout import IMAGES
from pipeline.storage.manifest import Manifest
from pipeline.storage.parquet import parse_parquet, parse_table
from pipeline.storage.store import Store
from pipeline.storage.tars import FIRST_OFFSET


@dataclass(frozen=True, slots=True)
class Slice:
    """Where one thing lies in a tar."""

    name: str
    """What it is called: a key, or a sha256."""
    offset: int
    size: int


def check_content(store: Store, folder: str, manifest: Manifest) -> dict[str, str]:
    """Problems of files that hash as they should, but contradict each other; by file."""
    if folder == IMAGES:
        return _check_images(store, manifest)
    if layout.is_round(folder):
        return _check_round(store, folder, manifest)
    if layout.is_signals(folder):
        table = layout.signals_table(folder, manifest.shard)
        rows = parse_parquet(store.read(table)).num_rows
        return {table: _miscounted(rows, manifest)}
    return {}


def _check_images(store: Store, manifest: Manifest) -> dict[str, str]:
    """Check that the images lie in the tar where the table says."""
    table = layout.images_table(manifest.shard)
    tar = layout.images_tar(manifest.shard)
    rows: list[ImageRow] = parse_table(store.read(table), ImageRow)
    slices = []
    for row in rows:
        if row.failed is not None:
            continue
        image = Slice(
            name=row.sha256 or "",
            offset=row.offset or 0,
            size=row.size or 0,
        )
        slices.append(image)
    wrong = 0
    for sha256, data in _read_slices(store, tar, slices):
        if hashlib.sha256(data).hexdigest() != sha256:
            wrong += 1
    problem = f"{wrong} images are not where the table says" if wrong else ""
    return {
        table: _miscounted(len(rows), manifest),
        tar: problem,
    }


def _check_round(store: Store, folder: str, manifest: Manifest) -> dict[str, str]:
    """Check that the samples of a round lie where the index says."""
    shard = manifest.shard
    table = layout.round_table(folder, shard)
    tar = layout.round_tar(folder, shard)
    records: list[Record] = parse_table(store.read(table), Record)
    index_data = store.read(layout.shard_index(folder, shard))
    index: list[IndexRow] = parse_table(index_data, IndexRow)
    texts = [Slice(row.key, row.json_offset, row.json_size) for row in index]
    hashes: dict[str, str] | None
    if _shares_images(index):
        hashes = _shared_hashes(store, shard, index)
    else:
        hashes = _copied_hashes(store, tar, index)
    records_in_tar = dict(_read_slices(store, tar, texts))
    wrong = 0
    for record in records:
        if (hashes is not None and hashes.get(record.key) != record.sha256) or json.loads(
            records_in_tar.get(record.key, b"{}")
        ).get("key") != record.key:
            wrong += 1
    problem = f"{wrong} samples are not where the index says" if wrong else ""
    return {
        table: _miscounted(len(records), manifest),
        tar: problem,
    }


def _shares_images(index: Sequence[IndexRow]) -> bool:
    """Whether a round's tar holds records only: then it begins with one."""
    return bool(index) and index[0].json_offset == FIRST_OFFSET


def _copied_hashes(store: Store, tar: str, index: Sequence[IndexRow]) -> dict[str, str]:
    """The sha256 of each image in a round's tar, by key."""
    images = [Slice(row.key, row.image_offset, row.image_size) for row in index]
    hashes = {}
    for key, data in _read_slices(store, tar, images):
        hashes[key] = hashlib.sha256(data).hexdigest()
    return hashes


def _shared_hashes(store: Store, shard: str, index: Sequence[IndexRow]) -> dict[str, str] | None:
    """The sha256 of each image that a round's index finds in the tar of `images/`, by key.

    The bytes of that tar are checked with the manifest of the images, so their table is enough.
    None if the table is missing or broken, which is a problem of the images and not of the round.
    """
    try:
        images = parse_table(store.read(layout.images_table(shard)), ImageRow)
    except (OSError, pa.ArrowException):
        return None
    stored = {}
    for image in images:
        stored[Slice(image.key, image.offset or 0, image.size or 0)] = image.sha256 or ""
    hashes = {}
    for row in index:
        place = Slice(row.key, row.image_offset, row.image_size)
        hashes[row.key] = stored.get(place, "")
    return hashes


def _read_slices(store: Store, tar: str, slices: list[Slice]) -> Iterator[tuple[str, bytes]]:
    """(name, bytes) of parts of a tar."""
    with store.open(tar) as file:
        for part in slices:
            file.seek(part.offset)
            yield part.name, file.read(part.size)


def _miscounted(rows: int, manifest: Manifest) -> str:
    """What is wrong with the number of rows, "" if nothing is."""
    samples = manifest.samples["in"]
    if rows == samples:
        return ""
    return f"{rows} rows, the manifest counts {samples} samples"
