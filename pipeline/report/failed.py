"""The failures that the report shows one by one: images at ingest, samples in stages."""

from __future__ import annotations

import itertools
from collections.abc import Iterator
from dataclasses import dataclass

from pipeline.ingest import failures
from pipeline.ingest.assignment_log import count_shards
from pipeline.ingest.failures import FailedSample, StageCounts
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

    def stored_keys(self) -> list[str]:
        """The samples of `views` that have an image, each once."""
        keys: dict[str, None] = {}
        for view in self.views:
            if view.stage != INGEST:
                keys[view.key] = None
        return list(keys)


def read_failed(store: Store) -> Failed:
    """Only tables of shards with failures are read, and only as far as needed."""
    shards = count_shards(store)
    ingest = failures.count(store, INGEST, layout.IMAGES, shards)
    images = _number(ingest)
    total = images
    views = _views(failures.failed_images(store))
    for node in read_graph(store):
        if node.kind != "signals":
            continue
        counts = failures.count(store, node.name, node.folder, shards)
        failed = _number(counts)
        if failed:
            total += failed
            views += _views(failures.failed_in(store, node))
    return Failed(total=total, images=images, views=views)


def _number(counts: StageCounts) -> int:
    """How many samples failed in a stage."""
    failed = counts["samples"]["failed"]
    return sum(failed.values())


def _views(samples: Iterator[FailedSample]) -> list[FailedView]:
    """The first failures of a stage."""
    views = []
    for sample in itertools.islice(samples, MOST_FAILED):
        view = FailedView(
            key=sample["key"],
            name=sample["name"],
            stage=sample["stage"],
            reason=sample["reason"] or "",
            detail=sample["detail"] or "",
        )
        views.append(view)
    return views
