"""`fld retry`: forget failures, so that the next run does the failed samples again and what depends on them.

A sample that failed in a stage is done again in its place: its shard's manifest is withdrawn with its key, and
`pipeline.execution.reuse` keeps the others. An image that did not come in is read now; if it is good, it gets a shard of its own.
"""

from __future__ import annotations

from collections import Counter
from collections.abc import Iterator, Sequence
from dataclasses import replace

from pipeline.config.run import RunConfig
from pipeline.ingest.assignment import assign, open_source
from pipeline.ingest.listing import Listed, append_listing, replacements, taken
from pipeline.ingest.repair import Receive
from pipeline.ingest.shard import child_receiver
from pipeline.schema import ImageRow, Row
from pipeline.storage import layout
from pipeline.storage.layout import IMAGES
from pipeline.storage.parquet import read_table
from pipeline.storage.store import Store
from stages.base import SampleError
from stages.ingest import Source, make_key

INGEST = "ingest"


def withdraw(
    store: Store, run: RunConfig, stage: str | None, reason: str | None
) -> dict[str, dict[str, int]]:
    """Forget the failures of a stage (None: of all) with a reason (None: any); {stage: {reason: samples}}.

    Of the images that did not come in, those that can be read now count.

    Raises:
        ValueError: the run has no such stage.
    """
    graph = store.read_json(layout.GRAPH) if store.exists(layout.GRAPH) else []
    nodes = [node for node in graph if node["kind"] == "signals"]
    names = {INGEST, *(node["name"].partition(".")[2] for node in nodes)}
    if stage is not None and stage.partition(".")[2] not in names and stage not in names:
        raise ValueError(f"--stage {stage}: no such stage; known: {', '.join(sorted(names))}")
    store.remove(layout.ATTEMPTS)
    found = {}
    if stage in (None, INGEST):
        found[INGEST] = _withdraw_images(store, run, reason)
    for node in nodes:
        if stage in (None, node["name"], node["name"].partition(".")[2]):
            found[node["name"]] = _withdraw_signals(store, node["folder"], reason)
    return {name: dict(counts) for name, counts in found.items() if counts}


def _withdraw_signals(store: Store, folder: str, reason: str | None) -> Counter[str]:
    counts: Counter[str] = Counter()
    shards: dict[str, list[str]] = {}
    for shard, (_, failed) in store.counts(folder).items():
        rows: list[Row] = (
            read_table(store, layout.signals_table(folder, shard), Row) if failed else []
        )
        wanted = [row for row in rows if row.failed and reason in (None, row.failed)]
        counts.update(row.failed for row in wanted if row.failed)
        if wanted:
            shards[shard] = [row.key for row in wanted]
    store.withdraw(folder, shards)
    return counts


def _withdraw_images(store: Store, run: RunConfig, reason: str | None) -> Counter[str]:
    shards = assign(store, run.source, [], publish=False)
    source = open_source(run.source)
    before = {(row.replaces, row.name) for row in replacements(store)}
    containers: list[list[Listed]] = []  # a new shard each
    listed: list[Listed] = []
    counts: Counter[str] = Counter()
    with child_receiver() as receive:
        for shard, (_, failures) in sorted(store.counts(IMAGES).items()):
            rows: list[ImageRow] = (
                read_table(store, layout.images_table(shard), ImageRow) if failures else []
            )
            failed = {
                r.name: str(r.failed) for r in rows if r.failed and (shard, r.name) not in before
            }
            wanted = [name for name, why in failed.items() if reason in (None, why)]
            if not wanted or (source.whole and (shard, shards[shard][0]) in before):
                continue
            have = {r.key for r in rows if r.failed is None} | taken(store, shard)
            good = _readable(source, shards[shard] if source.whole else wanted, have, receive)
            if source.whole:
                if any(good):
                    containers.append(
                        [Listed(shard="", name=name, replaces=shard) for name in shards[shard]]
                    )
                    counts.update(failed.values())
                continue
            listed += [
                Listed(shard="", name=name, replaces=shard, reason=failed[name]) for name in good
            ]
    counts.update(str(row.reason) for row in listed)
    size = run.source.shard_size
    fresh = containers + [listed[i : i + size] for i in range(0, len(listed), size)]
    numbered = [
        replace(row, shard=layout.shard_name(len(shards) + i))
        for i, rows in enumerate(fresh)
        for row in rows
    ]
    if numbered:
        append_listing(store, numbered)
    return counts


def _readable(
    source: Source, names: Sequence[str], have: set[str], receive: Receive
) -> Iterator[str]:
    """The names of the items that can be used now, but for those that the work folder has."""
    keys = set(have)
    for item in source.read(names):
        key = make_key(item.key or item.name)
        if key in keys:
            continue
        try:
            receive(item)
        except SampleError:
            continue
        keys.add(key)
        yield item.name
