"""Publishing what a stage made of a shard: the table, the tar, and the manifest last."""

from __future__ import annotations

import json
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import replace

from pipeline.execution.reading import index_name, read_before
from pipeline.plan import shard_state
from pipeline.plan.graph import Node
from pipeline.plan.shard_state import Done
from pipeline.schema import KINDS, Annotations, Failure, IndexRow, Record, Row
from pipeline.storage import layout
from pipeline.storage.arrow import to_dict
from pipeline.storage.images import (
    read_given,
    read_image_bytes,
    read_images,
)
from pipeline.storage.manifest import Manifest, count_annotations, count_samples
from pipeline.storage.parquet import publish_table
from pipeline.storage.store import Store
from pipeline.storage.tars import Member, TarWriter


def publish_signals(
    store: Store, node: Node, shard: str, rows: Sequence[Row], done: Done
) -> tuple[str, str]:
    """Publish what a stage said of a shard; returns the digests of its inputs and output."""
    inputs = _inputs(node, done)
    file = publish_table(store, node.table(shard), Row, rows)
    manifest = Manifest(
        shard=shard,
        inputs=inputs,
        files={node.table(shard): file},
        samples=count_samples(len(read_images(store, shard)), [row.failed for row in rows]),
        annotations=count_annotations([row.annotations for row in rows]),
        reads=shard_state.read_outputs(node, done),
    )
    store.publish_manifest(node.folder, manifest)
    return inputs, manifest.output


def publish_round(
    store: Store, node: Node, graph: Mapping[str, Node], shard: str, done: Done
) -> tuple[str, str]:
    """Publish a shard of a round: the records of everything that its nodes said, and the public tar with the images."""
    inputs = _inputs(node, done)
    images, given = read_images(store, shard), read_given(store, shard)
    records = {
        row.key: Record(
            key=row.key,
            name=row.name,
            width=row.width or 0,
            height=row.height or 0,
            sha256=row.sha256 or "",
            annotations=given.get(row.key, Annotations()),
        )
        for row in images
    }
    said = _ids(records.values())
    for name in node.reads:
        rows = read_before(store, graph[name], shard)
        for row in rows:
            records[row.key] = _extended(records[row.key], graph[name], row)
        for kind, ids in _ids(rows).items():
            said[kind] |= ids
    table = publish_table(store, node.table(shard), Record, list(records.values()))
    index = []
    with store.publishing(node.tar(shard)) as sink:
        tar = TarWriter(sink)
        for row, data in zip(images, read_image_bytes(store, shard), strict=True):
            text = json.dumps(to_dict(records[row.key]), ensure_ascii=False, separators=(",", ":"))
            extension = str(row.member).partition(".")[2]
            members = tar.write(row.key, {extension: data, "json": text.encode()})
            index.append(_index_row(records[row.key], shard, *members))
        tar.close()
    manifest = Manifest(
        shard=shard,
        inputs=inputs,
        files={
            node.table(shard): table,
            node.tar(shard): {"sha256": sink.sha256, "size": sink.size},
            index_name(node, shard): publish_table(store, index_name(node, shard), IndexRow, index),
        },
        samples=count_samples(len(images), [None] * len(records)),
        annotations={
            kind: {**count, "in": len(said[kind])}
            for kind, count in count_annotations(
                [record.annotations for record in records.values()]
            ).items()
        },
        reads=shard_state.read_outputs(node, done),
    )
    store.publish_manifest(node.folder, manifest)
    store.remove(layout.withdrawn(node.folder, shard))
    return inputs, manifest.output


def _ids(rows: Iterable[Row | Record]) -> dict[str, set[tuple[str, str]]]:
    """Per kind: the (sample, annotation) pairs that are spoken of."""
    rows = list(rows)
    return {
        kind: {(row.key, a.id) for row in rows for a in getattr(row.annotations, kind)}
        for kind in KINDS
    }


def _extended(record: Record, node: Node, row: Row | Record) -> Record:
    """A record with what one more node said; a stage's failures are forgotten when it runs again in a later round."""
    failures = list(record.failures)
    if isinstance(row, Record):
        failures += row.failures
    else:
        failures = [failure for failure in failures if failure.stage != node.entry.name]
        if row.failed:
            failures.append(Failure(stage=node.entry.name, reason=row.failed, detail=row.detail))
    return replace(
        record, failures=failures, annotations=record.annotations.overlaid(row.annotations)
    )


def _index_row(record: Record, shard: str, image: Member, text: Member) -> IndexRow:
    kept = record.annotations.kept()
    return IndexRow(
        key=record.key,
        shard=shard,
        image_offset=image.offset,
        image_size=image.size,
        json_offset=text.offset,
        json_size=text.size,
        width=record.width,
        height=record.height,
        **{kind: len(getattr(kept, kind)) for kind in KINDS},
    )


def _inputs(node: Node, done: Done) -> str:
    inputs = shard_state.input_digest(node, done)
    assert inputs is not None, f"{node.name} ran before what it reads"
    return inputs
