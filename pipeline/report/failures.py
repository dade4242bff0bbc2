"""Samples that failed: counts by stage and reason, and one by one.

Only manifests and tables of shards with failures are read. Images that failed and came in at another try do not count.
"""

from __future__ import annotations

from collections import Counter
from collections.abc import Iterator, Sequence
from typing import Any

from pipeline.ingest.listing import Listed, replacements
from pipeline.schema import ImageRow, Row
from pipeline.storage import layout
from pipeline.storage.layout import IMAGES
from pipeline.storage.parquet import read_table
from pipeline.storage.store import Store

INGEST = {"name": "ingest", "folder": IMAGES, "kind": "images"}


def count(store: Store, stage: str, folder: str, shards: int) -> dict[str, Any]:
    """A stage's folder, its shards done of all, and its samples. What went in and what was kept is told by the names of
    manifests, what failed by their content: in = kept + failed by reason."""
    known = store.counts(folder)
    given, lost = (
        (sum(numbers) for numbers in zip(*known.values(), strict=True)) if known else (0, 0)
    )
    failed: Counter[str] = Counter()
    replaced = (
        [row for row in _replaced(store) if row.replaces in known] if folder == IMAGES else []
    )
    containers = {row.replaces for row in replaced if row.reason is None}
    for manifest in store.manifests(
        folder, [shard for shard, (_, failures) in known.items() if failures]
    ):
        if manifest.shard not in containers:
            failed.update(manifest.samples["failed"])
    failed -= Counter(row.reason for row in replaced if row.reason)
    again = sum(bool(row.reason) for row in replaced) + sum(
        known[str(shard)][1] for shard in containers
    )
    samples = {"in": given - again, "kept": given - lost, "failed": dict(failed)}
    return {
        "stage": stage,
        "folder": folder,
        "done": len(known),
        "total": shards,
        "samples": samples,
    }


def each(store: Store, graph: Sequence[dict[str, Any]]) -> Iterator[dict[str, Any]]:
    """Every failed sample: key, name, stage, reason and detail. `graph` are the run's nodes in the order of work."""
    yield from _images(store)
    for node in graph:
        if node["kind"] != "signals":
            continue
        for shard in _shards(store, node["folder"]):
            rows = read_table(store, layout.signals_table(node["folder"], shard), Row)
            names = {
                row.key: row.name for row in read_table(store, layout.images_table(shard), ImageRow)
            }
            for row in rows:
                if row.failed:
                    yield _told(row, names[row.key], node["name"])


def _images(store: Store) -> Iterator[dict[str, Any]]:
    again = {(row.replaces, row.name if row.reason else None) for row in _replaced(store)}
    for shard in _shards(store, IMAGES):
        if (shard, None) in again:
            continue
        for row in read_table(store, layout.images_table(shard), ImageRow):
            if row.failed and (shard, row.name) not in again:
                yield _told(row, row.name, "ingest")


def _replaced(store: Store) -> list[Listed]:
    """Failed rows whose next try is done."""
    rows = replacements(store)
    known = store.counts(IMAGES) if rows else {}
    return [row for row in rows if row.shard in known]


def _shards(store: Store, folder: str) -> list[str]:
    return sorted(shard for shard, (_, failed) in store.counts(folder).items() if failed)


def _told(row: ImageRow | Row, name: str, stage: str) -> dict[str, Any]:
    return {
        "key": row.key,
        "name": name,
        "stage": stage,
        "reason": row.failed,
        "detail": row.detail,
    }
