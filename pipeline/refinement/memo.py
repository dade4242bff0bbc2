"""Results that take long to compute, kept in the journal with a digest of what they depend on."""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence

from pipeline.plan.graph import Node
from pipeline.plan.shard_state import ShardState
from pipeline.storage.json_types import Json
from pipeline.storage.layout import IMAGES
from pipeline.storage.manifest import digest
from pipeline.storage.store import Store

VERSION = 1
"""Raise it whenever the same inputs give another result, so that old results are not used."""


def remembered(
    store: Store, name: str, inputs: Sequence[object], compute: Callable[[], Json], *, keep: bool
) -> Json:
    """The JSON object that `compute` returns, read from file `name` when `inputs` are the same.

    `inputs` must hold everything that the result depends on; their `str` enters the digest that is
    stored under the key `inputs`. With `keep` a new result is written to the file.
    """
    mark = digest(str(VERSION), *map(str, inputs))
    if store.exists(name):
        stored = store.read_json(name)
        if stored["inputs"] == mark:
            return stored
    result = {"inputs": mark, **compute()}
    if keep:
        store.publish_json(name, result)
    return result


def outputs_digest(nodes: Sequence[Node], states: Mapping[str, ShardState]) -> str:
    """The digest of the images, their labels from the source, and everything that `nodes` wrote."""
    outputs: list[str] = []
    for name in (IMAGES, *(node.name for node in nodes)):
        for shard in sorted(states):
            outputs.append(states[shard].output(name))
    return digest(*outputs)
