"""What is left of a shard of images that is done again.

A shard is done again when labels were corrected, or when one of its files broke. The tar decides
about pixels, the source only about labels:

- An image that the tar still holds stays as it is, whatever the source has become. An image that
  failed stays failed; `fld retry` gives it a shard of its own.
- An image that is broken in the tar is read from the source, and taken if it is the same image.
- If the table is broken, the members of the tar replace its rows.

This also holds when the work was killed in the middle.
"""

from __future__ import annotations

import hashlib
import tarfile
from collections import defaultdict, deque
from collections.abc import Callable, Iterable, Iterator, Sequence
from contextlib import contextmanager
from dataclasses import dataclass, replace
from functools import cached_property
from typing import Any

import pyarrow as pa

from pipeline.execution.reuse import record_change
from pipeline.rows import ImageRow, Row
from pipeline.schema import Annotations
from pipeline.storage import layout
from pipeline.storage.arrow import from_table
from pipeline.storage.layout import IMAGES
from pipeline.storage.manifest import Manifest, count_samples
from pipeline.storage.parquet import parse_parquet
from pipeline.storage.store import Store
from pipeline.storage.tars import Member
from pipeline.storage.transforms import orientation_in
from stages.base import SampleError
from stages.ingest import Accepted, labelled
from stages.source import Item

SOURCE_CHANGED = "source_changed"
NO_SAME_IMAGE = "the stored image is broken, and the source has another one now, or none"
BLOCK_BYTES = 1 << 20
Receive = Callable[[Item], Accepted]


@dataclass(frozen=True, slots=True)
class IngestedImage:
    """One image of the source: its row, and what is stored of it."""

    row: ImageRow
    accepted: Accepted | None
    """None if it failed."""


@contextmanager
def open_repair(store: Store, shard: str, labels_without_images: bool) -> Iterator[Repair | None]:
    """What is left of a shard, None if it is new.

    `labels_without_images` says that the source gives labels even for images that it cannot read.
    """
    withdrawn = store.withdrawn(IMAGES, shard)
    tar = layout.images_tar(shard)
    has_tar = store.exists(tar)
    if withdrawn is None and not has_tar and not store.exists(layout.images_table(shard)):
        yield None
        return
    # Files without a manifest count as well: it may have broken, or was never written.
    manifest = Manifest(shard=shard, inputs="", files={}, samples=count_samples(0, []))
    if withdrawn is not None:
        manifest = withdrawn.manifest
    file = store.open(tar) if has_tar else None
    try:
        yield Repair(store, manifest, file, labels_without_images)
    finally:
        if file:
            file.close()


class Repair:
    """What is left of a shard: the rows of its table, its labels, and the images in its tar."""

    def __init__(
        self,
        store: Store,
        manifest: Manifest,
        tar: Any,
        labels_without_images: bool,
    ) -> None:
        self._store = store
        self._manifest = manifest
        self._tar = tar
        self._labels_without_images = labels_without_images
        shard = manifest.shard
        # Whether all tables are as the manifest says.
        self._intact = True
        self.rows: list[ImageRow] | None = self._read(layout.images_table(shard), ImageRow)
        """The rows of the table, None if it is broken."""
        self._given = self._read_labels(layout.given_table(shard))
        self._truth = self._read_labels(layout.truth_table(shard))

    def images_by_table(self, items: Iterable[Item], receive: Receive) -> Iterator[IngestedImage]:
        """Every row of the table, in the order of the source, with the labels that it gives now."""
        waiting: dict[str, deque[ImageRow]] = defaultdict(deque)
        for row in self.rows or ():
            waiting[row.name].append(row)
        for item in items:
            rows = waiting.get(item.name)
            if rows:
                yield self._image(rows.popleft(), item, receive)
        for rows in waiting.values():
            for row in rows:
                yield self._image(row, None, receive)

    def image_by_tar(self, row: ImageRow, item: Item, receive: Receive) -> IngestedImage | None:
        """The image of `row`'s key if the tar has it, None if it does not; for a lost table.

        Raises:
            SampleError: neither the tar nor the source has a usable image.
        """
        member = self._members.get(row.key)
        if member is None:
            return None
        data = self._slice(member.offset, member.size)
        try:
            accepted = receive(item)
            if accepted.data == data or not self._tar_is_whole:
                return IngestedImage(row, accepted)
        except SampleError:
            # The source cannot give it any more; the tar can.
            pass
        image = receive(Item(row.name, data))
        # The digest of the source's file was in the lost table, so that of the tar replaces it.
        row = replace(row, source_sha256=_sha256(image.data))
        accepted = self._labelled(image, row.key, item)
        return IngestedImage(row, accepted)

    def other_images(self, keys: set[str], receive: Receive) -> Iterator[IngestedImage]:
        """The images of the tar that are not in `keys`: the source does not have them any more."""
        for key, member in self._members.items():
            if key in keys:
                continue
            data = self._slice(member.offset, member.size)
            row = ImageRow(key=key, name=member.name, source_sha256=_sha256(data))
            try:
                image = receive(Item(member.name, data))
                yield IngestedImage(row, self._labelled(image, key, None))
            except SampleError as error:
                yield failed_image(row, error)

    def record_changes(self, now: Manifest, rows: Sequence[ImageRow], given: Sequence[Row]) -> None:
        """Tell the stages which samples have other pixels or labels than before, if it is known."""
        before = self._manifest.output
        if now.output == before or not self._intact or self.rows is None:
            return
        pixels = {row.key: row.sha256 for row in self.rows if not row.failed}
        changed = set()
        for row in rows:
            if not row.failed and pixels.get(row.key) != row.sha256:
                changed.add(row.key)
        labels = {row.key: row.annotations for row in given}
        for key in labels.keys() | self._given.keys():
            if labels.get(key) != self._given.get(key):
                changed.add(key)
        record_change(
            self._store,
            IMAGES,
            now.shard,
            (before, now.output),
            changed,
        )

    def _image(
        self,
        row: ImageRow,
        item: Item | None,
        receive: Receive,
    ) -> IngestedImage:
        """The image of a row of the table, with the labels of `item` if the source still has it."""
        if row.failed:
            return IngestedImage(row, None)
        data = self._bytes(row)
        if data is None:
            return _from_source(row, item, receive)
        extension = str(row.member).partition(".")[2]
        image = Accepted(
            data,
            extension,
            row.width or 0,
            row.height or 0,
            orientation_in(row.transform),
        )
        return IngestedImage(row, self._labelled(image, row.key, item))

    def _labelled(self, image: Accepted, key: str, item: Item | None) -> Accepted:
        """An image with the labels that the source gives now, or else with those of the tables."""
        if item is not None and (self._labels_without_images or not item.failed):
            return labelled(image, item)
        return replace(
            image,
            given=self._given.get(key, Annotations()),
            truth=self._truth.get(key),
        )

    def _bytes(self, row: ImageRow) -> bytes | None:
        """The bytes of a row's image, None if they are broken.

        They lie where the table says. If the tar was written anew since, its own headers say where.
        """
        data = self._slice(row.offset or 0, row.size or 0)
        if _sha256(data) == row.sha256:
            return data
        member = self._members.get(row.key)
        if member is not None:
            data = self._slice(member.offset, member.size)
        return data if _sha256(data) == row.sha256 else None

    def _slice(self, offset: int, size: int) -> bytes:
        """Some bytes of the tar, none if there is no tar."""
        if self._tar is None:
            return b""
        self._tar.seek(offset)
        return bytes(self._tar.read(size))

    @cached_property
    def _members(self) -> dict[str, Member]:
        """The members of the tar whose headers can be read, by key."""
        if self._tar is None:
            return {}
        self._tar.seek(0)
        return _read_headers(self._tar)

    @cached_property
    def _tar_is_whole(self) -> bool:
        """Whether the tar has the digest in the manifest."""
        file = self._manifest.files.get(layout.images_tar(self._manifest.shard))
        if file is None or self._tar is None:
            return file is None
        hasher = hashlib.sha256()
        self._tar.seek(0)
        while block := self._tar.read(BLOCK_BYTES):
            hasher.update(block)
        return hasher.hexdigest() == file.sha256

    def _read_labels(self, name: str) -> dict[str, Annotations]:
        """The labels in a table by key, none if it is missing or broken."""
        rows: list[Row] = self._read(name, Row) or []
        return {row.key: row.annotations for row in rows}

    def _read(self, name: str, cls: Any) -> list[Any] | None:
        """The rows of a table, None if it is missing or broken."""
        data = self._store.read(name) if self._store.exists(name) else b""
        expected = self._manifest.files.get(name)
        if expected is not None:
            self._intact &= _sha256(data) == expected.sha256
        elif data:
            self._intact = False
        if not data:
            return None
        try:
            return from_table(cls, parse_parquet(data, verify=True))
        except (pa.ArrowException, OSError, ValueError):
            return None


def failed_image(row: ImageRow, error: SampleError) -> IngestedImage:
    """An image that cannot be used."""
    failed = replace(
        row,
        failed=error.reason,
        detail=error.detail or None,
    )
    return IngestedImage(failed, None)


def _from_source(row: ImageRow, item: Item | None, receive: Receive) -> IngestedImage:
    """An image whose stored bytes are broken: as the source has it, if that is the same image."""
    try:
        if item is not None:
            accepted = receive(item)
            if _sha256(accepted.data) == row.sha256:
                return IngestedImage(row, accepted)
        raise SampleError(SOURCE_CHANGED, NO_SAME_IMAGE)
    except SampleError as error:
        # The row without what it said about the stored image.
        lost = ImageRow(
            key=row.key,
            name=row.name,
            source_sha256=row.source_sha256,
        )
        return failed_image(lost, error)


def _read_headers(file: Any) -> dict[str, Member]:
    """The members of a tar by key, as far as its headers can be read."""
    members = {}
    try:
        # With `ignore_zeros`, tarfile goes on after a broken header.
        with tarfile.open(fileobj=file, mode="r:", ignore_zeros=True) as tar:
            for info in tar:
                key = info.name.partition(".")[0]
                members[key] = Member(
                    name=info.name,
                    offset=info.offset_data,
                    size=info.size,
                )
    except tarfile.TarError:
        # The rest of the tar is lost.
        pass
    return members


def _sha256(data: bytes) -> str:
    return hashlib.sha256(data).hexdigest()
