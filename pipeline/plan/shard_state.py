"""What is done on each shard, and what is still to do."""

from __future__ import annotations

import json
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass, field

from pipeline.plan.graph import Node
from pipeline.storage.layout import IMAGES
from pipeline.storage.manifest import Digests, digest
from pipeline.storage.store import Store


@dataclass(frozen=True, slots=True)
class ShardState:
    """Which nodes are done on one shard. A node that is not in it is still to do.

    The driver holds one of each shard, so it keeps what later nodes are compared with, and no more.
    """

    outputs: Mapping[str, str] = field(default_factory=dict)
    """The digest of what each finished node wrote, by its name; `images` stands for ingest."""

    def has(self, name: str) -> bool:
        """Whether a node is done."""
        return name in self.outputs

    def has_all(self, names: Iterable[str]) -> bool:
        """Whether all of some nodes are done."""
        return all(name in self.outputs for name in names)

    def output(self, name: str) -> str:
        """The digest of what a finished node wrote."""
        return self.outputs[name]

    def with_(self, name: str, digests: Digests) -> ShardState:
        """This state with one more finished node."""
        return ShardState({**self.outputs, name: digests.output})

    def only(self, names: Iterable[str]) -> ShardState:
        """This state with some of its finished nodes."""
        return ShardState({name: self.outputs[name] for name in names})

    def encode(self) -> str:
        """The state as JSON, for rows that Ray moves."""
        return json.dumps(self.outputs)

    @classmethod
    def decode(cls, text: str) -> ShardState:
        """The state that `encode` made `text` from."""
        return cls(json.loads(text))


@dataclass(frozen=True, slots=True)
class StaleManifest:
    """A manifest whose inputs have changed since it was written."""

    folder: str
    shard: str
    digests: Digests


@dataclass(frozen=True, slots=True)
class Plan:
    """What is done of some nodes, and what is to do."""

    nodes: Sequence[Node]
    states: dict[str, ShardState]
    """By shard."""
    stale: list[StaleManifest]
    """Work that is done, but on other inputs than the present ones."""

    def todo(self, node: Node) -> int:
        """On how many shards a node is still to do."""
        done = sum(state.has(node.name) for state in self.states.values())
        return len(self.states) - done

    def withdraw_stale(self, store: Store) -> None:
        """Withdraw the stale manifests. How much of their files still holds is found out later."""
        folders: dict[str, dict[str, tuple[str, ...]]] = {}
        for manifest in self.stale:
            shards = folders.setdefault(manifest.folder, {})
            shards[manifest.shard] = ()
        for folder, shards in folders.items():
            store.withdraw(folder, shards)


def plan(
    store: Store,
    nodes: Sequence[Node],
    shards: Mapping[str, ShardState],
) -> Plan:
    """Compare the manifests of `nodes` with their present inputs.

    `shards` says what is done of the nodes that come before. Only names of manifests are read,
    never their content, so this takes seconds for a hundred thousand shards.
    """
    done = {shard: dict(state.outputs) for shard, state in shards.items()}
    stale = []
    for node in nodes:
        # One folder at a time: the names of all manifests would take much memory.
        for shard, digests in store.done(node.folder).items():
            if shard not in done:
                continue
            if digests.inputs == _digest_of(node, done[shard]):
                done[shard][node.name] = digests.output
            else:
                stale.append(StaleManifest(node.folder, shard, digests))
    states = {shard: ShardState(outputs) for shard, outputs in done.items()}
    return Plan(nodes, states, stale)


def input_digest(node: Node, state: ShardState) -> str | None:
    """The digest of a shard's inputs to a node, None while one of them is still to do."""
    return _digest_of(node, state.outputs)


def read_outputs(node: Node, state: ShardState) -> dict[str, str]:
    """The output digest of everything that a node reads, by name."""
    return {name: state.output(name) for name in (IMAGES, *node.reads)}


def _digest_of(node: Node, outputs: Mapping[str, str]) -> str | None:
    """`input_digest` of a shard's outputs."""
    # It is called for each node of each shard, so no output is looked up twice.
    try:
        return digest(*[outputs[name] for name in (IMAGES, *node.reads)])
    except KeyError:
        return None
