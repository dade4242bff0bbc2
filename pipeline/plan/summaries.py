"""The nodes that count what other nodes have written, so that the driver reads no records."""

from __future__ import annotations

from collections.abc import Sequence

from pipeline.config.run import Entry, RunConfig
from pipeline.config.validation import Settings
from pipeline.plan.graph import FILTER_GROUP, Node
from pipeline.plan.recipe import fingerprint, recipe_settings
from pipeline.quality.summary import FORMAT
from pipeline.schema import SCHEMA_VERSION
from pipeline.storage import layout
from stages import registry


def round_summary(run: RunConfig, node: Node, head: Node | None) -> Node:
    """The node that counts the round of `node`, which began with the round of `head`."""
    options = _config(registry.ROUND_SUMMARY)(
        held_out=run.refine.gate.held_out,
        held_out_human=run.refine.gate.held_out_human,
        folds=run.refine.folds,
        texts=run.refine.sparse.texts,
    )
    return _node("summary", registry.ROUND_SUMMARY, options, [head, node] if head else [node])


def judgement_summary(
    run: RunConfig, refining: Sequence[Node], witnesses: Sequence[Node], head: Node
) -> Node:
    """The node that counts what the models said of the labels of `head`.

    It reads the head, then `refining`, then `witnesses` (`pipeline.plan.graph.witness_nodes`).
    """
    options = _config(registry.JUDGEMENTS)(
        held_out=run.refine.gate.held_out,
        held_out_human=run.refine.gate.held_out_human,
        merge=run.refine.merge.options,
    )
    return _node("judgements", registry.JUDGEMENTS, options, [head, *refining, *witnesses])


def people_summary(run: RunConfig, node: Node, head: Node) -> Node | None:
    """The node that compares the rounds of `node` and of `head` with what people said.

    None unless people judge the rounds (`refine.gate.truth`).
    """
    if run.refine.gate.truth != "human":
        return None
    options = _config(registry.PEOPLE)(
        held_out=run.refine.gate.held_out,
        held_out_human=run.refine.gate.held_out_human,
    )
    return _node("people", registry.PEOPLE, options, [head, node])


def _config(target: str) -> type:
    """The class of a summary's settings."""
    found: type = registry.config_of(registry.resolve(target))
    return found


def _node(name: str, target: str, options: Settings, reads: Sequence[Node]) -> Node:
    recipe = {
        "schema": SCHEMA_VERSION,
        "files": FORMAT,
        "use": name,
        "version": registry.resolve(target).version,
        "settings": recipe_settings(options),
        "upstream": [node.fingerprint for node in reads],
    }
    mark = fingerprint(recipe)
    number = reads[-1].round
    return Node(
        name=f"{number}.{name}",
        entry=Entry(name=name, use=target, options=options, group=FILTER_GROUP),
        round=number,
        reads=tuple(node.name for node in reads),
        fingerprint=mark,
        folder=layout.summary_folder(name, mark),
        kind="summary",
    )
