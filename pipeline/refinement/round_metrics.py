"""What a round counts: annotations kept and dropped, failures, changes, scores against truth."""

from __future__ import annotations

from collections import Counter
from collections.abc import Mapping, Sequence

import numpy as np
import pyarrow as pa
import pyarrow.parquet as pq

from pipeline.config.run import RunConfig
from pipeline.execution.reading import read_rows
from pipeline.plan.graph import Node
from pipeline.plan.shard_state import ShardState
from pipeline.quality import truth
from pipeline.refinement.changes import tally
from pipeline.refinement.memo import outputs_digest, remembered
from pipeline.schema import KINDS, Annotations, Record
from pipeline.storage import layout
from pipeline.storage.images import read_truth
from pipeline.storage.json_types import Json
from pipeline.storage.manifest import count_annotations, digest
from pipeline.storage.parquet import read_parquet
from pipeline.storage.store import Store

ALL, TRAINED, HELD_OUT = "all", "trained", "held_out"
"""The parts of the samples for which `metrics.json` gives scores."""

Counters = dict[str, Counter[str]]
"""By kind or stage, counts by reason."""


def measure(
    store: Store,
    run: RunConfig,
    node: Node,
    states: Mapping[str, ShardState],
    head: Node | None = None,
) -> Json:
    """`metrics.json` of the round that `node` wrote.

    `head` is the round that it began with, None for round 0. The metrics and `index.parquet` are
    made again only when the shards have changed.
    """
    head_mark = head.fingerprint if head else ""
    shards = sorted(states)
    inputs = (
        run.refine.gate.held_out,
        head_mark,
        outputs_digest([node], states),
    )

    def compute() -> Json:
        counts = RoundCounts(run)
        for shard in shards:
            before = None
            if head:
                before = read_rows(store, head, shard)
            records = read_rows(store, node, shard)
            known = read_truth(store, shard)
            counts.add_shard(records, before, known)
        _publish_index(store, node, shards)
        return counts.as_json(with_changes=head is not None)

    name = layout.round_metrics(node.folder)
    metrics = remembered(store, name, inputs, compute, keep=True)
    # The index may be missing although the metrics are there, as it is no part of them.
    if not store.exists(layout.round_index(node.folder)):
        _publish_index(store, node, shards)
    return metrics


class RoundCounts:
    """The counts of a round, added up shard by shard."""

    def __init__(self, run: RunConfig) -> None:
        self.run = run
        self.samples = 0
        self.kept: Counter[str] = Counter()
        """Kept annotations by kind."""
        self.dropped: Counters = {kind: Counter() for kind in KINDS}
        """Dropped annotations by kind and reason."""
        self.failed: Counters = {}
        """Failures by stage and reason."""
        self.changed: Counters = {kind: Counter() for kind in KINDS}
        """By kind, what became of the annotations of the head and of the new ones."""
        self.scored: dict[str, list[np.ndarray]] = {ALL: [], TRAINED: [], HELD_OUT: []}
        """The counts of the samples with truth, by part: each (len(METRICS), 3) int64."""

    def add_shard(
        self,
        records: Sequence[Record],
        before: Sequence[Record] | None,
        known: Mapping[str, Annotations],
    ) -> None:
        """Count one shard.

        Args:
            records: the records of the round.
            before: those of the head; None for round 0, which has none.
            known: the truth, by the key of the sample.
        """
        self.samples += len(records)
        labels = [record.annotations for record in records]
        counts = count_annotations(labels)
        for kind, count in counts.items():
            self.kept[kind] += count["kept"]
            self.dropped[kind].update(count["dropped"])
        if before is not None:
            self._add_changes(before, records)
        for record in records:
            for failure in record.failures:
                reasons = self.failed.setdefault(failure.stage, Counter())
                reasons[failure.reason] += 1
            if record.key in known:
                self._add_score(record, known[record.key])

    def _add_changes(self, before: Sequence[Record], after: Sequence[Record]) -> None:
        """Count what became of the labels; both rounds have the same samples in the same order."""
        for old, new in zip(before, after, strict=True):
            fates = tally(old.annotations, new.annotations)
            for kind, counts in fates.items():
                self.changed[kind].update(counts)

    def _add_score(self, record: Record, known: Annotations) -> None:
        """Count a sample with truth in its part and in the whole."""
        score = truth.count_sample(record.annotations, known)
        part = HELD_OUT if held_out(record.key, self.run) else TRAINED
        self.scored[ALL].append(score)
        self.scored[part].append(score)

    def as_json(self, *, with_changes: bool) -> Json:
        """The content of `metrics.json`. Scores are None when no sample has truth."""
        scores: Json = {}
        for part, counts in self.scored.items():
            if counts:
                total = np.sum(counts, axis=0)
                scores[part] = truth.summary(total)
        changes = _sorted(self.changed) if with_changes else None
        return {
            "samples": self.samples,
            "kept": dict(self.kept),
            "dropped": _sorted(self.dropped),
            "failed": _sorted(self.failed),
            "changes": changes,
            "truth": scores or None,
        }


def held_out(key: str, run: RunConfig) -> bool:
    """Whether a sample is kept out of training, to judge rounds by. It depends on its key alone."""
    hashed = digest(key)
    # The digest as a number in [0, 1).
    place = int(hashed, 16) / 16 ** len(hashed)
    return place < run.refine.gate.held_out


def _sorted(counts: Counters) -> dict[str, dict[str, int]]:
    """The counts as plain values, the inner names in alphabetical order."""
    plain = {}
    for name, count in counts.items():
        plain[name] = dict(sorted(count.items()))
    return plain


def _publish_index(store: Store, node: Node, shards: Sequence[str]) -> None:
    """Write `index.parquet`: the indices of all shards, one after the other."""
    tables = []
    for shard in shards:
        name = layout.shard_index(node.folder, shard)
        tables.append(read_parquet(store, name))
    index = pa.concat_tables(tables)
    with store.publishing(layout.round_index(node.folder)) as sink:
        pq.write_table(index, sink, compression="zstd")
