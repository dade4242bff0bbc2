"""The nodes of the present run, as the journal keeps them for readers such as `fld status`."""

from __future__ import annotations

from collections.abc import Iterable, Sequence
from dataclasses import asdict, dataclass
from typing import Literal

from pipeline.plan.graph import Node
from pipeline.storage import layout, layout_journal
from pipeline.storage.store import Store

INGEST = "ingest"
"""How ingest is called where stages are listed. It has no node."""
SUMMARY = "summary"
"""The kind of a node that only counts what others have made."""


@dataclass(frozen=True, slots=True, kw_only=True)
class NodeRef:
    """One node of a run: enough to find its files without the run's settings."""

    name: str
    """ROUND.STAGE."""
    folder: str
    kind: Literal["signals", "round", "summary"]
    round: int

    @property
    def stage(self) -> str:
        """The name without the number of the round."""
        return self.name.partition(".")[2]

    @property
    def is_round(self) -> bool:
        return self.kind == "round"

    def table(self, shard: str) -> str:
        """The name of the Parquet table that this node writes for a shard."""
        if self.is_round:
            return layout.round_table(self.folder, shard)
        return layout.signals_table(self.folder, shard)


def read_graph(store: Store) -> list[NodeRef]:
    """The nodes of the present run in the order of work, none before the first run."""
    if not store.exists(layout_journal.GRAPH):
        return []
    return [NodeRef(**node) for node in store.read_json_list(layout_journal.GRAPH)]


def publish_graph(store: Store, nodes: Sequence[Node]) -> None:
    """Write down the nodes of one round, behind those of the rounds before it.

    The settings of the run that begins a round are kept for it.
    """
    number = nodes[0].round
    earlier: Iterable[NodeRef] = ()
    if number > 0:
        earlier = (node for node in read_graph(store) if node.round < number)
    refs = [*earlier, *map(ref, nodes)]
    store.publish_json(layout_journal.GRAPH, [asdict(ref) for ref in refs])
    settings = layout_journal.round_settings(nodes[-1].folder)
    if store.exists(layout.CONFIG) and not store.exists(settings):
        store.publish(settings, store.read(layout.CONFIG))


def ref(node: Node) -> NodeRef:
    """What the journal keeps of a node."""
    return NodeRef(
        name=node.name,
        folder=node.folder,
        kind=node.kind,
        round=node.round,
    )
