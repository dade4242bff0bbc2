"""From each annotation to the signals that it was made from.

A round's manifest names the outputs that the round read on a shard. The folder of each output is
found by its digest, and the annotation's id is looked up in its tables. With the shard, a folder's
name leads to its manifest, and so to the exact bytes.
"""

from __future__ import annotations

from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass

import pyarrow.parquet as pq

from pipeline.plan.journal import read_graph
from pipeline.release.tables import TYPES
from pipeline.rows import Record
from pipeline.schema import KINDS
from pipeline.storage import layout
from pipeline.storage.layout import IMAGES
from pipeline.storage.store import Store

GIVEN = "given"
"""Instead of a folder: the label came with the image."""


@dataclass(frozen=True, slots=True, kw_only=True)
class LineageRow:
    """Where one annotation comes from."""

    key: str
    id: str
    """Of the annotation."""
    type: str
    """One of `pipeline.release.tables.TYPES`."""
    signals: list[str]
    """STAGE-FINGERPRINT of the stage that made it, then of those that revised it, by round and
    name. `given` stands for the source of the images."""
    parents: list[str]
    """The annotations that it was made from."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Signals:
    """A node that a round is made of, and where its output lies."""

    name: str
    """ROUND.STAGE."""
    folder: str

    @property
    def round(self) -> int:
        return int(self.name.partition(".")[0])


def signals_of(
    store: Store,
    round_folder: str,
    shard: str,
) -> list[Signals]:
    """The nodes that a round was made of, directly or through its head, by round and name.

    A node has one folder for all shards, so one shard is enough to find them.
    """
    (manifest,) = store.manifests(round_folder, [shard])
    graph = {node.name: node.folder for node in read_graph(store)}
    found: list[Signals] = []
    for name in manifest.reads:
        if name == IMAGES:
            continue
        folder = _folder_of(
            store,
            name,
            manifest.reads[name],
            shard,
            graph,
        )
        if folder is None:
            continue
        if layout.is_round(folder):
            found += signals_of(store, folder, shard)
        else:
            found.append(Signals(name=name, folder=folder))
    return sorted(found, key=lambda node: (node.round, node.name))


def lineage_rows(
    records: Sequence[Record],
    makers: Mapping[str, Mapping[tuple[str, str], Sequence[Signals]]],
) -> list[LineageRow]:
    """A row for each annotation of some released records; `makers` as `makers_in` finds them."""
    rows = []
    for record in records:
        for kind, type_ in TYPES.items():
            for annotation in getattr(record.annotations, kind):
                nodes = makers[kind].get((record.key, annotation.id), ())
                signals = _names(nodes, annotation.id)
                if annotation.locked:
                    signals.insert(0, GIVEN)
                rows.append(
                    LineageRow(
                        key=record.key,
                        id=annotation.id,
                        type=type_,
                        signals=signals,
                        parents=list(annotation.parents),
                    )
                )
    return rows


def makers_in(
    store: Store,
    signals: Sequence[Signals],
    shard: str,
) -> dict[str, dict[tuple[str, str], list[Signals]]]:
    """By kind and (key, id): the signals of a shard that have this annotation, in their order."""
    found: dict[str, dict[tuple[str, str], list[Signals]]] = {kind: {} for kind in KINDS}
    for node in signals:
        table = layout.signals_table(node.folder, shard)
        if not store.exists(table):
            continue
        for kind in KINDS:
            makers = found[kind]
            for place in _ids(store, table, kind):
                nodes = makers.setdefault(place, [])
                nodes.append(node)
    return found


def _names(nodes: Sequence[Signals], id_: str) -> list[str]:
    """The names of the signals with an annotation, those of its maker first.

    An id is ROUND.STAGE.KIND.NUMBER, so it tells the maker.
    """
    maker = id_.rsplit(".", 2)[0]
    ordered = sorted(nodes, key=lambda node: node.name != maker)
    return [layout.signals_name(node.folder) for node in ordered]


def _ids(
    store: Store,
    table: str,
    kind: str,
) -> Iterator[tuple[str, str]]:
    """(key, id) of each annotation of one kind; the other columns of the table are not read."""
    column = f"annotations.{kind}.list.element.id"
    with store.open(table) as file:
        rows = pq.ParquetFile(file, pre_buffer=False).read(["key", column], use_threads=False)
    for row in rows.to_pylist():
        annotations = row["annotations"] or {}
        for annotation in annotations.get(kind) or ():
            yield row["key"], annotation["id"]


def _folder_of(
    store: Store,
    name: str,
    output: str,
    shard: str,
    graph: Mapping[str, str],
) -> str | None:
    """The folder in which a node has written `output`, None if it is gone."""
    number, _, stage = name.partition(".")
    folders = [graph[name]] if name in graph else []
    if stage == "round":
        rounds = [layout.named_round(each) for each in store.list(layout.ROUNDS)]
        folders += [each for each in rounds if layout.round_name(each).startswith(f"{number:0>2}-")]
    else:
        signals = store.list(layout.SIGNALS)
        folders += [
            layout.named_signals(each) for each in signals if each.rpartition("-")[0] == stage
        ]
    for folder in folders:
        digests = store.done(folder).get(shard)
        if digests is not None and digests.output == output:
            return folder
    return None
