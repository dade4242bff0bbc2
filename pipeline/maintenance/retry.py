"""`fld retry`: forget failures, so that the next run does the failed samples again.

A sample that failed in a stage is redone in its shard: the manifest is withdrawn together with the
sample's key, and `pipeline.execution.reuse` keeps the other rows. An image that failed at ingest is
read now. If it is good, it gets a shard of its own, because no image of a shard ever changes.
"""

from __future__ import annotations

from collections import Counter
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass, field, replace

from pipeline.config.run import RunConfig
from pipeline.ingest.assignment import Shards, assign_all, naming, open_source
from pipeline.ingest.assignment_log import (
    ShardAssignment,
    append_assignments,
    keys_of_replaced_shards,
    replacements,
)
from pipeline.ingest.refused import Refused
from pipeline.ingest.repair import Receive
from pipeline.ingest.shard import child_receiver
from pipeline.ingest.source_files import record_again
from pipeline.plan.journal import INGEST, NodeRef, read_graph
from pipeline.rows import ImageRow, Row
from pipeline.storage import layout, layout_journal
from pipeline.storage.layout import IMAGES
from pipeline.storage.parquet import read_table
from pipeline.storage.sources import key_of
from pipeline.storage.store import Store
from stages.base import SampleError
from stages.source import Source


@dataclass(frozen=True, slots=True)
class NewShards:
    """What ingest shall try again: names for new shards, and how many samples by old reason."""

    containers: list[list[ShardAssignment]] = field(default_factory=list)
    """The rows of containers of samples, which get one new shard each."""
    images: list[ShardAssignment] = field(default_factory=list)
    """The rows of single images, which are put into shards of the usual size."""
    counts: Counter[str] = field(default_factory=Counter)


@dataclass(frozen=True, slots=True)
class Place:
    """Where the new shards of a source begin."""

    stem: str
    """How its shards begin."""
    number: int
    """The first number that no shard has."""


@dataclass(frozen=True, slots=True)
class Again:
    """A shard of which images are tried again."""

    shard: str
    keys: set[str]
    """The keys that are in use."""
    names: Sequence[str]
    """The images that are tried again."""
    failed: Mapping[str, str]
    """Why each image failed, by its name."""
    is_new_try: bool
    """Whether the names of the shard have not been tried again before."""


def withdraw(
    store: Store,
    run: RunConfig,
    stage: str | None,
    reason: str | None,
) -> dict[str, dict[str, int]]:
    """Forget failures; returns how many samples by stage and by reason.

    `stage` None means all stages, `reason` None all reasons. Of the images that failed at ingest,
    only those count that can be read now.

    Raises:
        ValueError: the run has no such stage.
    """
    nodes = [node for node in read_graph(store) if node.kind == "signals"]
    _check_stage(stage, nodes)
    store.remove(layout_journal.ATTEMPTS)
    counts: dict[str, Counter[str]] = {}
    if stage in (None, INGEST):
        counts[INGEST] = _withdraw_images(store, run, reason)
    for node in nodes:
        if stage in (None, node.name, node.stage):
            counts[node.name] = _withdraw_signals(store, node, reason)
    return {name: dict(reasons) for name, reasons in counts.items() if reasons}


def _check_stage(stage: str | None, nodes: Sequence[NodeRef]) -> None:
    """`stage` may be a stage's name, or that of a node (ROUND.STAGE)."""
    if stage is None:
        return
    names = {INGEST, *(node.stage for node in nodes)}
    if stage not in names and stage.partition(".")[2] not in names:
        raise ValueError(f"--stage {stage}: no such stage; known: {', '.join(sorted(names))}")


def _withdraw_signals(store: Store, node: NodeRef, reason: str | None) -> Counter[str]:
    """Withdraw the shards of a node in which samples failed."""
    counts: Counter[str] = Counter()
    redo: dict[str, list[str]] = {}
    for shard in store.with_failures(node.folder):
        rows: list[Row] = read_table(store, node.table(shard), Row)
        for row in rows:
            if row.failed and reason in (None, row.failed):
                counts[row.failed] += 1
                redo.setdefault(shard, []).append(row.key)
    store.withdraw(node.folder, redo)
    return counts


def _withdraw_images(store: Store, run: RunConfig, reason: str | None) -> Counter[str]:
    """Assign the failed images of all sources that can be read now to new shards."""
    assigned = assign_all(store, run.all_sources, {}, publish=False)
    counts: Counter[str] = Counter()
    with child_receiver() as receive_item:
        for name, config in run.all_sources.items():
            shards = assigned.shards[name]
            refused = Refused.of(config, name)
            with naming(name):
                source = open_source(config)
                new = NewShards()
                for again in _failed_shards(store, shards, reason):
                    receive = refused.guard(again.shard, receive_item)
                    _add_shard(new, source, shards[again.shard], again, receive)
            stem = assigned.work.stem(name)
            tried_again = _append(store, new, Place(stem, len(shards)), config.shard_size)
            record_again(store, source, [row.name for row in tried_again], stem)
            counts += new.counts
    return counts


def _failed_shards(store: Store, shards: Shards, reason: str | None) -> Iterator[Again]:
    """The shards of a source with images that failed and were not tried again."""
    tried = {(row.replaces, row.name) for row in replacements(store)}
    for shard in store.with_failures(IMAGES):
        if shard not in shards:
            # It is one of another source.
            continue
        rows: list[ImageRow] = read_table(store, layout.images_table(shard), ImageRow)
        failed = {}
        for row in rows:
            if row.failed and (shard, row.name) not in tried:
                failed[row.name] = row.failed
        names = [name for name, why in failed.items() if reason in (None, why)]
        if names:
            keys = {row.key for row in rows if row.failed is None}
            keys |= keys_of_replaced_shards(store, shard)
            is_new_try = (shard, shards[shard][0]) not in tried
            yield Again(shard, keys, names, failed, is_new_try)


def _add_shard(
    new: NewShards, source: Source, members: Sequence[str], again: Again, receive: Receive
) -> None:
    """Add what can be read now of a shard with the names `members`."""
    if not source.whole:
        readable = _readable(source, again.names, again, receive)
        _add_images(new, again.shard, readable, again.failed)
    elif again.is_new_try and any(_readable(source, members, again, receive)):
        _add_container(new, again.shard, members, again.failed)


def _add_images(
    new: NewShards,
    shard: str,
    names: Iterator[str],
    reasons: Mapping[str, str],
) -> None:
    """Try some images of a shard again. `reasons` says why each failed."""
    for name in names:
        why = reasons[name]
        new.images.append(
            ShardAssignment(
                shard="",
                name=name,
                replaces=shard,
                reason=why,
            )
        )
        new.counts[why] += 1


def _add_container(
    new: NewShards,
    shard: str,
    names: Sequence[str],
    reasons: Mapping[str, str],
) -> None:
    """Try all samples of a container again that were not good."""
    rows = [ShardAssignment(shard="", name=name, replaces=shard) for name in names]
    new.containers.append(rows)
    new.counts.update(reasons.values())


def _append(
    store: Store,
    new: NewShards,
    first: Place,
    shard_size: int,
) -> list[ShardAssignment]:
    """Number the new shards from `first` on, and add them to the assignments, which it returns."""
    groups = list(new.containers)
    for start in range(0, len(new.images), shard_size):
        groups.append(new.images[start : start + shard_size])
    rows = []
    for number, group in enumerate(groups, first.number):
        shard = layout.shard_name(number, first.stem)
        rows += [replace(row, shard=shard) for row in group]
    if rows:
        append_assignments(store, rows)
    return rows


def _readable(
    source: Source, names: Sequence[str], again: Again, receive: Receive
) -> Iterator[str]:
    """The names of items that can be read now and whose keys are not in use."""
    in_use = set(again.keys)
    for item in source.read(names):
        key = key_of(again.shard, item.key or item.name)
        if key in in_use:
            continue
        try:
            receive(item)
        except SampleError:
            continue
        in_use.add(key)
        yield item.name
