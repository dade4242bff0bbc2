"""Summaries of shards: the workers count, and the driver only adds up.

A summary (`pipeline.quality.summary`) lies beside the shards that it is about, with a manifest, so
it is made, reused and resumed like everything else. The driver's time and memory grow with the
number of shards, never with that of images.
"""

from __future__ import annotations

import hashlib
from collections.abc import Iterator, Mapping, Sequence
from typing import Protocol

from pipeline.errors import BrokenFiles
from pipeline.plan import shard_state
from pipeline.plan.graph import Node
from pipeline.plan.shard_state import ShardState
from pipeline.quality import summary
from pipeline.quality.summary import Summary
from pipeline.storage import layout, layout_journal
from pipeline.storage.manifest import Digests, Manifest, count_samples, digest
from pipeline.storage.sources import read_sources
from pipeline.storage.store import Store
from pipeline.storage.threads import mapped
from stages import registry


class Summarise(Protocol):
    """Counts what some nodes wrote. A class of `registry` has a `version`, as stages do, and takes
    its settings."""

    def __call__(self, store: Store, nodes: Sequence[Node], shard: str) -> Summary:
        """The counts of one shard, among them `samples`; `nodes` are what the summary reads."""


def publish_summary(
    store: Store,
    node: Node,
    graph: Mapping[str, Node],
    shard: str,
    state: ShardState,
) -> Digests:
    """Count a shard and publish the counts."""
    inputs = shard_state.input_digest(node, state)
    assert inputs is not None, f"{node.name} ran before what it reads"
    summarise: Summarise = registry.resolve(node.entry.use)(node.entry.options)
    counted = summarise(store, [graph[name] for name in node.reads], shard)
    name = layout.summary(node.folder, shard)
    manifest = Manifest(
        shard=shard,
        inputs=inputs,
        files={name: store.publish(name, summary.encode(counted))},
        samples=count_samples(counted["samples"], [None] * counted["samples"]),
        reads=shard_state.read_outputs(node, state),
    )
    store.publish_manifest(node.folder, manifest)
    store.remove(layout_journal.withdrawn(node.folder, shard))
    return manifest.digests


def total(
    store: Store, node: Node, states: Mapping[str, ShardState], *, keep: bool = True
) -> Summary:
    """The sum of a node's summaries of all shards, which are done.

    With `keep` it is kept in the journal, so that the next call reads one file.
    """
    return _total(store, node, states, layout_journal.measured_total(node.folder), keep)


def total_by_source(
    store: Store, node: Node, states: Mapping[str, ShardState], *, keep: bool = True
) -> dict[str, Summary]:
    """The sum of a node's summaries of each source, by its name.

    Empty where the only source has no name. With `keep` the sums are kept in the journal.
    """
    work = read_sources(store)
    if not work.several:
        return {}
    totals = {}
    for name, shards in work.shards_by_source(states).items():
        own = {shard: states[shard] for shard in shards}
        place = layout_journal.measured_total(node.folder, work.stem(name))
        totals[name] = _total(store, node, own, place, keep)
    return totals


def _total(
    store: Store, node: Node, states: Mapping[str, ShardState], place: str, keep: bool
) -> Summary:
    """The sum of the summaries of some shards; `place` is where it is kept."""
    outputs = [states[shard].output(node.name) for shard in sorted(states)]
    mark = digest(*sorted(states), *outputs)
    if store.exists(place):
        kept = summary.decode(store.read(place))
        if kept["outputs"] == mark:
            found: Summary = kept["total"]
            return found
    added = summary.Sum()
    for data in _summaries(store, node, states, repair=keep):
        added.add(data)
    result = added.summary()
    if keep:
        store.publish(place, summary.encode({"outputs": mark, "total": result}))
    return result


def _summaries(
    store: Store, node: Node, states: Mapping[str, ShardState], *, repair: bool
) -> Iterator[bytes]:
    """The summary of each shard, encoded.

    Raises:
        BrokenFiles: a file is not the one that its manifest vouches for. With `repair` the manifest
            is withdrawn, so that the next run makes the file again.
    """

    def read(shard: str) -> tuple[str, bytes]:
        return shard, store.read(layout.summary(node.folder, shard))

    # A store is asked by threads, because each answer is waited for. A disk is faster without.
    reading = map if store.local else mapped
    for shard, data in reading(read, sorted(states)):
        if digest(hashlib.sha256(data).hexdigest()) != states[shard].output(node.name):
            if repair:
                store.withdraw(node.folder, {shard: ()})
            name = layout.summary(node.folder, shard)
            raise BrokenFiles(
                f"{store.shown(name)}: not the file that was written; `fld run` makes it again"
            )
        yield data
