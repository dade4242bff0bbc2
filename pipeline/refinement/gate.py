"""Numbers of a round, and the gate's verdict on it.

With truth (rendered, or labels of people that the source gives as truth) a round is compared with the head on the
samples that were held out of training, by a paired bootstrap. Without, the evidence is weaker: how many of the head's
labels on held-out samples the round's model confirms (pipeline/merge.py).
"""

from __future__ import annotations

from collections.abc import Iterator, Mapping, Sequence
from dataclasses import asdict, dataclass
from typing import Any, cast

import numpy as np

from pipeline.config.run import RunConfig
from pipeline.execution.reading import read_inputs, read_rows
from pipeline.plan.graph import Node, refine_node_names
from pipeline.plan.recipe import recipe_settings
from pipeline.plan.shard_state import ShardState
from pipeline.quality import truth
from pipeline.refinement import merge
from pipeline.refinement.changes import CONFIRMED, KEPT
from pipeline.refinement.round_metrics import (
    _once,
    _outputs,
    held_out,
    measure,
)
from pipeline.refinement.rules import Levels, MergeConfig
from pipeline.schema import Annotations, Record, Row
from pipeline.storage import layout
from pipeline.storage.images import read_truth
from pipeline.storage.store import Store
from stages.base import fold_of

ACCEPTED, REJECTED = "accepted", "rejected"
UNCHANGED = {KEPT, CONFIRMED}


@dataclass(frozen=True, slots=True)
class Verdict:
    """What the gate says of a round, in a line, with the numbers behind it."""

    status: str
    reason: str
    evidence: dict[str, Any]


def judge(
    store: Store, run: RunConfig, head: Node, nodes: Sequence[Node], done: Mapping[str, ShardState]
) -> Verdict:
    """Whether the last of `nodes` becomes head."""
    last = nodes[-1]
    refine = [node for node in nodes if node.name in refine_node_names(run, last.round)]
    inputs = (run.seed, recipe_settings(run.refine.gate), _outputs([head, *refine, last], done))
    name = layout.measured_verdict(last.folder)
    said = _once(store, name, inputs, lambda: asdict(_judge(store, run, head, refine, last, done)))
    return Verdict(said["status"], said["reason"], said["evidence"])


def _judge(
    store: Store,
    run: RunConfig,
    head: Node,
    refine: Sequence[Node],
    last: Node,
    done: Mapping[str, ShardState],
) -> Verdict:
    changes = measure(store, run, last, done, head)["changes"]
    if not any(rules.keys() - UNCHANGED for rules in changes.values()):
        return Verdict(
            REJECTED,
            "no change: every label is as it was",
            {"kind": "unchanged", "changes": changes},
        )
    pairs = list(_held_out_rounds(store, run, head, last, done))
    if pairs:
        new = truth.count_samples((labels, known) for _, labels, known in pairs)
        old = truth.count_samples((labels, known) for labels, _, known in pairs)
        return _by_truth(run, new, old)
    seen = (labels for key, labels in _judged(store, head, refine, done) if held_out(key, run))
    return _by_agreement(run, merge.agreement(seen, last.round, _merge_config(run)))


def _merge_config(run: RunConfig) -> MergeConfig:
    """Return the settings of the stage that merges labels; `Entry` does not know their class."""
    return cast(MergeConfig, run.refine.merge.options)


def levels(
    store: Store,
    run: RunConfig,
    head: Node,
    looked: Sequence[Node],
    done: Mapping[str, ShardState],
    *,
    keep: bool = True,
) -> dict[str, Levels]:
    """By kind, how far the models can be trusted and how sure is sure enough, from the samples that they had not
    learned from. With `keep` they are written down for the next call."""
    rules = _merge_config(run)
    inputs = (
        merge.Merge.version,
        recipe_settings(rules),
        run.refine.gate.held_out,
        _outputs([head, *looked], done),
    )

    def make() -> dict[str, Any]:
        found = merge.levels(_unlearned(store, run, head, looked, done), looked[0].round, rules)
        return {"levels": {kind: asdict(each) for kind, each in found.items()}}

    said = _once(store, layout.measured_levels(looked[0].folder), inputs, make, keep)
    return {kind: Levels(**each) for kind, each in said["levels"].items()}


def _unlearned(
    store: Store, run: RunConfig, head: Node, looked: Sequence[Node], done: Mapping[str, ShardState]
) -> Iterator[Annotations]:
    """`_judged` of the samples that the model which looked at them has not learned from."""
    for key, labels in _judged(store, head, looked, done):
        if len(looked) > 1 or held_out(key, run):
            yield labels


def _judged(
    store: Store, head: Node, looked: Sequence[Node], done: Mapping[str, ShardState]
) -> Iterator[tuple[str, Annotations]]:
    """(key, the head's labels with what the model said of them) of every sample that a model looked at: with folds,
    the one of its fold."""
    for shard in sorted(done):
        before: list[Record] = read_inputs(store, head, shard)
        said = zip(*(read_rows(store, node, shard) for node in looked), strict=True)
        for old, rows in zip(before, said, strict=True):
            row: Row = rows[fold_of(old.key, len(looked))]
            if row.failed is None:
                yield old.key, old.annotations.overlaid(row.annotations)


def _by_truth(run: RunConfig, new: np.ndarray, old: np.ndarray) -> Verdict:
    gate = run.refine.gate
    compared = truth.compare(new, old, seed=run.seed)
    score = compared["score"]
    before = truth.summary(old.sum(axis=0))["score"]
    numbers = (
        f"mean F1 on {len(new)} held-out samples {before:.3f} -> {before + score.value:.3f} "
        f"(difference {score.value:+.3f}, 95% interval {score.low:+.3f} to {score.high:+.3f})"
    )
    evidence = {
        "kind": "truth",
        "samples": len(new),
        "differences": {k: asdict(v) for k, v in compared.items()},
    }
    if score.high < -gate.tolerance:
        return Verdict(REJECTED, f"worse: {numbers}", evidence)
    if score.value < gate.min_gain:
        return Verdict(REJECTED, f"no gain: {numbers}", evidence)
    return Verdict(ACCEPTED, f"better: {numbers}", evidence)


def _by_agreement(run: RunConfig, evidence: dict[str, Any]) -> Verdict:
    refound, support = evidence["refound"], evidence["support"]
    if refound is None:
        return Verdict(
            REJECTED,
            "no labels on held-out samples to judge by; raise refine.gate.held_out",
            evidence,
        )
    numbers = f"the model finds {refound:.0%} of the head's held-out labels again" + (
        "" if support is None else f" and gives them {support:.2f} nats a token"
    )
    needed = run.refine.gate.min_agreement
    evidence = {"kind": "agreement", **evidence}
    if refound < needed:
        return Verdict(
            REJECTED,
            f"too little agreement: {numbers}, {needed:.0%} are needed (no labelled set)",
            evidence,
        )
    return Verdict(ACCEPTED, f"agreement: {numbers} (weaker evidence, no labelled set)", evidence)


def _held_out_rounds(
    store: Store, run: RunConfig, head: Node, last: Node, done: Mapping[str, ShardState]
) -> Iterator[tuple[Annotations, Annotations, Annotations]]:
    """(labels before, labels after, truth) of every held-out sample with truth."""
    for shard in sorted(done):
        known = read_truth(store, shard)
        if known:
            before: list[Record] = read_rows(store, head, shard)
            for old, new in zip(before, read_rows(store, last, shard), strict=True):
                if old.key in known and held_out(old.key, run):
                    yield old.annotations, new.annotations, known[old.key]
