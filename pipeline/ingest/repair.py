"""What is left of a shard of images that is done again: its tar is the truth for pixels, the source only for labels.

A shard is done again when labels were corrected or when one of its files broke. An image that the tar still holds stays
as it is, whatever the source has become, and one that failed stays failed (`fld retry` gives it a shard of its own).
Only what is broken in the tar is read from the source, and taken if it is the same image. Where the table is broken,
the members of the tar stand for its rows. All of it holds after a kill in the middle, too.
"""

from __future__ import annotations

import hashlib
import tarfile
from collections import defaultdict, deque
from collections.abc import Callable, Iterable, Iterator, Sequence
from contextlib import contextmanager
from dataclasses import replace
from functools import cached_property
from typing import Any

import pyarrow as pa

from pipeline.execution.reuse import record_change
from pipeline.schema import Annotations, ImageRow, Row
from pipeline.storage import layout
from pipeline.storage.arrow import from_table
from pipeline.storage.layout import IMAGES
from pipeline.storage.manifest import Manifest
from pipeline.storage.parquet import parse_parquet
from pipeline.storage.store import Store
from pipeline.storage.tars import Member
from stages.base import SampleError
from stages.ingest import Accepted, Item, labelled

SOURCE_CHANGED = "source_changed"
BLOCK = 1 << 20
Receive = Callable[[Item], Accepted]
Received = tuple[ImageRow, Accepted | None]


@contextmanager
def stored(store: Store, shard: str, told: bool) -> Iterator[Stored | None]:
    """The shard as it was, None when it is new; `told` says that the source tells labels of what it cannot read."""
    withdrawn, tar = store.withdrawn(IMAGES, shard), layout.images_tar(shard)
    if withdrawn is None and not (store.exists(tar) or store.exists(layout.images_table(shard))):
        yield None
        return
    file = store.open(tar) if store.exists(tar) else None
    try:  # what has no manifest, as that broke or was not written yet, counts as much
        yield Stored(
            store,
            withdrawn[0] if withdrawn else Manifest(shard=shard, inputs="", files={}),
            file,
            told,
        )
    finally:
        if file:
            file.close()


class Stored:
    """`rows` are those of the table, None where it is broken."""

    def __init__(self, store: Store, was: Manifest, file: Any, told: bool) -> None:
        self.was, self._store, self._file, self._told = was, store, file, told
        self._intact = True  # all tables are as the manifest says
        self.rows = self._read(layout.images_table(was.shard), ImageRow)
        labels = (
            self._read(name(was.shard), Row) for name in (layout.given_table, layout.truth_table)
        )
        self._given, self._truth = (
            {row.key: row.annotations for row in rows or ()} for rows in labels
        )

    def again(self, items: Iterable[Item], receive: Receive) -> Iterator[Received]:
        """Every row of the table, in the order of the source, with the labels that it gives now."""
        waiting: dict[str, deque[ImageRow]] = defaultdict(deque)
        for row in self.rows or ():
            waiting[row.name].append(row)
        for item in items:
            if rows := waiting.get(item.name):
                yield self._row(rows.popleft(), item, receive)
        for rows in waiting.values():
            yield from (self._row(row, None, receive) for row in rows)

    def recovered(
        self, row: ImageRow, item: Item, receive: Receive
    ) -> tuple[ImageRow, Accepted] | None:
        """The member of the tar that the lost table called `row`, None when there is none.

        Raises:
            SampleError: neither the tar nor the source has it any more.
        """
        if (member := self._members.get(row.key)) is None:
            return None
        data = self._slice(member.offset, member.size)
        try:
            accepted = receive(item)
            if accepted.data == data or not self._tar_is_whole:
                return row, accepted
        except SampleError:
            pass
        image = receive(Item(row.name, data))
        row = replace(
            row, source_sha256=_sha256(image.data)
        )  # the original's is not known any more
        return row, self._labelled(image, row.key, item)

    def left(self, keys: set[str], receive: Receive) -> Iterator[Received]:
        """The members of the tar that the lost table had and the source has no more."""
        for key, member in self._members.items():
            if key in keys:
                continue
            data = self._slice(member.offset, member.size)
            row = ImageRow(key=key, name=member.name, source_sha256=_sha256(data))
            try:
                yield row, self._labelled(receive(Item(member.name, data)), key, None)
            except SampleError as error:
                yield failed(row, error), None

    def tell(self, now: Manifest, rows: Sequence[ImageRow], given: Sequence[Row]) -> None:
        """Tell the stages which samples have other pixels or labels, if that is known."""
        if now.output == self.was.output or not self._intact or self.rows is None:
            return
        labels = {row.key: row.annotations for row in given}
        images = {row.key: row.sha256 for row in self.rows if not row.failed}
        changed = {row.key for row in rows if not row.failed and images.get(row.key) != row.sha256}
        changed |= {
            key
            for key in labels.keys() | self._given.keys()
            if labels.get(key) != self._given.get(key)
        }
        record_change(self._store, IMAGES, now.shard, (self.was.output, now.output), changed)

    def _row(self, row: ImageRow, item: Item | None, receive: Receive) -> Received:
        if row.failed:
            return row, None
        data = self._bytes(row)
        if data is None:
            return _mended(row, item, receive)
        orientation = int(row.transform.rpartition("_")[2]) if row.transform else 1
        extension = str(row.member).partition(".")[2]
        image = Accepted(data, extension, row.width or 0, row.height or 0, orientation)
        return row, self._labelled(image, row.key, item)

    def _labelled(self, image: Accepted, key: str, item: Item | None) -> Accepted:
        if item and (self._told or not item.failed):
            return labelled(image, item)
        return replace(image, given=self._given.get(key, Annotations()), truth=self._truth.get(key))

    def _bytes(self, row: ImageRow) -> bytes | None:
        """Where the table says or, if the tar was written anew since, where its own header says."""
        data = self._slice(row.offset or 0, row.size or 0)
        if _sha256(data) != row.sha256 and (member := self._members.get(row.key)):
            data = self._slice(member.offset, member.size)
        return data if _sha256(data) == row.sha256 else None

    def _slice(self, offset: int, size: int) -> bytes:
        if self._file is None:
            return b""
        self._file.seek(offset)
        return bytes(self._file.read(size))

    @cached_property
    def _members(self) -> dict[str, Member]:
        """By key, all whose headers can be read."""
        if self._file is None:
            return {}
        self._file.seek(0)
        return dict(_walked(self._file))

    @cached_property
    def _tar_is_whole(self) -> bool:
        file = self.was.files.get(layout.images_tar(self.was.shard))
        if file is None or self._file is None:
            return file is None
        hasher = hashlib.sha256()
        self._file.seek(0)
        while block := self._file.read(BLOCK):
            hasher.update(block)
        return hasher.hexdigest() == file["sha256"]

    def _read(self, name: str, cls: Any) -> list[Any] | None:
        """The rows of a table, None where it is missing or broken."""
        data = self._store.read(name) if self._store.exists(name) else b""
        expected = self.was.files.get(name, {}).get("sha256")
        if data or expected:
            self._intact &= _sha256(data) == expected
        try:
            return from_table(cls, parse_parquet(data, verify=True)) if data else None
        except (pa.ArrowException, OSError, ValueError):
            return None


def _mended(row: ImageRow, item: Item | None, receive: Receive) -> Received:
    """A stored image that is broken: as the source has it, if that is the same."""
    try:
        accepted = receive(item) if item else None
        if accepted and _sha256(accepted.data) == row.sha256:
            return row, accepted
        raise SampleError(
            SOURCE_CHANGED,
            "the stored image is broken, and the source has another one now, or none",
        )
    except SampleError as error:
        lost = ImageRow(key=row.key, name=row.name, source_sha256=row.source_sha256)
        return failed(lost, error), None


def failed(row: ImageRow, error: SampleError) -> ImageRow:
    return replace(row, failed=error.reason, detail=error.detail or None)


def _walked(file: Any) -> Iterator[tuple[str, Member]]:
    try:
        with tarfile.open(
            fileobj=file, mode="r:", ignore_zeros=True
        ) as tar:  # goes on behind a broken header
            for info in tar:
                yield (
                    info.name.partition(".")[0],
                    Member(name=info.name, offset=info.offset_data, size=info.size),
                )
    except tarfile.TarError:
        return


def _sha256(data: bytes) -> str:
    return hashlib.sha256(data).hexdigest()
