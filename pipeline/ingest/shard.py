"""Append-only ingest: names of the source are assigned to shards once, then each shard is read and published.

The assignment is published before any shard, so a killed ingest goes on with the same shards, and images added to the
source later get shards of their own: no image of a shard ever changes (`pipeline.ingest.repair`). Corrected labels of a source
that gives any make the tables of their shards anew, and the stages do the samples concerned again (`pipeline.execution.reuse`). A
shard that keeps killing its process is decoded in a child, up to the image at fault.
"""

from __future__ import annotations

import functools
import hashlib
from collections.abc import Callable, Iterator, Sequence
from contextlib import contextmanager
from dataclasses import replace
from typing import Any

from pipeline.config.run import SourceConfig
from pipeline.execution import attempts
from pipeline.execution.isolation import Isolated, StageDied
from pipeline.ingest.assignment import (
    open_source,
)
from pipeline.ingest.listing import came_later, taken
from pipeline.ingest.repair import Receive, Received, Stored, failed, stored
from pipeline.plan.shard_state import Done
from pipeline.schema import KINDS, Annotations, ImageRow, Row
from pipeline.storage import layout
from pipeline.storage.layout import IMAGES
from pipeline.storage.manifest import Manifest, count_annotations, count_samples, digest
from pipeline.storage.parquet import publish_table
from pipeline.storage.store import Store
from pipeline.storage.tars import TarWriter
from stages.base import SampleError
from stages.ingest import DUPLICATE_KEY, Accepted, Item, make_key, receive

CRASHED, OUT_OF_MEMORY = "crashed", "out_of_memory"


class Ingest:
    """Reads the items of one shard a call and publishes its tar, its table of all items, what the source gave them and
    what is true of them, if anything."""

    def __init__(self, url: str, config: SourceConfig, shards: dict[str, list[str]]) -> None:
        self.store, self.config, self.shards = Store(url), config, shards
        self._source = open_source(config)

    def __call__(self, shard: str, done: Done) -> Done:
        with attempts.mark(self.store, IMAGES, shard) as isolated:
            child = Isolated(_receiver, threads=1) if isolated else None
            try:
                manifest = self._ingest(shard, functools.partial(_received, child))
            finally:
                if child:
                    child.close()
        return {**done, IMAGES: (manifest.inputs, manifest.output)}

    def _ingest(self, shard: str, receive: Receive) -> Manifest:
        names = self.shards[shard]
        revision = self._source.revision(names)
        rows, files = [], {}
        labels: dict[str, list[Row]] = {
            layout.given_table(shard): [],
            layout.truth_table(shard): [],
        }
        with stored(self.store, shard, bool(revision)) as before:
            with self.store.publishing(layout.images_tar(shard)) as sink:
                tar = TarWriter(sink)
                for row, accepted in self._items(shard, receive, before):
                    rows.append(_written(tar, row, accepted) if accepted else row)
                    if accepted:
                        said = stamped(accepted.given, self.config.use), accepted.truth
                        for name, annotations in zip(labels, said, strict=True):
                            labels[name] += (
                                [Row(key=row.key, annotations=annotations)] if annotations else []
                            )
                tar.close()
            files[layout.images_tar(shard)] = {"sha256": sink.sha256, "size": sink.size}
            files[layout.images_table(shard)] = publish_table(
                self.store, layout.images_table(shard), ImageRow, rows
            )
            files |= {
                name: publish_table(self.store, name, Row, said)
                for name, said in labels.items()
                if said
            }
            manifest = Manifest(
                shard=shard,
                inputs=digest(*names, *([revision] if revision else [])),
                files=files,
                samples=count_samples(len(rows), [row.failed for row in rows]),
                annotations=count_annotations(
                    [row.annotations for row in labels[layout.given_table(shard)]]
                ),
            )
            self.store.publish_manifest(IMAGES, manifest)
            if before:
                before.tell(manifest, rows, labels[layout.given_table(shard)])
        self.store.remove(layout.withdrawn(IMAGES, shard))
        return manifest

    def _items(self, shard: str, receive: Receive, before: Stored | None) -> Iterator[Received]:
        items = self._source.read(self.shards[shard])
        if before and before.rows is not None:
            yield from before.again(items, receive)
            return
        keys, elsewhere = set[str](), taken(self.store, shard) if self._source.whole else ()
        later = came_later(self.store, shard)
        for item in items:
            key = make_key(item.key or item.name)
            if key in elsewhere:
                continue
            row = ImageRow(
                key=key, name=item.name, source_sha256=hashlib.sha256(item.data or b"").hexdigest()
            )
            try:
                if key in later:
                    raise SampleError(later[key], "it came in at another try")
                if key in keys and not item.failed:
                    raise SampleError(
                        DUPLICATE_KEY, f"another image of the shard has the key {key}"
                    )
                found = before.recovered(row, item, receive) if before and key not in keys else None
                row, accepted = found or (row, receive(item))
            except SampleError as error:
                yield failed(row, error), None
                continue
            keys.add(key)
            yield row, accepted
        if before:
            yield from before.left(keys, receive)


def stamped(given: Annotations, use: str) -> Annotations:
    """What the source gave, with ids of its own and the source's name where it left them open."""

    def stamp(annotation: Any, index: str) -> Any:
        return replace(
            annotation,
            id=annotation.id or f"{annotation.source}.{index}",
            model=annotation.model or use,
        )

    return Annotations(
        *([stamp(a, f"{kind}.{i}") for i, a in enumerate(getattr(given, kind))] for kind in KINDS)
    )


@contextmanager
def child_receiver() -> Iterator[Receive]:
    """`receive` in a child process, so that an image may kill it."""
    child = Isolated(_receiver, threads=1)
    try:
        yield functools.partial(_received, child)
    finally:
        child.close()


def _receiver() -> Callable[[Sequence[Item]], list[Accepted]]:
    return lambda items: [receive(item) for item in items]


def _received(child: Isolated | None, item: Item) -> Accepted:
    """Raises:
    SampleError: the item cannot be used, or kills the process that decodes it.
    """
    try:
        accepted: Accepted = child([item])[0] if child else receive(item)
        return accepted
    except StageDied as error:
        raise SampleError(CRASHED, str(error)) from error
    except MemoryError as error:
        raise SampleError(OUT_OF_MEMORY, str(error)) from error


def _written(tar: TarWriter, row: ImageRow, accepted: Accepted) -> ImageRow:
    member = tar.write(row.key, {accepted.extension: accepted.data})[0]
    turned = accepted.orientation != 1
    return replace(
        row,
        member=member.name,
        offset=member.offset,
        size=member.size,
        width=accepted.width,
        height=accepted.height,
        sha256=hashlib.sha256(accepted.data).hexdigest() if turned else row.source_sha256,
        transform=f"exif_orientation_{accepted.orientation}" if turned else None,
    )
