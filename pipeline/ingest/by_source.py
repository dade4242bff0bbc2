"""How far the images of each source of a run are, stage by stage."""

from __future__ import annotations

from collections.abc import Iterator, Mapping, Sequence
from typing import TypedDict

from pipeline.ingest import failures
from pipeline.ingest.assignment import Shards
from pipeline.ingest.assignment_log import shards_by_stem
from pipeline.ingest.known_sources import setting
from pipeline.plan.journal import INGEST, NodeRef
from pipeline.storage.layout import IMAGES
from pipeline.storage.sources import read_sources
from pipeline.storage.store import Store


class SourceCounts(TypedDict):
    """The stages of one source."""

    source: str
    """Its name."""
    stages: list[failures.StageCounts]


def counts_by_source(store: Store, graph: Sequence[NodeRef]) -> list[SourceCounts]:
    """Shards and samples of each stage by source; empty where the only source has no name."""
    work = read_sources(store)
    shards = shards_by_stem(store)
    nodes = [(INGEST, IMAGES), *((node.name, node.folder) for node in graph)]
    found: list[SourceCounts] = []
    for name in sorted(work.named):
        stem = work.stem(name)
        stages = []
        for stage, folder in nodes:
            stages.append(failures.count(store, stage, folder, shards.get(stem, 0), stem))
        found.append({"source": name, "stages": stages})
    return found


def without_images(store: Store, shards: Mapping[str, Shards]) -> Iterator[str]:
    """A line for each source that brought nothing; `shards` are those of each source by name."""
    work = read_sources(store)
    for name, own in shards.items():
        counts = failures.count(store, INGEST, IMAGES, len(own), work.stem(name))["samples"]
        if own and not counts["kept"]:
            reasons = ", ".join(f"{why} {count:,}" for why, count in counts["failed"].items())
            yield (
                f"{setting(name)}: none of its {counts['in']:,} images came in ({reasons}); "
                f"`fld status {store.url}` lists them"
            )
