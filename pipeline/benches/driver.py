"""`fld bench driver`, `planning` and `memory`: what the driver does beside the workers.

`driver`: all that `fld run` does between its lease and its report, over a finished run of round 0
and one more round, of which no sum is kept: list the source, compare all manifests, add up the
summaries, measure the thresholds, ask the gate, choose what to train on, and write the rounds.
`planning`: what `fld plan` does where the stages are done on every second shard. `memory`: as
`driver`, with more and more images in the same number of shards.
"""

from __future__ import annotations

import tempfile
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import asdict, dataclass
from pathlib import Path

from pipeline.benches.apart import Cost, cost_of
from pipeline.benches.simulated import SimulatedExecutor, publish_source, simulated_run
from pipeline.config.run import RunConfig
from pipeline.ingest.assignment import list_sources
from pipeline.ingest.source_files import (
    announce_changes,
    names_of,
    read_listings,
    record_files,
)
from pipeline.plan import graph
from pipeline.refinement.executor import run_loop
from pipeline.refinement.loop import Loop
from pipeline.refinement.planning import plan_run
from pipeline.storage import layout_journal
from pipeline.storage.json_types import Json
from pipeline.storage.store import Store

STAGES = 10
"""Stages whose manifests `planning` compares."""


@dataclass(frozen=True, slots=True, kw_only=True)
class DriverBenchConfig:
    """Settings of `fld bench driver`."""

    shards: int = 126_000
    """Shards of the simulated work folder; each needs some 35 small files."""
    images: int = 1000
    """Images in one shard."""
    folder: str = ""
    """Local folder to write to; empty: the system's temporary folder."""


@dataclass(frozen=True, slots=True, kw_only=True)
class PlanningBenchConfig:
    """Settings of `fld bench planning`."""

    shards: int = 126_000
    """Shards of the simulated work folder; each needs some 6 small files."""
    folder: str = ""
    """Local folder to write to; empty: the system's temporary folder."""


@dataclass(frozen=True, slots=True, kw_only=True)
class MemoryBenchConfig:
    """Settings of `fld bench memory`."""

    images: tuple[int, ...] = (1000, 10_000, 50_000)
    """Images of each measurement."""
    shards: int = 50
    """Shards that they are divided into."""
    folder: str = ""
    """Local folder to write to; empty: the system's temporary folder."""


def driver(config: DriverBenchConfig) -> Json:
    """What the driver takes for a finished run, in a process of its own."""
    cost = _cost_of_run(config.folder, config.shards, config.images)
    return {
        "name": "driver",
        "shards": config.shards,
        "images": config.shards * config.images,
        **asdict(cost),
    }


def planning(config: PlanningBenchConfig) -> Json:
    """What `fld plan` takes for a run that is half done, in a process of its own."""
    with _simulated(config.folder, config.shards) as (folder, run):
        store = Store(run.work)
        executor = SimulatedExecutor(store, run, images=1)
        states = executor.ingest(list_sources(run))
        half = dict(list(states.items())[::2])
        executor.annotate("half", graph.round_zero(run)[:STAGES], half, None)
        cost = cost_of("pipeline.benches.driver:drive_plan", folder)
    return {"name": "planning", "shards": config.shards, "stages": STAGES, **asdict(cost)}


def memory(config: MemoryBenchConfig) -> Json:
    """The driver's peak of memory by the number of images."""
    peaks = {}
    for images in config.images:
        cost = _cost_of_run(config.folder, config.shards, images // config.shards)
        peaks[images] = cost.peak_gb
    return {"name": "memory", "shards": config.shards, "peak_gb": peaks}


def drive(folder: Path) -> None:
    """What `fld run` does when all shards are done."""
    run = simulated_run(folder)
    store = Store(run.work)
    listings = read_listings(run)
    announce_changes(store, run.all_sources, listings)
    record_files(store, listings)
    run_loop(store, run, names_of(listings))


def drive_plan(folder: Path) -> None:
    """What `fld plan` does."""
    run = simulated_run(folder)
    plan_run(Store(run.work), run, list_sources(run))


def _cost_of_run(folder: str, shards: int, images: int) -> Cost:
    """What the driver takes for a finished run of so many images in each shard."""
    with _simulated(folder, shards) as (place, run):
        store = Store(run.work)
        loop = Loop(store, run, SimulatedExecutor(store, run, images))
        loop.rounds(list_sources(run))
        store.remove(layout_journal.MEASURED)
        return cost_of("pipeline.benches.driver:drive", place)


@contextmanager
def _simulated(folder: str, shards: int) -> Iterator[tuple[Path, RunConfig]]:
    """A folder with a source, which is removed at the end, and the settings of a run there."""
    with tempfile.TemporaryDirectory(prefix="fld-driver-", dir=folder or None) as name:
        place = Path(name)
        publish_source(place, shards)
        yield place, simulated_run(place)
