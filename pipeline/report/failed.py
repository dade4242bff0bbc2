"""The failures that the report shows one by one: images at ingest, samples in stages."""

from __future__ import annotations

import itertools
from collections.abc import Iterator
from dataclasses import dataclass

from pipeline.ingest import failures
from pipeline.ingest.assignment_log import count_shards
from pipeline.ingest.failures import FailedSample
from pipeline.plan.journal import INGEST, read_graph
from pipeline.report.views import FailedView
from pipeline.storage import layout
from pipeline.storage.store import Store

MOST_FAILED = 24
"""How many failures of one stage the report shows; all are counted."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Failed:
    """All failures of a work folder, the first ones in full."""

    total: int
    """How many there are; a sample that failed in two stages counts twice."""
    images: int
    """How many of them are images that did not come in."""
    views: list[FailedView]
    """The first `MOST_FAILED` of each stage, in the order of work."""


def read_failed(store: Store) -> Failed:
    """Only tables of shards with failures are read, and only as far as needed."""
    shards = count_shards(store)
    stages = [(failures.count(store, INGEST, layout.IMAGES, shards), failures.failed_images(store))]
    for node in read_graph(store):
        if node.kind != "signals":
            continue
        counts = failures.count(store, node.name, node.folder, shards)
        stages.append((counts, failures.failed_in(store, node)))
    total = 0
    views: list[FailedView] = []
    for counts, samples in stages:
        failed = sum(counts["samples"]["failed"].values())
        total += failed
        if failed:
            views += _views(samples)
    ingest, _ = stages[0]
    images = sum(ingest["samples"]["failed"].values())
    return Failed(total=total, images=images, views=views)


def _views(samples: Iterator[FailedSample]) -> Iterator[FailedView]:
    for sample in itertools.islice(samples, MOST_FAILED):
        yield FailedView(
            key=sample["key"],
            name=sample["name"],
            stage=sample["stage"],
            reason=sample["reason"] or "",
            detail=sample["detail"] or "",
        )
