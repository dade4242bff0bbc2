"""Numbers of a round: counts, changes, and scores against truth."""

from __future__ import annotations

from collections import Counter
from collections.abc import Callable, Mapping, Sequence
from typing import Any

import numpy as np
import pyarrow as pa
import pyarrow.parquet as pq

from pipeline.config.run import RunConfig
from pipeline.execution.reading import read_rows
from pipeline.plan.graph import Node
from pipeline.plan.shard_state import ShardState
from pipeline.quality import truth
from pipeline.refinement.changes import tally
from pipeline.schema import KINDS
from pipeline.storage import layout
from pipeline.storage.images import read_truth
from pipeline.storage.layout import IMAGES
from pipeline.storage.manifest import count_annotations, digest
from pipeline.storage.parquet import read_parquet
from pipeline.storage.store import Store

VERSION = 1  # of what is measured and how: another one measures anew


def measure(
    store: Store,
    run: RunConfig,
    node: Node,
    done: Mapping[str, ShardState],
    head: Node | None = None,
) -> dict[str, Any]:
    """`metrics.json` and `index.parquet` of a round, made anew only when its shards have changed. `head` is the round
    that it began with."""
    inputs = (run.refine.gate.held_out, head.fingerprint if head else "", _outputs([node], done))
    metrics = _once(
        store,
        layout.round_metrics(node.folder),
        inputs,
        lambda: _measure(store, run, node, done, head),
    )
    if not store.exists(layout.round_index(node.folder)):
        _publish_index(store, node, sorted(done))
    return metrics


def _measure(
    store: Store, run: RunConfig, node: Node, done: Mapping[str, ShardState], head: Node | None
) -> dict[str, Any]:
    kept: Counter[str] = Counter()
    dropped: dict[str, Counter[str]] = {kind: Counter() for kind in KINDS}
    failed: dict[str, Counter[str]] = {}
    scored: dict[str, list[np.ndarray]] = {"all": [], "trained": [], "held_out": []}
    changed: dict[str, Counter[str]] = {kind: Counter() for kind in KINDS}
    samples = 0
    for shard in sorted(done):
        known = read_truth(store, shard)
        rows = read_rows(store, node, shard)
        for kind, count in count_annotations([record.annotations for record in rows]).items():
            kept[kind] += count["kept"]
            dropped[kind].update(count["dropped"])
        samples += len(rows)
        for old, new in zip(read_rows(store, head, shard) if head else (), rows, strict=bool(head)):
            for kind, rules in tally(old.annotations, new.annotations).items():
                changed[kind].update(rules)
        for record in rows:
            for failure in record.failures:
                failed.setdefault(failure.stage, Counter())[failure.reason] += 1
            if record.key in known:
                scored["all"].append(truth.count_sample(record.annotations, known[record.key]))
                scored["held_out" if held_out(record.key, run) else "trained"].append(
                    scored["all"][-1]
                )
    _publish_index(store, node, sorted(done))
    return {
        "samples": samples,
        "kept": dict(kept),
        "dropped": {kind: dict(sorted(count.items())) for kind, count in dropped.items()},
        "failed": {stage: dict(sorted(reasons.items())) for stage, reasons in failed.items()},
        "changes": {kind: dict(sorted(rules.items())) for kind, rules in changed.items()}
        if head
        else None,
        "truth": {
            part: truth.summary(np.sum(each, axis=0)) for part, each in scored.items() if each
        }
        or None,
    }


def _once(
    store: Store, name: str, inputs: Any, make: Callable[[], dict[str, Any]], keep: bool = True
) -> dict[str, Any]:
    """What `make` gives, which depends on `inputs` alone, from file `name` where that is of the same ones."""
    mark = digest(str(VERSION), *map(str, inputs))
    if store.exists(name):
        found: dict[str, Any] = store.read_json(name)
        if found["inputs"] == mark:
            return found
    made = {"inputs": mark, **make()}
    if keep:
        store.publish_json(name, made)
    return made


def _outputs(nodes: Sequence[Node], done: Mapping[str, ShardState]) -> str:
    """The digest of all that `nodes` wrote and of what is known of the images."""
    return digest(
        *(
            done[shard].output(name)
            for name in (IMAGES, *(node.name for node in nodes))
            for shard in sorted(done)
        )
    )


def held_out(key: str, run: RunConfig) -> bool:
    """Whether a sample is kept from training, to judge rounds by: a function of its key alone."""
    return int(digest(key), 16) / 16 ** len(digest(key)) < run.refine.gate.held_out


def _publish_index(store: Store, node: Node, shards: Sequence[str]) -> None:
    tables = [read_parquet(store, layout.shard_index(node.folder, shard)) for shard in shards]
    with store.publishing(layout.round_index(node.folder)) as sink:
        pq.write_table(pa.concat_tables(tables), sink, compression="zstd")
