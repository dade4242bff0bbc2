"""What is done of each shard, and what is to do."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass

from pipeline.plan.graph import Node
from pipeline.storage.layout import IMAGES
from pipeline.storage.manifest import digest
from pipeline.storage.store import Store

Done = dict[
    str, tuple[str, str]
]  # node name or IMAGES -> (input digest, output digest) of one shard


@dataclass(frozen=True, slots=True)
class Plan:
    """What is done of some nodes, by shard; a node that is absent from a shard's `done` is to do there. `stale` are
    manifests whose inputs have changed since: (folder, shard, digests)."""

    nodes: Sequence[Node]
    done: dict[str, Done]
    stale: list[tuple[str, str, tuple[str, str]]]

    def todo(self, node: Node) -> int:
        return sum(node.name not in done for done in self.done.values())

    def forget_stale(self, store: Store) -> None:
        """Withdraw stale manifests: what of their files still holds is found out when they are made anew."""
        folders: dict[str, dict[str, tuple[str, ...]]] = {}
        for folder, shard, _ in self.stale:
            folders.setdefault(folder, {})[shard] = ()
        for folder, shards in folders.items():
            store.withdraw(folder, shards)


def plan(store: Store, nodes: Sequence[Node], shards: Mapping[str, Done]) -> Plan:
    """Compare the manifests of `nodes` with the present inputs. `shards` says what is done before them. Reads the names
    of manifests, never their content."""
    known = {node.name: store.done(node.folder) for node in nodes}
    result = Plan(nodes, {}, [])
    for shard, earlier in shards.items():
        done = dict(earlier)
        for node in nodes:
            found = known[node.name].get(shard)
            if found and found[0] == input_digest(node, done):
                done[node.name] = found
            elif found:
                result.stale.append((node.folder, shard, found))
        result.done[shard] = done
    return result


def input_digest(node: Node, done: Done) -> str | None:
    """The digest of a shard's inputs to a node, None while one of them is still to do."""
    if any(name not in done for name in (IMAGES, *node.reads)):
        return None
    return digest(*read_outputs(node, done).values())


def read_outputs(node: Node, done: Done) -> dict[str, str]:
    """The output digest of everything that a node reads."""
    return {name: done[name][1] for name in (IMAGES, *node.reads)}
