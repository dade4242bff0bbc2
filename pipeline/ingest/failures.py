"""Samples that failed: counts by stage and reason, and one by one.

Only the manifests and tables of shards with failures are read. Images that failed and came in at a
later try do not count.
"""

from __future__ import annotations

import shlex
from collections import Counter
from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from typing import TypedDict

from pipeline.ingest.assignment_log import ShardAssignment, replacements
from pipeline.plan.journal import INGEST, NodeRef
from pipeline.rows import ImageRow, Row
from pipeline.storage import layout
from pipeline.storage.layout import IMAGES
from pipeline.storage.manifest import SampleCounts
from pipeline.storage.parquet import read_table
from pipeline.storage.store import Store

MOST = 0.5
"""With a larger share of failed samples, something else than the samples is likely wrong."""

# `in` is a keyword of Python, so this cannot be written as a class.
StageSamples = TypedDict("StageSamples", {"in": int, "kept": int, "failed": dict[str, int]})
"""The samples of a stage: in = kept + failed, the latter by reason."""


class StageCounts(TypedDict):
    """How far a stage is."""

    stage: str
    folder: str
    done: int
    """Shards that are done."""
    total: int
    """All shards."""
    samples: StageSamples


class FailedSample(TypedDict):
    """A sample that a stage could not do."""

    key: str
    name: str
    """Its name in the source."""
    stage: str
    reason: str | None
    detail: str | None
    """A line about the failure."""


def count(
    store: Store, stage: str, folder: str, shards: int, stem: str | None = None
) -> StageCounts:
    """How many of all `shards` a stage has done, and its samples: in = kept + failed by reason.

    With `stem` only the shards that begin so count, which are those of one source.

    The names of manifests say how many samples went in and how many failed. Only the manifests of
    shards with failures are opened, for the reasons.
    """
    counts = _counts(store, folder, stem)
    given = sum(samples.given for samples in counts.values())
    kept = given - sum(samples.failed for samples in counts.values())
    replaced: list[ShardAssignment] = []
    if folder == IMAGES:
        replaced = [row for row in _replaced(store) if row.replaces in counts]
    containers = {row.replaces for row in replaced if row.reason is None}
    failed: Counter[str] = Counter()
    with_failures = [shard for shard, samples in counts.items() if samples.failed]
    for manifest in store.manifests(folder, with_failures):
        if manifest.shard not in containers:
            failed.update(manifest.samples["failed"])
    # What came in at a later try is counted in its new shard only.
    for shard in containers:
        given -= counts[str(shard)].failed
    for row in replaced:
        if row.reason is not None:
            given -= 1
            failed[row.reason] -= 1
    samples_of_stage: StageSamples = {
        "in": given,
        "kept": kept,
        "failed": dict(+failed),
    }
    return {
        "stage": stage,
        "folder": folder,
        "done": len(counts),
        "total": shards,
        "samples": samples_of_stage,
    }


def _counts(store: Store, folder: str, stem: str | None) -> dict[str, SampleCounts]:
    """The samples of the finished shards that begin with `stem`; None: of all."""
    counts = store.counts(folder)
    if stem is None:
        return counts
    return {shard: own for shard, own in counts.items() if layout.stem_of(shard) == stem}


def failed_samples(store: Store, graph: Sequence[NodeRef]) -> Iterator[FailedSample]:
    """Every failed sample: key, name, stage, reason and detail, in the order of work."""
    yield from failed_images(store)
    for node in graph:
        yield from failed_in(store, node)


def failed_in(store: Store, node: NodeRef) -> Iterator[FailedSample]:
    """The samples that failed in one stage; none for a round, which only repeats them."""
    if node.kind != "signals":
        return
    for shard in store.with_failures(node.folder):
        images: list[ImageRow] = read_table(store, layout.images_table(shard), ImageRow)
        names = {image.key: image.name for image in images}
        rows: list[Row] = read_table(store, node.table(shard), Row)
        for row in rows:
            if row.failed:
                yield _failure(row, names[row.key], node.name)


def listing(store: Store, total: int) -> str:
    """How a user lists the failed samples."""
    return f"`fld status {shlex.quote(store.url)} --limit {total}` lists them"


@dataclass(frozen=True, slots=True)
class StageFailures:
    """What failed in one stage."""

    counts: StageCounts
    first: FailedSample

    @property
    def failed(self) -> int:
        return sum(self.counts["samples"]["failed"].values())

    @property
    def is_all(self) -> bool:
        """Whether the stage did no sample at all."""
        return self.counts["samples"]["kept"] == 0

    @property
    def is_most(self) -> bool:
        """Whether more than half failed, so that no single sample is likely to be at fault."""
        return self.failed > self.counts["samples"]["in"] * MOST

    def listing(self, store: Store) -> str:
        """How a user lists them."""
        return listing(store, self.failed)

    def __str__(self) -> str:
        samples = self.counts["samples"]
        what = "images" if self.counts["stage"] == INGEST else "samples"
        by_reason = [
            f"{reason} {count:,}" for reason, count in Counter(samples["failed"]).most_common()
        ]
        first = self.first
        detail = f": {first['detail']}" if first["detail"] else ""
        return (
            f"{self.failed:,} of {samples['in']:,} {what} failed in {self.counts['stage']} "
            f"({', '.join(by_reason)}); the first is {first['name']}: {first['reason']}{detail}"
        )


def in_ingest(store: Store, shards: int) -> StageFailures | None:
    """The images that did not come in; None if all did."""
    counts = count(store, INGEST, IMAGES, shards)
    first = next(failed_images(store), None)
    return StageFailures(counts, first) if first else None


def in_stage(store: Store, node: NodeRef, shards: int) -> StageFailures | None:
    """The samples that a stage could not do; None if it did all."""
    first = next(failed_in(store, node), None)
    if first is None:
        return None
    return StageFailures(count(store, node.name, node.folder, shards), first)


def by_stage(store: Store, graph: Sequence[NodeRef], shards: int) -> list[StageFailures]:
    """What failed in a run, in the order of work; stages without failures are left out."""
    found = [in_ingest(store, shards)]
    for node in graph:
        found.append(in_stage(store, node, shards))
    return [failures for failures in found if failures]


def failed_images(store: Store) -> Iterator[FailedSample]:
    """The images that failed, without those that came in at a later try."""
    replaced_shards = set()
    replaced_images = set()
    for assignment in _replaced(store):
        if assignment.reason:
            replaced_images.add((assignment.replaces, assignment.name))
        else:
            replaced_shards.add(assignment.replaces)
    for shard in store.with_failures(IMAGES):
        if shard in replaced_shards:
            continue
        rows: list[ImageRow] = read_table(store, layout.images_table(shard), ImageRow)
        for row in rows:
            if row.failed and (shard, row.name) not in replaced_images:
                yield _failure(row, row.name, INGEST)


def _replaced(store: Store) -> list[ShardAssignment]:
    """The replacements of failed rows whose new shard is done."""
    rows = replacements(store)
    if not rows:
        return []
    done = store.counts(IMAGES)
    return [row for row in rows if row.shard in done]


def _failure(row: ImageRow | Row, name: str, stage: str) -> FailedSample:
    return {
        "key": row.key,
        "name": name,
        "stage": stage,
        "reason": row.failed,
        "detail": row.detail,
    }
