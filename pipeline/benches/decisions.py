"""`fld bench decisions`: how fast a changed threshold is applied to stored signals.

Our side is the worker: it filters regions and triplets, and publishes the shard of the round, with
images in its tar. The baseline reads the same Parquet files with pyarrow, without making a Python
object of any value, and writes the same members with `webdataset.ShardWriter`. A third side is the
worker of an earlier commit, which is taken from the history of this project.

All figures are of processor time, so other programs on the machine matter less. The sides take
turns.
"""

from __future__ import annotations

import os
import statistics
import subprocess
import sys
import tarfile
import tempfile
import time
from collections.abc import Mapping, Sequence
from dataclasses import asdict, dataclass
from pathlib import Path

import pyarrow.parquet as pq
import webdataset

from pipeline.benches import decisions_at_4f27899
from pipeline.benches.stored_signals import (
    ANNOTATIONS,
    store_shard,
    stored_nodes,
    stored_state,
)
from pipeline.config.run import Entry, RoundsConfig
from pipeline.config.validation import Settings
from pipeline.errors import WorkerFailed
from pipeline.execution.worker import Worker
from pipeline.plan.graph import Node
from pipeline.storage import layout
from pipeline.storage.json_types import Json
from pipeline.storage.store import Store
from pipeline.storage.tars import read_tar
from stages import registry

EARLIER = "4f27899"
"""The commit that we compare with."""
PROJECT = Path(__file__).parents[2]
WARM_UP, MEASURED = layout.shard_name(0), layout.shard_name(1)
WARM_UP_SAMPLES = 32
Samples = Sequence[tuple[str, Mapping[str, bytes]]]


@dataclass(frozen=True, slots=True, kw_only=True)
class DecisionsBenchConfig:
    """Settings of `fld bench decisions`."""

    samples: int = 500
    """Samples of the shard, each with 63 annotations."""
    image_bytes: int = 20_000
    """Size of an image in bytes."""
    repeats: int = 5
    """Measurements of each side; they alternate, and the median counts."""
    earlier: bool = True
    """Also measure commit 4f27899; that needs git, and the history of the project."""
    folder: str = ""
    """Local folder to write to; empty: the system's temporary folder."""


def decisions(config: DecisionsBenchConfig) -> Json:
    """Compare the sides; `ratio` is our rate over that of the bare reading and writing."""
    with tempfile.TemporaryDirectory(prefix="fld-bench-", dir=config.folder or None) as temporary:
        scratch = Path(temporary)
        store = Store(str(scratch / "work"))
        store_shard(store, WARM_UP, WARM_UP_SAMPLES, config.image_bytes, seed=0)
        store_shard(store, MEASURED, config.samples, config.image_bytes, seed=1)
        tree = _earlier_tree(scratch) if config.earlier else None
        samples = _decided(store)
        seconds: dict[str, list[float]] = {"ours": [], "bare": [], "earlier": []}
        for _ in range(config.repeats):
            seconds["ours"].append(_decide(store))
            seconds["bare"].append(_read_and_write(store, samples, scratch))
            if tree is not None:
                seconds["earlier"].append(_decide_earlier(tree, store))
    rates = {}
    for side, times in seconds.items():
        rates[side] = config.samples / statistics.median(times) if times else None
    return _result(config, rates)


def _result(config: DecisionsBenchConfig, rates: Mapping[str, float | None]) -> Json:
    """The result of the bench from the rates, in samples per second."""
    ours, bare, earlier = rates["ours"], rates["bare"], rates["earlier"]
    assert ours is not None and bare is not None
    result: Json = {
        "name": "decisions",
        "ratio": ours / bare,
        "samples_per_second": ours,
        "baseline_samples_per_second": bare,
        "earlier_samples_per_second": earlier,
        "over_earlier": ours / earlier if earlier else None,
    }
    if earlier is None:
        result["without_earlier"] = f"no history with commit {EARLIER} here, or earlier=false"
    return {**result, "annotations": ANNOTATIONS, "settings": asdict(config)}


def decision_nodes() -> list[Node]:
    """The specialists, which are done, and the filters and the round, which are to do."""
    nodes = stored_nodes()
    _, region_config = registry.load("region_filter")
    _, triplet_config = registry.load("triplet_filter")
    nodes.append(_node("region", "region_filter", region_config(min_score=0.4), nodes))
    nodes.append(_node("triplet", "triplet_filter", triplet_config(), nodes))
    nodes.append(_node("round", "round", RoundsConfig(), nodes))
    return nodes


def _node(name: str, use: str, options: Settings, reads: Sequence[Node]) -> Node:
    is_round = name == "round"
    mark = "decided"
    return Node(
        name=f"0.{name}",
        entry=Entry(name=name, use=use, options=options),
        round=0,
        reads=tuple(node.name for node in reads),
        fingerprint=mark,
        folder=layout.round_folder(0, mark) if is_round else layout.signals_folder(name, mark),
        kind="round" if is_round else "signals",
    )


def _decide(store: Store) -> float:
    """Decide on both shards; the processor seconds of the second one."""
    nodes = decision_nodes()
    state = stored_state()
    todo = [node.name for node in nodes if not state.has(node.name)]
    worker = Worker(store.url, nodes, todo)
    worker(WARM_UP, state)
    started = time.process_time()
    worker(MEASURED, state)
    return time.process_time() - started


def _decided(store: Store) -> Samples:
    """The samples of the round's tar, after a first run."""
    _decide(store)
    with store.open(decision_nodes()[-1].tar(MEASURED)) as file:
        return list(read_tar(file))


def _read_and_write(store: Store, samples: Samples, scratch: Path) -> float:
    """Read the stored tables and write the samples; the processor seconds."""
    names = [layout.images_table(MEASURED)]
    for node in stored_nodes():
        names.append(node.table(MEASURED))
    pattern = f"{scratch}/bare-%06d{layout.TAR_SUFFIX}"
    started = time.process_time()
    for name in names:
        pq.read_table(store.path(name), use_threads=False)
    with webdataset.ShardWriter(pattern, maxcount=len(samples), verbose=0) as writer:
        for key, members in samples:
            writer.write({"__key__": key, **members})
    return time.process_time() - started


def _earlier_tree(scratch: Path) -> Path | None:
    """The files of commit `EARLIER`; None without git or without its history."""
    tree = scratch / "earlier"
    archive = scratch / "earlier.tar"
    command = ["git", "-C", str(PROJECT), "archive", f"--output={archive}", EARLIER]
    try:
        ended = subprocess.run(command, stderr=subprocess.DEVNULL, check=False)
    except FileNotFoundError:
        return None
    if ended.returncode:
        return None
    with tarfile.open(archive) as tar:
        tar.extractall(tree, filter="data")
    return tree


def _decide_earlier(tree: Path, store: Store) -> float:
    """As `_decide`, with the code of another commit in a process of its own.

    Raises:
        WorkerFailed: it failed; its message is on standard error.
    """
    # With -P, Python does not put the folder of the program before the tree.
    program = [sys.executable, "-P", decisions_at_4f27899.__file__]
    command = [*program, store.url, WARM_UP, MEASURED]
    environment = {**os.environ, "PYTHONPATH": str(tree)}
    ended = subprocess.run(
        command, env=environment, cwd=tree, stdout=subprocess.PIPE, text=True, check=False
    )
    if ended.returncode:
        raise WorkerFailed(f"commit {EARLIER} ended with exit code {ended.returncode}")
    return float(ended.stdout.split()[-1])
