"""What a round counts: annotations kept and dropped, failures, changes, scores against truth."""

from __future__ import annotations

from collections import Counter
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass, field
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
from pipeline.refinement.memo import Json, outputs_digest, remembered
from pipeline.schema import KINDS, Annotations, Record
from pipeline.storage import layout
from pipeline.storage.images import read_truth
from pipeline.storage.manifest import count_annotations, digest
from pipeline.storage.parquet import read_parquet
from pipeline.storage.store import Store

ALL, TRAINED, HELD_OUT = "all", "trained", "held_out"
"""The parts of the samples for which `metrics.json` gives scores."""


def measure(
    store: Store,
    run: RunConfig,
    node: Node,
    states: Mapping[str, ShardState],
    head: Node | None = None,
) -> Json:
    """`metrics.json` of the round that `node` wrote. `head` is the round that it began with.

    The metrics and `index.parquet` are made again only when the shards have changed.
    """
    head_mark = head.fingerprint if head else ""
    inputs = (run.refine.gate.held_out, head_mark, outputs_digest([node], states))

    def compute() -> Json:
        counts = RoundCounts(run)
        for shard in sorted(states):
            before = read_rows(store, head, shard) if head else None
            counts.add_shard(read_rows(store, node, shard), before, read_truth(store, shard))
        _publish_index(store, node, sorted(states))
        return counts.as_json(with_changes=head is not None)

    metrics = remembered(store, layout.round_metrics(node.folder), inputs, compute, keep=True)
    if not store.exists(layout.round_index(node.folder)):
        _publish_index(store, node, sorted(states))
    return metrics


@dataclass
class RoundCounts:
    """The counts of a round, added up shard by shard."""

    run: RunConfig
    samples: int = 0
    kept: Counter[str] = field(default_factory=Counter)
    dropped: dict[str, Counter[str]] = field(default_factory=lambda: _counters(KINDS))
    failed: dict[str, Counter[str]] = field(default_factory=dict)
    changed: dict[str, Counter[str]] = field(default_factory=lambda: _counters(KINDS))
    scored: dict[str, list[np.ndarray]] = field(
        default_factory=lambda: {ALL: [], TRAINED: [], HELD_OUT: []}
    )

    def add_shard(
        self,
        records: Sequence[Record],
        before: Sequence[Record] | None,
        known: Mapping[str, Annotations],
    ) -> None:
        """Count the records of a shard; `before` are the head's, `known` is the truth by key."""
        self.samples += len(records)
        counts = count_annotations([record.annotations for record in records])
        for kind, count in counts.items():
            self.kept[kind] += count["kept"]
            self.dropped[kind].update(count["dropped"])
        if before is not None:
            for old, new in zip(before, records, strict=True):
                for kind, rules in tally(old.annotations, new.annotations).items():
                    self.changed[kind].update(rules)
        for record in records:
            for failure in record.failures:
                self.failed.setdefault(failure.stage, Counter())[failure.reason] += 1
            if record.key in known:
                score = truth.count_sample(record.annotations, known[record.key])
                part = HELD_OUT if held_out(record.key, self.run) else TRAINED
                self.scored[ALL].append(score)
                self.scored[part].append(score)

    def as_json(self, *, with_changes: bool) -> Json:
        """The content of `metrics.json`. Scores are None when no sample has truth."""
        scores: Json = {}
        for part, counts in self.scored.items():
            if counts:
                scores[part] = truth.summary(np.sum(counts, axis=0))
        return {
            "samples": self.samples,
            "kept": dict(self.kept),
            "dropped": _sorted(self.dropped),
            "failed": _sorted(self.failed),
            "changes": _sorted(self.changed) if with_changes else None,
            "truth": scores or None,
        }


def held_out(key: str, run: RunConfig) -> bool:
    """Whether a sample is kept out of training, to judge rounds by. It depends on its key alone."""
    hashed = digest(key)
    return int(hashed, 16) / 16 ** len(hashed) < run.refine.gate.held_out


def _counters(names: Iterable[str]) -> dict[str, Counter[str]]:
    return {name: Counter() for name in names}


def _sorted(counts: Mapping[str, Counter[str]]) -> dict[str, Any]:
    return {name: dict(sorted(count.items())) for name, count in counts.items()}


def _publish_index(store: Store, node: Node, shards: Sequence[str]) -> None:
    tables = [read_parquet(store, layout.shard_index(node.folder, shard)) for shard in shards]
    with store.publishing(layout.round_index(node.folder)) as sink:
        pq.write_table(pa.concat_tables(tables), sink, compression="zstd")
