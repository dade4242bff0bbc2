"""Publishing what was made of a shard: the table, the tar, and the manifest last."""

from __future__ import annotations

import json
from collections.abc import Iterable, Iterator, Mapping, Sequence
from dataclasses import replace

from pipeline.execution.reading import read_inputs
from pipeline.plan import shard_state
from pipeline.plan.graph import Node
from pipeline.plan.shard_state import ShardState
from pipeline.schema import KINDS, Annotations, Failure, ImageRow, IndexRow, Record, Row
from pipeline.storage import layout
from pipeline.storage.arrow import to_dict
from pipeline.storage.images import read_given, read_image_bytes, read_images
from pipeline.storage.json_types import Json
from pipeline.storage.manifest import (
    Digests,
    FileDigest,
    Manifest,
    count_annotations,
    count_samples,
)
from pipeline.storage.parquet import publish_table
from pipeline.storage.store import Store
from pipeline.storage.tars import Member, TarWriter
from stages import links


def publish_signals(
    store: Store,
    node: Node,
    shard: str,
    rows: Sequence[Row],
    state: ShardState,
) -> Digests:
    """Publish the rows that a stage made of a shard."""
    table = node.table(shard)
    given = len(read_images(store, shard))
    manifest = Manifest(
        shard=shard,
        inputs=_inputs(node, state),
        files={table: publish_table(store, table, Row, rows)},
        samples=count_samples(given, [row.failed for row in rows]),
        annotations=count_annotations([row.annotations for row in rows]),
        reads=shard_state.read_outputs(node, state),
    )
    store.publish_manifest(node.folder, manifest)
    return manifest.digests


def publish_round(
    store: Store,
    node: Node,
    graph: Mapping[str, Node],
    shard: str,
    state: ShardState,
) -> Digests:
    """Publish a shard of a round: its records, and the public tar.

    The tar holds images and records, or records only (`Node.shares_images`).
    """
    inputs = _inputs(node, state)
    images = read_images(store, shard)
    given = read_given(store, shard)
    records = {image.key: _record(image, given) for image in images}
    # Every annotation that any node made must be in the records, as kept or as dropped.
    seen = _ids(records.values())
    for name in node.reads:
        rows = read_inputs(store, graph[name], shard)
        for row in rows:
            records[row.key] = _extended(records[row.key], graph[name], row)
        for kind, ids in _ids(rows).items():
            seen[kind] |= ids
    for key, record in records.items():
        followed = links.follow(record.annotations)
        records[key] = replace(record, annotations=record.annotations.overlaid(followed))
    annotations = count_annotations([record.annotations for record in records.values()])
    for kind, counts in annotations.items():
        counts["in"] = len(seen[kind])
    manifest = Manifest(
        shard=shard,
        inputs=inputs,
        files=_publish_files(store, node, shard, images, records),
        samples=count_samples(len(images), [None] * len(records)),
        annotations=annotations,
        reads=shard_state.read_outputs(node, state),
    )
    store.publish_manifest(node.folder, manifest)
    store.remove(layout.withdrawn(node.folder, shard))
    return manifest.digests


def _publish_files(
    store: Store,
    node: Node,
    shard: str,
    images: Sequence[ImageRow],
    records: Mapping[str, Record],
) -> dict[str, FileDigest]:
    """Publish the table, the tar and the index of a round's shard."""
    table, tar = node.table(shard), node.tar(shard)
    index = layout.shard_index(node.folder, shard)
    files = {
        table: publish_table(
            store,
            table,
            Record,
            list(records.values()),
        )
    }
    rows = []
    with store.publishing(tar) as sink:
        writer = TarWriter(sink)
        for image, copied in _copied(store, node, shard, images):
            record = records[image.key]
            text = json.dumps(to_dict(record), ensure_ascii=False, separators=(",", ":"))
            written = writer.write(image.key, {**copied, "json": text.encode()})
            image_place = written[0] if copied else _place(image)
            rows.append(_index_row(record, shard, image_place, written[-1]))
        writer.close()
    files[tar] = sink.digest
    files[index] = publish_table(store, index, IndexRow, rows)
    return files


def _copied(
    store: Store, node: Node, shard: str, images: Sequence[ImageRow]
) -> Iterator[tuple[ImageRow, dict[str, bytes]]]:
    """Each image with its member of the round's tar: {extension: bytes}, or {} if it has none."""
    if node.shares_images:
        for image in images:
            yield image, {}
        return
    for image, data in zip(images, read_image_bytes(store, shard), strict=True):
        extension = str(image.member).partition(".")[2]
        yield image, {extension: data}


def _place(image: ImageRow) -> Member:
    """Where an image lies in the tar of `images/`."""
    return Member(name=str(image.member), offset=image.offset or 0, size=image.size or 0)


def _record(image: ImageRow, given: Mapping[str, Annotations]) -> Record:
    """The record of a sample with the labels of its source."""
    return Record(
        key=image.key,
        name=image.name,
        width=image.width or 0,
        height=image.height or 0,
        sha256=image.sha256 or "",
        transform=image.transform,
        annotations=given.get(image.key, Annotations()),
    )


def _ids(rows: Iterable[Row | Record]) -> dict[str, set[tuple[str, str]]]:
    """By kind, (key of the sample, id) of each annotation in some rows."""
    ids: dict[str, set[tuple[str, str]]] = {kind: set() for kind in KINDS}
    for row in rows:
        for kind in KINDS:
            for annotation in getattr(row.annotations, kind):
                ids[kind].add((row.key, annotation.id))
    return ids


def _extended(record: Record, node: Node, row: Row | Record) -> Record:
    """A record with what one more node wrote.

    If a stage runs again in a later round, its earlier failure is forgotten.
    """
    failures = list(record.failures)
    if isinstance(row, Record):
        failures += row.failures
    else:
        failures = [failure for failure in failures if failure.stage != node.entry.name]
        if row.failed:
            failures.append(Failure(stage=node.entry.name, reason=row.failed, detail=row.detail))
    annotations = record.annotations.overlaid(row.annotations)
    return replace(record, failures=failures, annotations=annotations)


def _index_row(
    record: Record,
    shard: str,
    image: Member,
    text: Member,
) -> IndexRow:
    """Where a sample lies, and how many annotations of each kind are kept."""
    kept = record.annotations.kept()
    counts: Json = {kind: len(getattr(kept, kind)) for kind in KINDS}
    return IndexRow(
        key=record.key,
        shard=shard,
        image_offset=image.offset,
        image_size=image.size,
        json_offset=text.offset,
        json_size=text.size,
        width=record.width,
        height=record.height,
        granularities=sorted({text.granularity for text in kept.texts}),
        **counts,
    )


def _inputs(node: Node, state: ShardState) -> str:
    """The digest of a node's inputs, which are all done."""
    inputs = shard_state.input_digest(node, state)
    assert inputs is not None, f"{node.name} ran before what it reads"
    return inputs
