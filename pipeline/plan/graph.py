"""The graph of a run, its fingerprints, and the plan: what is done and what is to do.

A *recipe* is everything that decides what a node makes of its inputs: the stage and its version, the settings that
change results, the content of its model, batch size and threads, and the recipes upstream. Data (but for the levels
that a merge measures), paths and worker counts are not in it. Its fingerprint names the node's folder, so another
threshold makes a new folder beside the old.

A shard is done when a manifest with the digest of its present inputs exists. That digest hashes the *outputs* of the
nodes upstream, so a corrected label or a retried sample redoes what depends on it and nothing else.
"""

from __future__ import annotations

import dataclasses
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass
from typing import Any, Literal

from pipeline.config.run import ROUND_MODEL, ClusterConfig, Entry, RunConfig
from pipeline.plan.recipe import fingerprint, recipe_settings, revision_of
from pipeline.refinement.rules import Thresholds
from pipeline.schema import SCHEMA_VERSION
from stages import registry

IMAGES = "images"
WORK = "work:"  # a model that lies in the work folder


@dataclass(frozen=True, slots=True, kw_only=True)
class Node:
    """One stage in one round. Its samples' annotations are the outputs of `reads`, laid over each other in order.

    `kind` round: the node consolidates what it reads into the records and public shards of a round.
    """

    name: str
    entry: Entry
    round: int
    reads: tuple[str, ...]
    fingerprint: str
    folder: str
    revision: str = ""
    kind: Literal["signals", "round"] = "signals"

    @property
    def group(self) -> str:
        return self.entry.group

    def table(self, shard: str) -> str:
        """The name of the Parquet table that this node writes for a shard."""
        return (
            f"{self.folder}/records/{shard}.parquet"
            if self.kind == "round"
            else f"{self.folder}/{shard}.parquet"
        )

    def tar(self, shard: str) -> str:
        return f"{self.folder}/shards/{shard}.tar"


@dataclass(frozen=True, slots=True)
class Model:
    """A trained model: its folder, the digest of its files, and the fold that it has not seen (None: it saw all)."""

    folder: str
    revision: str
    fold: int | None = None


@dataclass(frozen=True, slots=True)
class Models:
    """The models of a round: one, or one a fold; `sparse` writes the texts of `refine.sparse` that are missing."""

    refining: Sequence[Model]
    sparse: Model | None = None


def round_zero(run: RunConfig) -> list[Node]:
    """The specialists in the order of their `after`, the filters in theirs, and the node that writes round 0."""
    nodes: dict[str, Node] = {}
    for entry in _sorted(run.specialists.values()):
        reads = _closure(entry.after, run.specialists)
        nodes[entry.name] = make_node(entry, 0, [nodes[name] for name in reads], run.cluster)
    return _decided(run, 0, list(nodes.values()))


def refining(run: RunConfig, number: int, head: Node, models: Models) -> list[Node]:
    """The first nodes of round `number`: with folds one per model, which looks at the samples of its fold only."""
    return [
        _asked(run, run.refine.annotate.name, number, [head], model, {})
        for model in models.refining
    ]


def next_round(
    run: RunConfig, number: int, head: Node, models: Models, levels: Mapping[str, Thresholds]
) -> list[Node]:
    """Refine with the round's models, merge, complete what changed, filter: the nodes of round `number`. `levels` are
    measured once the models have looked."""
    nodes = refining(run, number, head, models)
    merge = dataclasses.replace(
        run.refine.merge, options=dataclasses.replace(run.refine.merge.options, levels=levels)
    )
    nodes.append(make_node(merge, number, [head, *nodes], run.cluster))
    if models.sparse is not None:
        own: dict[str, Any] = {"tasks": (), "support": (), "missing": run.refine.sparse.texts}
        nodes.append(_asked(run, "sparse", number, [head, *nodes], models.sparse, own))
    if ROUND_MODEL in run.refine.complete:
        ground: dict[str, Any] = {
            "tasks": ("<CAPTION_TO_PHRASE_GROUNDING>",),
            "support": (),
            "alternatives": False,
            "fresh": True,
        }
        nodes += [
            _asked(run, "model", number, [head, *nodes], model, ground) for model in models.refining
        ]
    for entry in _sorted(run.specialists.values()):
        if entry.name in run.refine.complete:
            nodes.append(make_node(entry, number, [head, *nodes], run.cluster))
    return _decided(run, number, nodes, head)


def model_nodes(run: RunConfig, number: int) -> list[str]:
    """The names of the nodes at which the models of a round look at the samples, by fold."""
    name = f"{number}.{run.refine.annotate.name}"
    return (
        [f"{name}_{fold}" for fold in range(run.refine.folds)] if run.refine.folds > 1 else [name]
    )


def _asked(
    run: RunConfig,
    name: str,
    number: int,
    reads: Sequence[Node],
    model: Model,
    own: Mapping[str, Any],
) -> Node:
    """A node at which a model looks at the samples of its fold, with settings of its own."""
    options = dataclasses.replace(run.refine.annotate.options, model=f"{WORK}{model.folder}", **own)
    if model.fold is not None:
        options = dataclasses.replace(options, fold=model.fold, folds=run.refine.folds)
        name = f"{name}_{model.fold}"
    entry = dataclasses.replace(run.refine.annotate, name=name, options=options)
    return make_node(entry, number, reads, run.cluster, model.revision)


FILTER_GROUP = "filters"


def make_node(
    entry: Entry, number: int, reads: Sequence[Node], cluster: ClusterConfig, revision: str = ""
) -> Node:
    cls, _ = registry.load(entry.use)
    recipe = {
        "schema": SCHEMA_VERSION,
        "use": entry.use,
        "version": cls.version,
        "round": number,
        "batch_size": entry.batch_size,
        "threads": cluster.group(entry.group).threads,
        "settings": recipe_settings(entry.options, revision),
        "upstream": [node.fingerprint for node in reads],
    }
    mark = fingerprint(recipe)
    return Node(
        name=f"{number}.{entry.name}",
        entry=entry,
        round=number,
        reads=tuple(node.name for node in reads),
        fingerprint=mark,
        folder=f"signals/{entry.name}-{mark}",
        revision=revision or revision_of(entry.options),
    )


def _decided(
    run: RunConfig, number: int, nodes: list[Node], head: Node | None = None
) -> list[Node]:
    base = [head] if head else []
    for entry in _sorted(run.filters.values()):
        nodes.append(make_node(entry, number, [*base, *nodes], run.cluster))
    mark = fingerprint(
        {
            "schema": SCHEMA_VERSION,
            "round": number,
            "upstream": [n.fingerprint for n in base + nodes],
        }
    )
    last = Node(
        name=f"{number}.round",
        entry=Entry(name="round", use="round", options=None, group=FILTER_GROUP),
        round=number,
        reads=tuple(node.name for node in base + nodes),
        fingerprint=mark,
        folder=f"rounds/{number:02d}-{mark}",
        kind="round",
    )
    return [*nodes, last]


def _sorted(entries: Iterable[Entry]) -> list[Entry]:
    """Topological by `after`, ties in the order of the config.

    Raises:
        ValueError: the stages wait for each other.
    """
    left, done = list(entries), dict[str, Entry]()
    names = {entry.name for entry in left}
    while left:
        ready = next((e for e in left if all(a in done or a not in names for a in e.after)), None)
        if ready is None:
            raise ValueError(
                f"after: {', '.join(e.name for e in left)} wait for each other; remove one `after`"
            )
        done[ready.name] = ready
        left.remove(ready)
    return list(done.values())


def _closure(names: Iterable[str], entries: Mapping[str, Entry]) -> list[str]:
    wanted, todo = set[str](), list(names)
    while todo:
        name = todo.pop()
        if name not in wanted:
            wanted.add(name)
            todo += entries[name].after
    return [entry.name for entry in _sorted(entries.values()) if entry.name in wanted]
