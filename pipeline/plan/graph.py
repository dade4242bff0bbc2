"""The graph of a run: its nodes, and their fingerprints.

A *recipe* is everything that decides what a node makes of its inputs: the stage and its version,
the settings that change results, the content of its model, batch size and threads, and the recipes
upstream. Data, paths and worker counts are not part of it; the one exception is the thresholds that
a merge measures. The recipe's fingerprint names the node's folder, so another threshold makes a new
folder beside the old one.

A shard is done when there is a manifest with the digest of its present inputs. That digest hashes
the *outputs* of the nodes upstream, so a corrected label or a retried sample redoes what depends on
it and nothing else (`pipeline.plan.shard_state`).
"""

from __future__ import annotations

import dataclasses
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass
from typing import Literal

from pipeline.config.order import completing, in_order, order_of
from pipeline.config.run import ROUND_MODEL, ClusterConfig, Entry, RoundsConfig, RunConfig
from pipeline.plan.recipe import fingerprint, recipe_settings, revision_of
from pipeline.schema import SCHEMA_VERSION
from pipeline.storage import layout
from pipeline.storage.json_types import Json
from stages import links, registry
from stages.florence.refine_config import RefineConfig
from stages.florence.witness import WitnessConfig

WORK = "work:"
"""Before the name of a model that lies in the work folder."""
FILTER_GROUP = "filters"
WITNESS = "witness"
"""The stage, and its name in a run, of the second look of a round's models."""
ROUND_VERSION = 2
"""Raise it when the files of a round change for the same labels."""
GROUNDING_TASK = "<CAPTION_TO_PHRASE_GROUNDING>"


@dataclass(frozen=True, slots=True, kw_only=True)
class Node:
    """One stage in one round."""

    name: str
    """ROUND.STAGE."""
    entry: Entry
    round: int
    reads: tuple[str, ...]
    """The nodes whose annotations it reads. Later ones revise earlier ones."""
    fingerprint: str
    folder: str
    revision: str = ""
    """The content of its model; the annotations that it makes carry it."""
    kind: Literal["signals", "round", "summary"] = "signals"
    """`round`: the node puts everything that it reads into the records and tars of a round.
    `summary`: it counts what it reads (`pipeline.execution.summaries`)."""

    @property
    def group(self) -> str:
        return self.entry.group

    @property
    def is_before_merge(self) -> bool:
        """Whether a model of a later round makes its labels, before the merge decides on any.

        Only such a node reads the head and nothing else.
        """
        return self.round > 0 and len(self.reads) == 1

    def table(self, shard: str) -> str:
        """The name of the Parquet table that this node writes for a shard."""
        assert self.kind != "summary", f"{self.name} writes no table"
        if self.kind == "round":
            return layout.round_table(self.folder, shard)
        return layout.signals_table(self.folder, shard)

    def tar(self, shard: str) -> str:
        """The name of the tar that this node writes for a shard, if it makes a round."""
        return layout.round_tar(self.folder, shard)

    @property
    def shares_images(self) -> bool:
        """Whether the tars of this round hold labels only (`rounds.images: reference`)."""
        options = self.entry.options
        return isinstance(options, RoundsConfig) and options.images == "reference"


@dataclass(frozen=True, slots=True)
class TrainedModel:
    """A model of this run."""

    folder: str
    revision: str
    """The digest of its files."""
    fold: int | None = None
    """The fold that it was not trained on, None if it was trained on all."""


@dataclass(frozen=True, slots=True)
class RoundModels:
    """The models of a round."""

    refining: Sequence[TrainedModel]
    """Those that annotate: one, or one per fold."""
    sparse: TrainedModel | None = None
    """The one that writes the texts of `refine.sparse` where they are missing."""


def round_zero(run: RunConfig) -> list[Node]:
    """The specialists and filters in their order (`pipeline.config.order`), then the round."""
    order = order_of(run)
    nodes: dict[str, Node] = {}
    for entry in order.finders:
        reads = _with_dependencies(entry.after, run.specialists)
        nodes[entry.name] = make_node(entry, 0, [nodes[name] for name in reads], run.cluster)
    for entry in order.deciders:
        nodes[entry.name] = make_node(entry, 0, list(nodes.values()), run.cluster)
    decided = list(nodes)
    for entry in order.composers:
        wanted = {*decided, *_with_dependencies(entry.after, run.specialists)}
        upstream = [node for name, node in nodes.items() if name in wanted]
        nodes[entry.name] = make_node(entry, 0, upstream, run.cluster)
    return _with_filters(run, 0, order.filters, list(nodes.values()))


def refine_nodes(
    run: RunConfig,
    number: int,
    head: Node,
    models: RoundModels,
) -> list[Node]:
    """The first nodes of round `number`: the models annotate, each the samples of its fold."""
    annotate = run.refine.annotate
    return [_model_node(run, annotate, number, [head], model, {}) for model in models.refining]


def witness_nodes(
    run: RunConfig,
    number: int,
    head: Node,
    models: RoundModels,
) -> list[Node]:
    """The models look at the mirrored samples of their folds, one node for each.

    What they say is counted (`judgement_summary`), and the merge asks what they repeat; no round
    reads it. There are none if another stage than that of Florence-2 annotates, or if every model
    has learned from all samples, so that nothing could be measured.
    """
    annotate = run.refine.annotate
    gate = run.refine.gate
    nothing_to_measure = gate.held_out == gate.held_out_human == 0 and run.refine.folds == 1
    if nothing_to_measure or not isinstance(annotate.options, RefineConfig):
        return []
    shared = {}
    for field in dataclasses.fields(annotate.options):
        shared[field.name] = getattr(annotate.options, field.name)
    options = WitnessConfig(**shared, held_out=gate.held_out)
    entry = dataclasses.replace(annotate, name=WITNESS, use=WITNESS, options=options)
    return [_model_node(run, entry, number, [head], model, {}) for model in models.refining]


def refine_node_names(run: RunConfig, number: int) -> list[str]:
    """The names of `refine_nodes`, by fold."""
    name = f"{number}.{run.refine.annotate.name}"
    folds = run.refine.folds
    if folds == 1:
        return [name]
    return [f"{name}_{fold}" for fold in range(folds)]


def next_round(
    run: RunConfig,
    number: int,
    head: Node,
    models: RoundModels,
    merge: Entry,
) -> list[Node]:
    """The nodes of round `number`: annotate, merge, complete what changed, filter.

    `merge` is `refine.merge` with the thresholds that were measured after the models annotated.
    """
    nodes = refine_nodes(run, number, head, models)
    witnesses = witness_nodes(run, number, head, models)
    nodes.append(make_node(merge, number, [head, *nodes, *witnesses], run.cluster))
    if models.sparse is not None:
        settings: Json = {
            "tasks": (),
            "support": (),
            "missing": run.refine.sparse.texts,
        }
        entry = dataclasses.replace(run.refine.annotate, name="sparse")
        nodes.append(_model_node(run, entry, number, [head, *nodes], models.sparse, settings))
    if ROUND_MODEL in run.refine.complete:
        nodes += _grounding_nodes(run, number, [head, *nodes], models)
    order = order_of(run)
    names = completing(run)
    for entry in (*order.finders, *order.deciders, *order.composers):
        if entry.name in names or entry in order.deciders:
            nodes.append(make_node(entry, number, [head, *nodes], run.cluster))
    return _with_filters(run, number, order.filters, nodes, head)


def make_node(
    entry: Entry,
    number: int,
    reads: Sequence[Node],
    cluster: ClusterConfig,
    revision: str = "",
) -> Node:
    """The node of a stage in round `number`. `revision` is the content of a model of this run."""
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
        folder=layout.signals_folder(entry.name, mark),
        revision=revision or revision_of(entry.options),
    )


def _model_node(
    run: RunConfig,
    entry: Entry,
    number: int,
    reads: Sequence[Node],
    model: TrainedModel,
    settings: Json,
) -> Node:
    """A node at which a model looks at its samples: `entry` with some settings of its own."""
    values = {**settings, "model": f"{WORK}{model.folder}"}
    name = entry.name
    if model.fold is not None:
        values |= {"fold": model.fold, "folds": run.refine.folds}
        name = f"{name}_{model.fold}"
    options = dataclasses.replace(entry.options, **values)
    entry = dataclasses.replace(entry, name=name, options=options)
    return make_node(entry, number, reads, run.cluster, model.revision)


def _grounding_nodes(
    run: RunConfig,
    number: int,
    reads: Sequence[Node],
    models: RoundModels,
) -> list[Node]:
    """The nodes at which the models find the phrases of new texts."""
    settings: Json = {
        "tasks": (GROUNDING_TASK,),
        "support": (),
        "fresh": True,
    }
    entry = dataclasses.replace(run.refine.annotate, name=ROUND_MODEL)
    return [_model_node(run, entry, number, reads, model, settings) for model in models.refining]


def _with_filters(
    run: RunConfig,
    number: int,
    filters: Iterable[Entry],
    nodes: list[Node],
    head: Node | None = None,
) -> list[Node]:
    """The nodes, then these filters, then the node that writes the round."""
    nodes = list(nodes)
    base = [head] if head else []
    for entry in filters:
        nodes.append(make_node(entry, number, [*base, *nodes], run.cluster))
    reads = [*base, *nodes]
    upstream = [node.fingerprint for node in reads]
    recipe: Json = {
        "schema": SCHEMA_VERSION,
        "links": links.VERSION,
        "files": ROUND_VERSION,
        "round": number,
        "upstream": upstream,
    }
    if run.rounds.images == "reference":
        # `copy` is not part of a recipe, so that rounds from before this setting keep their names.
        recipe["images"] = "reference"
    mark = fingerprint(recipe)
    last = Node(
        name=f"{number}.round",
        entry=Entry(name="round", use="round", options=run.rounds, group=FILTER_GROUP),
        round=number,
        reads=tuple(node.name for node in reads),
        fingerprint=mark,
        folder=layout.round_folder(number, mark),
        kind="round",
    )
    return [*nodes, last]


def _with_dependencies(names: Iterable[str], entries: Mapping[str, Entry]) -> list[str]:
    """`names` and everything that they come after, in topological order."""
    wanted: set[str] = set()
    todo = list(names)
    while todo:
        name = todo.pop()
        if name not in wanted:
            wanted.add(name)
            todo += entries[name].after
    return [entry.name for entry in in_order(entries.values()) if entry.name in wanted]
