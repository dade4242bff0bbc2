"""Publishing what was made of a shard: the table, the tar, and the manifest last."""

from __future__ import annotations

from collections import defaultdict
from collections.abc import Iterator, Sequence

from pipeline.execution.reading import ShardTables
from pipeline.plan import shard_state
from pipeline.plan.graph import Node
from pipeline.plan.shard_state import ShardState
from pipeline.rows import Failure, ImageRow, IndexRow, Record, Row
from pipeline.schema import KINDS, Annotations
from pipeline.storage import layout, layout_journal
from pipeline.storage.arrow import to_table
from pipeline.storage.garbage import collection_paused
from pipeline.storage.images import read_image
from pipeline.storage.json_types import Json
from pipeline.storage.manifest import (
    Digests,
    FileDigest,
    Manifest,
    count_annotations,
    count_samples,
)
from pipeline.storage.parquet import publish_parquet, publish_table
from pipeline.storage.record_json import encode_records
from pipeline.storage.tars import Member, TarWriter
from stages import links


def publish_signals(
    tables: ShardTables,
    node: Node,
    rows: Sequence[Row],
    state: ShardState,
) -> Digests:
    """Publish the rows that a stage made of a shard."""
    table = node.table(tables.shard)
    manifest = Manifest(
        shard=tables.shard,
        inputs=_inputs(node, state),
        files={table: publish_table(tables.store, table, Row, rows)},
        samples=count_samples(len(tables.images), [row.failed for row in rows]),
        annotations=count_annotations([row.annotations for row in rows]),
        reads=shard_state.read_outputs(node, state),
    )
    tables.store.publish_manifest(node.folder, manifest)
    return manifest.digests


@collection_paused()
def publish_round(tables: ShardTables, node: Node, state: ShardState) -> Digests:
    """Publish a shard of a round: its records, and the public tar.

    The tar holds images and records, or records only (`Node.shares_images`).
    """
    records = _records(tables, node)
    annotations = count_annotations([record.annotations for record in records])
    # Every annotation that any node made must be in the records, as kept or as dropped.
    for kind, count in _counts_made(tables, node).items():
        annotations[kind]["in"] = count
    manifest = Manifest(
        shard=tables.shard,
        inputs=_inputs(node, state),
        files=_publish_files(tables, node, records),
        samples=count_samples(len(tables.images), [None] * len(records)),
        annotations=annotations,
        reads=shard_state.read_outputs(node, state),
    )
    tables.store.publish_manifest(node.folder, manifest)
    tables.store.remove(layout_journal.withdrawn(node.folder, tables.shard))
    return manifest.digests


def _records(tables: ShardTables, node: Node) -> list[Record]:
    """The records of a shard, in the order of its images."""
    failures = _failures(tables, node)
    records = []
    for image in tables.images:
        labels = tables.labels(node.reads, image.key)
        followed = links.follow(labels)
        record = Record(
            key=image.key,
            name=image.name,
            width=image.width or 0,
            height=image.height or 0,
            sha256=image.sha256 or "",
            transform=image.transform,
            failures=failures.get(image.key, []),
            annotations=labels.overlaid(followed),
        )
        records.append(record)
    return records


def _failures(tables: ShardTables, node: Node) -> dict[str, list[Failure]]:
    """By key, the stages that could not do a sample.

    If a stage runs again in a later round, its earlier failure is forgotten.
    """
    failures: dict[str, list[Failure]] = {}
    for name in node.reads:
        stage = tables.graph[name].entry.name
        for row in tables.rows(name):
            before = failures.get(row.key, [])
            if isinstance(row, Record):
                failures[row.key] = [*before, *row.failures]
                continue
            others = [failure for failure in before if failure.stage != stage]
            if row.failed:
                others.append(Failure(stage=stage, reason=row.failed, detail=row.detail))
            failures[row.key] = others
    return failures


def _publish_files(
    tables: ShardTables, node: Node, records: Sequence[Record]
) -> dict[str, FileDigest]:
    """Publish the table, the tar and the index of a round's shard."""
    store, shard = tables.store, tables.shard
    name, tar = node.table(shard), node.tar(shard)
    index = layout.shard_index(node.folder, shard)
    table = to_table(Record, records)
    files = {name: publish_parquet(store, name, table)}
    texts = encode_records(records, table)
    rows = []
    with store.publishing(tar) as sink:
        writer = TarWriter(sink)
        copied = _copied(tables, node)
        for image, record, text, copy in zip(tables.images, records, texts, copied, strict=True):
            written = writer.write(image.key, {**copy, "json": text})
            image_place = written[0] if copy else _place(image)
            rows.append(_index_row(record, shard, image_place, written[-1]))
        writer.close()
    files[tar] = sink.digest
    files[index] = publish_table(store, index, IndexRow, rows)
    return files


def _copied(tables: ShardTables, node: Node) -> Iterator[dict[str, bytes]]:
    """For each image its member of the round's tar: {extension: bytes}, or {} if it has none."""
    if node.shares_images:
        for _ in tables.images:
            yield {}
        return
    with tables.store.open(layout.images_tar(tables.shard)) as tar:
        for image in tables.images:
            extension = str(image.member).partition(".")[2]
            yield {extension: read_image(tables.store, tables.shard, tar, image)}


def _place(image: ImageRow) -> Member:
    """Where an image lies in the tar of `images/`."""
    return Member(name=str(image.member), offset=image.offset or 0, size=image.size or 0)


def _counts_made(tables: ShardTables, node: Node) -> dict[str, int]:
    """By kind, how many annotations a node read; one that was revised counts once."""
    made = [(image.key, tables.given.get(image.key, Annotations())) for image in tables.images]
    for name in node.reads:
        made += [(row.key, row.annotations) for row in tables.rows(name)]
    counts = {}
    for kind in KINDS:
        # By the key of the sample.
        ids: defaultdict[str, set[str]] = defaultdict(set)
        for key, labels in made:
            ids[key].update([annotation.id for annotation in getattr(labels, kind)])
        counts[kind] = sum(map(len, ids.values()))
    return counts


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
