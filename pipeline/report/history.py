"""`fld explain`: everything that happened to one sample, found by its key or its name."""

from __future__ import annotations

import difflib
import functools
from collections.abc import Iterator, Sequence
from dataclasses import dataclass

import pyarrow as pa
import pyarrow.compute as pc
import pyarrow.parquet as pq

from pipeline.ingest.assignment_log import replacements
from pipeline.plan.journal import SUMMARY, read_graph
from pipeline.refinement.changes import changes
from pipeline.rows import Failure, ImageRow, Record, Row
from pipeline.schema import Annotations
from pipeline.storage import layout
from pipeline.storage.arrow import to_dict
from pipeline.storage.images import read_given, read_truth
from pipeline.storage.json_types import Json
from pipeline.storage.layout import IMAGES
from pipeline.storage.parquet import read_table
from pipeline.storage.round_parts import read_parts, shards_with
from pipeline.storage.rounds import read_head, read_round_state
from pipeline.storage.sources import read_sources
from pipeline.storage.store import Store
from pipeline.storage.threads import mapped
from stages.source import make_key

SHOWN = 3
"""How many keys a message proposes."""
COMPARED = 20_000
"""How many keys are compared with a misspelt one."""


@dataclass(frozen=True, slots=True, kw_only=True)
class StageOutput:
    """What one stage made of the sample."""

    stage: str
    folder: str
    row: Row


@dataclass(frozen=True, slots=True, kw_only=True)
class SampleInRound:
    """The sample in one round."""

    round: str
    """NN-FINGERPRINT."""
    status: str | None
    """The gate's verdict on the round, None while the round is being made."""
    failures: list[Failure]
    annotations: Annotations


@dataclass(frozen=True, slots=True, kw_only=True)
class IngestTry:
    """One try to bring the sample in."""

    shard: str
    row: ImageRow


@dataclass(frozen=True, slots=True, kw_only=True)
class SampleHistory:
    """One sample, from ingest to the newest round."""

    image: ImageRow
    """How it came in, or why it did not."""
    shard: str
    tries: list[IngestTry]
    """The failed tries before."""
    given: Annotations
    """The labels of the source."""
    truth: Annotations | None
    """The labels that are known to be true."""
    stages: list[StageOutput]
    rounds: list[SampleInRound]


def sample_history(store: Store, name: str) -> SampleHistory:
    """The history of the sample with this key or this name in the source.

    Raises:
        ValueError: there is no such sample.
    """
    tries = _find(store, name)
    if not tries:
        hint = "keys and names stand in images/*.parquet"
        near = _nearest(store, name)
        if near:
            hint = f"did you mean {' or '.join(near)}?"
        raise ValueError(f"{name}: no such sample in {store.url}; {hint}")
    last = _decisive_try(tries)
    image = last.row
    shard = last.shard
    given = Annotations()
    truth = None
    outputs = _Outputs([], [])
    if image.failed is None:
        given = read_given(store, shard).get(image.key, given)
        truth = read_truth(store, shard).get(image.key)
        outputs = _outputs(store, shard, image.key)
    return SampleHistory(
        image=image,
        shard=shard,
        tries=[one for one in tries if one != last],
        given=given,
        truth=truth,
        stages=outputs.stages,
        rounds=outputs.rounds,
    )


def as_json(history: SampleHistory) -> Json:
    """The history as plain values. Each round after the first also has what it changed."""
    value = {"key": history.image.key, "name": history.image.name, **to_dict(history)}
    value["tries"] = [{"shard": one.shard, **to_dict(one.row)} for one in history.tries]
    for i in range(1, len(history.rounds)):
        before = history.rounds[i - 1]
        after = history.rounds[i]
        changed = changes(before.annotations, after.annotations)
        value["rounds"][i]["changes"] = [to_dict(change) for change in changed]
    return value


def _decisive_try(tries: Sequence[IngestTry]) -> IngestTry:
    """The try that brought the sample in, or the last one if all have failed."""
    for one in tries:
        if one.row.failed is None:
            return one
    return tries[-1]


@dataclass(frozen=True, slots=True)
class _Outputs:
    """What the stages and the rounds have written for one sample."""

    stages: list[StageOutput]
    rounds: list[SampleInRound]


def _outputs(store: Store, shard: str, key: str) -> _Outputs:
    """What every node of the graph has written; a node that has not run yet is left out."""
    outputs = _Outputs([], [])
    for node in read_graph(store):
        if node.kind == SUMMARY:
            continue
        table = node.table(shard)
        if not store.exists(table):
            continue
        if node.is_round:
            for record in read_table(store, table, Record):
                if record.key == key:
                    outputs.rounds.append(_in_round(store, node.folder, record))
            continue
        for row in read_table(store, table, Row):
            if row.key == key:
                output = StageOutput(stage=node.name, folder=node.folder, row=row)
                outputs.stages.append(output)
    return outputs


def _in_round(store: Store, folder: str, record: Record) -> SampleInRound:
    """The sample in one round, with the gate's verdict on that round."""
    state = read_round_state(store, folder)
    return SampleInRound(
        round=layout.round_name(folder),
        status=state.status if state else None,
        failures=record.failures,
        annotations=record.annotations,
    )


def _find(store: Store, name: str) -> list[IngestTry]:
    """Every try to bring the sample in, the first one first.

    Raises:
        ValueError: several sources have an image of this name.
    """
    work = read_sources(store)
    for shard in _indexed_shards(store, name):
        for row in _image_rows(store, shard):
            # Several sources may have an image of one name, but a key is that of one image.
            names = (row.key,) if work.several else (row.key, row.name)
            if name in names and row.failed is None:
                return [*_tries_before(store, shard, row), IngestTry(shard=shard, row=row)]
    # It failed, it is newer than the head, or it has a key of its own beside this name.
    shards = _shards(store)
    has_sample = functools.partial(_has_sample, store, name)
    found = []
    for shard, has in zip(shards, mapped(has_sample, shards), strict=True):
        if has:
            for row in _image_rows(store, shard):
                if name in (row.key, row.name):
                    found.append(IngestTry(shard=shard, row=row))
    if len({work.of(one.shard) for one in found}) > 1:
        keys = " or ".join(dict.fromkeys(one.row.key for one in found))
        raise ValueError(f"{name}: several sources have an image of this name; give a key: {keys}")
    return found


def _has_sample(store: Store, name: str, shard: str) -> bool:
    """Whether a shard has a sample with this key or name."""
    table = _keys_and_names(store, shard)
    matches = pc.or_(pc.equal(table["key"], name), pc.equal(table["name"], name))
    return bool(pc.any(matches).as_py())


def _nearest(store: Store, name: str) -> list[str]:
    """The keys that are likely meant by one that is none, the likeliest first; at most `SHOWN`.

    They end with it, or contain it, or so does their name in the source; else they are spelt nearly
    so, among the first `COMPARED` samples.
    """
    ending: list[str] = []
    holding: list[str] = []
    compared: list[str] = []
    for shard in _shards(store):
        table = _keys_and_names(store, shard)
        if len(compared) < COMPARED:
            compared += table["key"].to_pylist()
        for column in ("key", "name"):
            is_end = pc.ends_with(table[column], name, ignore_case=True)
            is_part = pc.match_substring(table[column], name, ignore_case=True)
            ending += table["key"].filter(is_end)[:SHOWN].to_pylist()
            holding += table["key"].filter(is_part)[:SHOWN].to_pylist()
        if len(set(ending)) >= SHOWN:
            break
    found = [*ending, *holding] or difflib.get_close_matches(name, compared, n=SHOWN)
    return list(dict.fromkeys(found))[:SHOWN]


def _shards(store: Store) -> list[str]:
    """The shards that have a table of images."""
    names = [layout.shard_of_table(file) for file in store.list(IMAGES)]
    return [name for name in names if name is not None]


def _keys_and_names(store: Store, shard: str) -> pa.Table:
    """These two columns of the table of a shard's images."""
    with store.open(layout.images_table(shard)) as file:
        parquet = pq.ParquetFile(file, pre_buffer=False)
        return parquet.read(columns=["key", "name"], use_threads=False)


def _tries_before(store: Store, shard: str, image: ImageRow) -> Iterator[IngestTry]:
    """The failed rows in earlier shards that `image` of `shard` replaces."""
    for assignment in replacements(store):
        is_other_name = assignment.reason is not None and assignment.name != image.name
        if assignment.shard != shard or is_other_name:
            continue
        earlier = str(assignment.replaces)
        for row in _image_rows(store, earlier):
            if row.failed and row.name == image.name:
                yield from _tries_before(store, earlier, row)
                yield IngestTry(shard=earlier, row=row)


def _image_rows(store: Store, shard: str) -> list[ImageRow]:
    return read_table(store, layout.images_table(shard), ImageRow)


def _indexed_shards(store: Store, name: str) -> list[str]:
    """The shards of the head among whose keys this one, or the key of this name, may be."""
    head = read_head(store)
    if head is None:
        return []
    parts = read_parts(store, head.folder)
    return [*shards_with(parts, name), *shards_with(parts, make_key(name))]
