"""Append-only ingest of one shard: its names are read from the source, and published.

Names were assigned to shards before (`pipeline.ingest.assignment`), so a killed ingest goes on with
the same shards, and images that are added to the source later get shards of their own. No image of
a shard ever changes (`pipeline.ingest.repair`). If the source or a review corrects labels, the
tables of their shards are made again, and the stages redo the samples concerned
(`pipeline.execution.reuse`). A shard that keeps killing its process is decoded in a child process,
up to the image at fault.
"""

from __future__ import annotations

import functools
import hashlib
from collections.abc import Callable, Iterator, Mapping, Sequence
from contextlib import contextmanager
from dataclasses import dataclass, field, replace
from typing import Any

from pipeline.config.run import SourceConfig
from pipeline.execution import attempts
from pipeline.execution.faults import naming_disk
from pipeline.execution.isolation import Isolated, StageDied
from pipeline.ingest.assignment import open_source
from pipeline.ingest.assignment_log import keys_of_replaced_shards, reasons_of_replaced_samples
from pipeline.ingest.refused import Refused
from pipeline.ingest.repair import IngestedImage, Receive, Repair, failed_image, open_repair
from pipeline.plan.shard_state import ShardState
from pipeline.quality.reviewed import with_review
from pipeline.rows import ImageRow, Row
from pipeline.schema import KINDS, Annotations
from pipeline.storage import layout, layout_journal
from pipeline.storage.layout import IMAGES
from pipeline.storage.manifest import (
    FileDigest,
    Manifest,
    count_annotations,
    count_samples,
    digest,
)
from pipeline.storage.parquet import publish_table
from pipeline.storage.reviews import ShardReviews, read_reviews
from pipeline.storage.sources import key_of
from pipeline.storage.store import Store
from pipeline.storage.tars import TarWriter
from pipeline.storage.transforms import transform_of
from stages.base import SampleError
from stages.ingest import Accepted, receive
from stages.source import DUPLICATE_KEY, Item

CRASHED = "crashed"
OUT_OF_MEMORY = "out_of_memory"


@dataclass(frozen=True, slots=True)
class ShardTables:
    """The rows of one shard while it is brought in."""

    images: list[ImageRow] = field(default_factory=list)
    given: list[Row] = field(default_factory=list)
    truth: list[Row] = field(default_factory=list)


class Ingest:
    """Brings in one shard per call.

    It publishes the tar, a table of all images, and the labels: given ones, and true ones.
    """

    def __init__(
        self,
        url: str,
        config: SourceConfig,
        shards: Mapping[str, list[str]],
        refused: Refused | None = None,
    ) -> None:
        self.store = Store(url)
        self.config = config
        self.shards = shards
        self._refused = refused or Refused()
        self._source = open_source(config)

    def __call__(self, shard: str, state: ShardState) -> ShardState:
        """Bring a shard in; returns its state with the images added."""
        with (
            naming_disk(self.store.url),
            attempts.mark(self.store, IMAGES, shard) as isolated,
        ):
            if isolated:
                with child_receiver() as receive_item:
                    manifest = self._ingest(shard, self._refused.guard(shard, receive_item))
            else:
                manifest = self._ingest(shard, self._refused.guard(shard, _received))
        return state.with_(IMAGES, manifest.digests)

    def _ingest(self, shard: str, receive_item: Receive) -> Manifest:
        names = self.shards[shard]
        of_source = self._source.revision(names)
        reviews = read_reviews(self.store, shard)
        revision = reviews.revision(of_source)
        tables = ShardTables()
        with open_repair(self.store, shard, bool(of_source)) as repair:
            images = self._images(shard, receive_item, repair)
            tar = self._publish_tar(shard, images, tables, reviews)
            files = {layout.images_tar(shard): tar, **self._publish_tables(shard, tables)}
            manifest = Manifest(
                shard=shard,
                inputs=digest(*names, *([revision] if revision else [])),
                files=files,
                samples=count_samples(
                    len(tables.images), [image.failed for image in tables.images]
                ),
                annotations=count_annotations([row.annotations for row in tables.given]),
            )
            self.store.publish_manifest(IMAGES, manifest)
            if repair is not None:
                repair.record_changes(manifest, tables.images, tables.given)
        self.store.remove(layout_journal.withdrawn(IMAGES, shard))
        return manifest

    def _publish_tar(
        self,
        shard: str,
        images: Iterator[IngestedImage],
        tables: ShardTables,
        reviews: ShardReviews,
    ) -> FileDigest:
        """Write the images to the tar, one after the other, and their rows to `tables`."""
        with self.store.publishing(layout.images_tar(shard)) as sink:
            tar = TarWriter(sink)
            for image in images:
                row, accepted = image.row, image.accepted
                if accepted is None:
                    tables.images.append(row)
                    continue
                tables.images.append(_written(tar, row, accepted))
                given = stamped(accepted.given, self.config.use)
                if row.key in reviews.labels:
                    given = with_review(given, reviews.labels[row.key])
                if len(given):
                    tables.given.append(Row(key=row.key, annotations=given))
                if accepted.truth:
                    tables.truth.append(Row(key=row.key, annotations=accepted.truth))
            tar.close()
        return sink.digest

    def _publish_tables(self, shard: str, tables: ShardTables) -> dict[str, FileDigest]:
        name = layout.images_table(shard)
        files = {
            name: publish_table(
                self.store,
                name,
                ImageRow,
                tables.images,
            )
        }
        for name, rows in (
            (layout.given_table(shard), tables.given),
            (layout.truth_table(shard), tables.truth),
        ):
            if rows:
                files[name] = publish_table(
                    self.store,
                    name,
                    Row,
                    rows,
                )
        return files

    def _images(
        self,
        shard: str,
        receive_item: Receive,
        repair: Repair | None,
    ) -> Iterator[IngestedImage]:
        """The images of a shard, in the order of the source."""
        items = self._source.read(self.shards[shard])
        if repair is not None and repair.rows is not None:
            yield from repair.images_by_table(items, receive_item)
            return
        in_earlier_shards: set[str] = set()
        if self._source.whole:
            in_earlier_shards = keys_of_replaced_shards(self.store, shard)
        came_later = reasons_of_replaced_samples(self.store, shard)
        keys: set[str] = set()
        for item in items:
            key = key_of(shard, item.key or item.name)
            if key in in_earlier_shards:
                continue
            source_sha256 = hashlib.sha256(item.data or b"").hexdigest()
            row = ImageRow(key=key, name=item.name, source_sha256=source_sha256)
            try:
                if key in came_later:
                    raise SampleError(came_later[key], "it came in at another try")
                image = _image(
                    row,
                    item,
                    receive_item,
                    repair,
                    is_duplicate=key in keys,
                )
            except SampleError as error:
                yield failed_image(row, error)
                continue
            keys.add(key)
            yield image
        if repair is not None:
            yield from repair.other_images(keys, receive_item)


def _image(
    row: ImageRow,
    item: Item,
    receive_item: Receive,
    repair: Repair | None,
    is_duplicate: bool,
) -> IngestedImage:
    """One image, from what is left of its shard if that has it, or else from the source.

    Raises:
        SampleError: it cannot be used, or another image of the shard has its key (`is_duplicate`).
    """
    if is_duplicate:
        if not item.failed:
            raise SampleError(DUPLICATE_KEY, f"another image of the shard has the key {row.key}")
        return IngestedImage(row, receive_item(item))
    if repair is not None:
        image = repair.image_by_tar(row, item, receive_item)
        if image is not None:
            return image
    return IngestedImage(row, receive_item(item))


def stamped(given: Annotations, use: str) -> Annotations:
    """The labels of a source with ids, and with the source's name where they name no model."""
    labels = Annotations()
    for kind in KINDS:
        for number, annotation in enumerate(getattr(given, kind)):
            getattr(labels, kind).append(_stamped(annotation, f"{kind}.{number}", use))
    return labels


def _stamped(annotation: Any, index: str, use: str) -> Any:
    """One label with an id and a model."""
    return replace(
        annotation,
        id=annotation.id or f"{annotation.source}.{index}",
        model=annotation.model or use,
    )


@contextmanager
def child_receiver() -> Iterator[Receive]:
    """`receive` in a child process, so that an image that kills its process fails alone."""
    child = Isolated(_load_receiver, threads=1)
    try:
        yield functools.partial(_received, child=child)
    finally:
        child.close()


def _load_receiver() -> Callable[[Sequence[Item]], list[Accepted]]:
    return _receive_all


def _receive_all(items: Sequence[Item]) -> list[Accepted]:
    return [receive(item) for item in items]


def _received(item: Item, child: Isolated | None = None) -> Accepted:
    """What to store of an item.

    Raises:
        SampleError: the item cannot be used, or kills the process that decodes it.
    """
    try:
        accepted: Accepted = receive(item) if child is None else child([item])[0]
        return accepted
    except StageDied as error:
        raise SampleError(CRASHED, str(error)) from error
    except MemoryError as error:
        raise SampleError(OUT_OF_MEMORY, str(error)) from error


def _written(tar: TarWriter, row: ImageRow, accepted: Accepted) -> ImageRow:
    """Write an image to the tar; its row with where it lies."""
    member = tar.write(row.key, {accepted.extension: accepted.data})[0]
    sha256 = row.source_sha256
    transform = transform_of(accepted.orientation, accepted.converted)
    if transform:
        # The stored bytes are not those of the source.
        sha256 = hashlib.sha256(accepted.data).hexdigest()
    return replace(
        row,
        member=member.name,
        offset=member.offset,
        size=member.size,
        width=accepted.width,
        height=accepted.height,
        sha256=sha256,
        transform=transform,
    )
