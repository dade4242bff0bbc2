"""Everything that happened to one sample: `fld explain`. Found by its key or its name in the source."""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass
from typing import Any

import pyarrow.compute as pc
import pyarrow.parquet as pq

from pipeline.ingest.listing import replacements
from pipeline.refinement.changes import changes
from pipeline.schema import Annotations, Failure, ImageRow, Record, Row
from pipeline.storage import layout
from pipeline.storage.arrow import to_dict
from pipeline.storage.images import read_given, read_truth
from pipeline.storage.layout import IMAGES
from pipeline.storage.parquet import read_table
from pipeline.storage.store import Store


@dataclass(frozen=True, slots=True, kw_only=True)
class Told:
    """What one stage said of the sample."""

    stage: str
    folder: str
    row: Row


@dataclass(frozen=True, slots=True, kw_only=True)
class Chapter:
    """The sample in one round; `status` is the gate's, None while the round is being made."""

    round: str
    status: str | None
    failures: list[Failure]
    annotations: Annotations


@dataclass(frozen=True, slots=True, kw_only=True)
class Story:
    """One sample. `image` is how it came in (or why not) into `shard`, `tries` the failed tries before."""

    image: ImageRow
    shard: str
    tries: list[tuple[str, ImageRow]]
    given: Annotations
    truth: Annotations | None
    stages: list[Told]
    rounds: list[Chapter]


def tell(store: Store, name: str) -> Story:
    """Raises:
    ValueError: no sample has that key or name.
    """
    found = _find(store, name)
    if not found:
        raise ValueError(
            f"{name}: no such sample in {store.url}; keys and names stand in images/*.parquet"
        )
    shard, image = next((each for each in found if each[1].failed is None), found[-1])
    stages, made = [], []
    for node in (
        store.read_json(layout.GRAPH) if store.exists(layout.GRAPH) and not image.failed else []
    ):
        folder, is_round = node["folder"], node["kind"] == "round"
        table = (
            layout.round_table(folder, shard) if is_round else layout.signals_table(folder, shard)
        )
        rows = read_table(store, table, Record if is_round else Row) if store.exists(table) else []
        for row in (row for row in rows if row.key == image.key):
            if is_round:
                made.append(_chapter(store, folder, row))
            else:
                stages.append(Told(stage=node["name"], folder=folder, row=row))
    known = image.failed is None
    return Story(
        image=image,
        shard=shard,
        tries=[each for each in found if each != (shard, image)],
        given=(read_given(store, shard) if known else {}).get(image.key, Annotations()),
        truth=(read_truth(store, shard) if known else {}).get(image.key),
        stages=stages,
        rounds=made,
    )


def as_json(story: Story) -> dict[str, Any]:
    """Plain values; a round after the first also has what it changed."""
    value = {"key": story.image.key, "name": story.image.name, **to_dict(story)}
    value["tries"] = [{"shard": shard, **to_dict(row)} for shard, row in story.tries]
    for i in range(1, len(story.rounds)):
        made = changes(story.rounds[i - 1].annotations, story.rounds[i].annotations)
        value["rounds"][i]["changes"] = [to_dict(change) for change in made]
    return value


def _chapter(store: Store, folder: str, record: Record) -> Chapter:
    name = layout.round_state(folder)
    return Chapter(
        round=layout.round_name(folder),
        status=store.read_json(name)["status"] if store.exists(name) else None,
        failures=record.failures,
        annotations=record.annotations,
    )


def _find(store: Store, name: str) -> list[tuple[str, ImageRow]]:
    """(shard, row) of every try to bring the sample in, the first one first."""
    shard = _indexed(store, name)
    image = (
        next((r for r in _rows(store, shard) if r.key == name and r.failed is None), None)
        if shard
        else None
    )
    if shard and image:  # else the index is older than the images
        return [*_tries(store, shard, image), (shard, image)]
    found = []
    for file in store.list(IMAGES):
        shard = layout.shard_of_table(file)
        if shard is not None:
            with store.open(layout.images_table(shard)) as opened:
                table = pq.ParquetFile(opened, pre_buffer=False).read(
                    columns=["key", "name"], use_threads=False
                )
            if pc.any(pc.or_(pc.equal(table["key"], name), pc.equal(table["name"], name))).as_py():
                found += [
                    (shard, row) for row in _rows(store, shard) if name in (row.key, row.name)
                ]
    return found


def _tries(store: Store, shard: str, image: ImageRow) -> Iterator[tuple[str, ImageRow]]:
    """The rows of earlier shards that `image` of `shard` stands for."""
    for listed in replacements(store):
        if listed.shard == shard and (listed.reason is None or listed.name == image.name):
            old = str(listed.replaces)
            tried = [row for row in _rows(store, old) if row.failed and row.name == image.name]
            for row in tried:
                yield from _tries(store, old, row)
                yield old, row


def _rows(store: Store, shard: str) -> Iterator[ImageRow]:
    yield from read_table(store, layout.images_table(shard), ImageRow)


def _indexed(store: Store, key: str) -> str | None:
    """The shard of a sample of the head round, from its index, a row group at a time."""
    if not store.exists(layout.HEAD):
        return None
    name = layout.round_index(layout.named_round(store.read_json(layout.HEAD)["round"]))
    if not store.exists(name):
        return None
    with store.open(name) as opened:
        index = pq.ParquetFile(opened, pre_buffer=False)
        for group in range(index.num_row_groups):
            table = index.read_row_group(group, columns=["key", "shard"], use_threads=False)
            where = pc.index(table["key"], key).as_py()
            if where >= 0:
                return str(table["shard"][where].as_py())
    return None
