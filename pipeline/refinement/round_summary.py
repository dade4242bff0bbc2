"""What is counted on each shard of a round: everything that the driver must know of its samples."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import asdict, dataclass, field

from pipeline.execution.reading import read_rows
from pipeline.plan.graph import Node
from pipeline.quality.statistics import statistics_of
from pipeline.quality.summary import Summary
from pipeline.refinement.gate import count_paired
from pipeline.refinement.round_metrics import RoundCounts
from pipeline.rows import IndexRow, Record
from pipeline.storage import layout
from pipeline.storage.images import read_truth
from pipeline.storage.parquet import read_table
from pipeline.storage.round_parts import round_part
from pipeline.storage.store import Store
from pipeline.training.selection import HeldOut, Selection, count_selectable
from stages.base import ADDED


@dataclass(frozen=True, slots=True, kw_only=True)
class RoundSummaryConfig:
    """What decides which samples are counted where."""

    held_out: float
    """`refine.gate.held_out`."""
    held_out_human: float = field(default=0.0, metadata=ADDED)
    """`refine.gate.held_out_human`."""
    folds: int
    """`refine.folds`."""
    texts: tuple[str, ...]
    """`refine.sparse.texts`."""


class RoundSummary:
    """Counts a shard of a round; each part is declared where it is read."""

    version = 2

    def __init__(self, config: RoundSummaryConfig) -> None:
        self.config = config
        self.held_out = HeldOut(share=config.held_out, human_share=config.held_out_human)

    def __call__(self, store: Store, nodes: Sequence[Node], shard: str) -> Summary:
        """`nodes` are the round and, before it, the head that it began with, if there is one."""
        *heads, node = nodes
        records: list[Record] = read_rows(store, node, shard)
        before: list[Record] | None = None
        for head in heads:
            before = read_rows(store, head, shard)
        known = read_truth(store, shard)
        counts = RoundCounts(self.held_out)
        counts.add_shard(records, before, known)
        summary: Summary = {
            "samples": len(records),
            "metrics": counts.summary(),
            "statistics": statistics_of(records).summary(),
            **self._index_counts(store, node, shard),
        }
        if before is not None:
            summary["paired"] = count_paired(before, records, known, self.held_out)
        return summary

    def _index_counts(self, store: Store, node: Node, shard: str) -> Summary:
        """What the index tells: how many samples can be trained on, and where keys are found."""
        name = layout.shard_index(node.folder, shard)
        rows: list[IndexRow] = read_table(store, name, IndexRow)
        config = self.config
        selection = Selection(held_out=self.held_out, folds=config.folds, texts=config.texts)
        human = self.held_out.human_keys(store, shard)
        wanted = set(config.texts)
        lacking = sum(not wanted <= set(row.granularities) for row in rows)
        part = asdict(round_part(shard, rows))
        return {
            "lacking_texts": lacking,
            "selectable": {shard: count_selectable(rows, selection, human)},
            "parts": {shard: part},
        }
