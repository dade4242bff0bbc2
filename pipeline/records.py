"""Reading and writing the tables and tars of shards: images, signals, and the records of rounds."""

from __future__ import annotations

import io
import json
from collections import Counter
from collections.abc import Iterable, Iterator, Mapping, Sequence
from dataclasses import replace
from typing import Any

import numpy as np
import pyarrow as pa
import pyarrow.parquet as pq

from pipeline import lineage
from pipeline.lineage import IMAGES, Done, Node
from pipeline.schema import KINDS, Annotations, Failure, ImageRow, IndexRow, Record, Row
from pipeline.shards import Member, TarWriter, read_tar
from pipeline.store import Manifest, Store, withdrawn_name
from pipeline.tables import from_table, to_dict, to_table
from stages.ingest import to_rgb


def read_rows(store: Store, node: Node, shard: str) -> list[Any]:
    """The `Row`s of a stage, or the `Record`s of a round."""
    return read_table(store, node.table(shard), Record if node.kind == "round" else Row)


def read_before(store: Store, node: Node, shard: str) -> list[Any]:
    """`read_rows` for a later stage: of a round, without its judgements."""
    rows = read_rows(store, node, shard)
    return [replace(row, annotations=row.annotations.unjudged()) for row in rows] if node.kind == "round" else rows


def read_table(store: Store, name: str, cls: Any) -> list[Any]:
    return from_table(cls, read_parquet(store, name))


def read_parquet(store: Store, name: str) -> pa.Table:
    return parse_parquet(store.read(name))


def parse_table(data: bytes, cls: Any) -> list[Any]:
    return from_table(cls, parse_parquet(data))


def parse_parquet(data: bytes, verify: bool = False) -> pa.Table:
    """The table in a Parquet file; `verify` compares the checksums of its pages."""
    # In this thread only: one of Arrow's own that still holds a Python object while the interpreter ends aborts it.
    file = pq.ParquetFile(pa.BufferReader(data), pre_buffer=False, page_checksum_verification=verify)
    return file.read(use_threads=False)


def publish_table(store: Store, name: str, cls: Any, rows: Sequence[Any]) -> dict[str, Any]:
    with store.publishing(name) as sink:
        pq.write_table(to_table(cls, list(rows)), sink, compression="zstd", write_page_checksum=True)
    return {"sha256": sink.sha256, "size": sink.size}


def index_name(node: Node, shard: str) -> str:
    return f"{node.folder}/index/{shard}.parquet"


def read_images(store: Store, shard: str) -> list[ImageRow]:
    """The shard's images that can be annotated, in the order of its tar."""
    return [row for row in read_table(store, f"{IMAGES}/{shard}.parquet", ImageRow) if row.failed is None]


def given_name(shard: str) -> str:
    return f"{IMAGES}/given/{shard}.parquet"


def truth_name(shard: str) -> str:
    return f"{IMAGES}/truth/{shard}.parquet"


def read_given(store: Store, shard: str) -> dict[str, Annotations]:
    """What the source gave the samples of a shard, by key; it lies beneath everything that the stages say."""
    return _read_labels(store, given_name(shard))


def read_truth(store: Store, shard: str) -> dict[str, Annotations]:
    """What is exactly known of a shard's samples, by key; empty when nothing is."""
    return _read_labels(store, truth_name(shard))


def _read_labels(store: Store, name: str) -> dict[str, Annotations]:
    if not store.exists(name):
        return {}
    return {row.key: row.annotations for row in read_table(store, name, Row)}


def read_image_bytes(store: Store, shard: str) -> Iterator[bytes]:
    """The stored bytes of each of `read_images`, in order."""
    with store.open(f"{IMAGES}/{shard}.tar") as file:
        for _, members in read_tar(file):
            yield next(iter(members.values()))


def decode_image(data: bytes) -> np.ndarray:
    """(height, width, 3) uint8 RGB, read-only."""
    from PIL import Image

    with Image.open(io.BytesIO(data)) as image:
        pixels = np.asarray(to_rgb(image))
    pixels.flags.writeable = False
    return pixels


def publish_signals(store: Store, node: Node, shard: str, rows: Sequence[Row], done: Done) -> tuple[str, str]:
    """Publish what a stage said of a shard; returns the digests of its inputs and output."""
    inputs = _inputs(node, done)
    file = publish_table(store, node.table(shard), Row, rows)
    manifest = Manifest(
        shard=shard, inputs=inputs, files={node.table(shard): file},
        samples=count_samples(len(read_images(store, shard)), [row.failed for row in rows]),
        annotations=count_annotations([row.annotations for row in rows]),
        reads=lineage.read_outputs(node, done),
    )  # fmt: skip
    store.publish_manifest(node.folder, manifest)
    return inputs, manifest.output


def publish_round(store: Store, node: Node, graph: Mapping[str, Node], shard: str, done: Done) -> tuple[str, str]:
    """Publish a shard of a round: the records of everything that its nodes said, and the public tar with the images."""
    inputs = _inputs(node, done)
    images, given = read_images(store, shard), read_given(store, shard)
    records = {
        row.key: Record(
            key=row.key, name=row.name, width=row.width or 0, height=row.height or 0, sha256=row.sha256 or "",
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
        shard=shard, inputs=inputs,
        files={
            node.table(shard): table,
            node.tar(shard): {"sha256": sink.sha256, "size": sink.size},
            index_name(node, shard): publish_table(store, index_name(node, shard), IndexRow, index),
        },
        samples=count_samples(len(images), [None] * len(records)),
        annotations={
            kind: {**count, "in": len(said[kind])}
            for kind, count in count_annotations([record.annotations for record in records.values()]).items()
        },
        reads=lineage.read_outputs(node, done),
    )  # fmt: skip
    store.publish_manifest(node.folder, manifest)
    store.remove(withdrawn_name(node.folder, shard))
    return inputs, manifest.output


def count_samples(given: int, failed: Sequence[str | None]) -> dict[str, Any]:
    """`given` samples went in; `failed` has a reason or None for each that came out."""
    reasons = Counter(failed)
    kept = reasons.pop(None, 0)
    return {"in": given, "kept": kept, "dropped": {}, "failed": dict(reasons)}


def count_annotations(samples: Sequence[Annotations]) -> dict[str, dict[str, Any]]:
    """Per kind: in, kept, and dropped by reason."""
    counts = {}
    for kind in KINDS:
        fates = Counter(a.dropped for sample in samples for a in getattr(sample, kind))
        kept = fates.pop(None, 0)
        counts[kind] = {"in": kept + fates.total(), "kept": kept, "dropped": dict(fates)}
    return counts


def _ids(rows: Iterable[Row | Record]) -> dict[str, set[tuple[str, str]]]:
    """Per kind: the (sample, annotation) pairs that are spoken of."""
    rows = list(rows)
    return {kind: {(row.key, a.id) for row in rows for a in getattr(row.annotations, kind)} for kind in KINDS}


def _extended(record: Record, node: Node, row: Row | Record) -> Record:
    """A record with what one more node said; a stage's failures are forgotten when it runs again in a later round."""
    failures = list(record.failures)
    if isinstance(row, Record):
        failures += row.failures
    else:
        failures = [failure for failure in failures if failure.stage != node.entry.name]
        if row.failed:
            failures.append(Failure(stage=node.entry.name, reason=row.failed, detail=row.detail))
    return replace(record, failures=failures, annotations=record.annotations.overlaid(row.annotations))


def _index_row(record: Record, shard: str, image: Member, text: Member) -> IndexRow:
    kept = record.annotations.kept()
    return IndexRow(
        key=record.key, shard=shard, image_offset=image.offset, image_size=image.size, json_offset=text.offset,
        json_size=text.size, width=record.width, height=record.height,
        **{kind: len(getattr(kept, kind)) for kind in KINDS},
    )  # fmt: skip


def _inputs(node: Node, done: Done) -> str:
    inputs = lineage.input_digest(node, done)
    assert inputs is not None, f"{node.name} ran before what it reads"
    return inputs
