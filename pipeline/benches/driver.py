"""`fld bench driver` and `fld bench planning`: what the driver does beside the workers.

`driver`: all that `fld run` does between its lease and its report, over a finished run of round 0
and one more round, of which no sum is kept: list the source, compare all manifests, add up the
summaries, measure the thresholds, ask the gate, choose what to train on, and write the rounds.
`planning`: compare the manifests of stages of which every second shard is done.
"""

from __future__ import annotations

import tempfile
from dataclasses import asdict, dataclass
from pathlib import Path

from pipeline.benches.apart import cost_of
from pipeline.benches.simulated import SimulatedExecutor, publish_source, simulated_run
from pipeline.ingest.source_files import announce_changes, read_listing, record_files
from pipeline.refinement.executor import run_loop
from pipeline.refinement.loop import Loop
from pipeline.storage import layout
from pipeline.storage.json_types import Json
from pipeline.storage.store import Store


@dataclass(frozen=True, slots=True, kw_only=True)
class DriverBenchConfig:
    """Settings of `fld bench driver`."""

    shards: int = 126_000
    """Shards of the simulated work folder; each needs some 25 small files."""
    images: int = 1000
    """Images in one shard."""
    folder: str = ""
    """Local folder to write to; empty: the system's temporary folder."""


def driver(config: DriverBenchConfig) -> Json:
    """What the driver takes for a finished run, in a process of its own."""
    with tempfile.TemporaryDirectory(prefix="fld-driver-", dir=config.folder or None) as folder:
        publish_source(Path(folder), config.shards)
        run = simulated_run(Path(folder))
        store = Store(run.work)
        executor = SimulatedExecutor(store, run, config.images)
        Loop(store, run, executor).rounds(read_listing(run.source).names)
        store.remove(layout.MEASURED)
        cost = cost_of("pipeline.benches.driver:drive", Path(folder))
    return {
        "name": "driver",
        "shards": config.shards,
        "images": config.shards * config.images,
        **asdict(cost),
    }


def drive(folder: Path) -> None:
    """What `fld run` does when all shards are done."""
    run = simulated_run(folder)
    store = Store(run.work)
    listing = read_listing(run.source)
    announce_changes(store, run.source, listing)
    record_files(store, listing)
    run_loop(store, run, listing.names)
