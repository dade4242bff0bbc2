"""The gate: whether a new round becomes the head.

Some sets come with truth: scenes that were rendered, or human labels that the source declares as
truth. Then the new round is compared with the head on the samples that were held out of training,
by a paired bootstrap. Without truth the evidence is weaker: how many of the head's labels on
held-out samples the round's model confirms (`pipeline.refinement.thresholds.agreement`).
"""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import asdict, dataclass

import numpy as np

from pipeline.config.run import GateConfig
from pipeline.execution.reading import read_rows
from pipeline.plan.graph import Node
from pipeline.plan.recipe import recipe_settings
from pipeline.quality import truth
from pipeline.refinement.changes import CONFIRMED, KEPT
from pipeline.refinement.judgements import Judgements, merge_config
from pipeline.refinement.memo import Json, outputs_digest, remembered
from pipeline.refinement.round_metrics import held_out, measure
from pipeline.refinement.thresholds import agreement
from pipeline.schema import Annotations, Record
from pipeline.storage import layout
from pipeline.storage.images import read_truth
from pipeline.storage.rounds import Status

ACCEPTED: Status = "accepted"
REJECTED: Status = "rejected"
UNCHANGED = {KEPT, CONFIRMED}
"""The changes that leave a label as it was."""


@dataclass(frozen=True, slots=True)
class Verdict:
    """The gate's decision on a round."""

    status: Status
    reason: str
    """One line for a person, with the numbers that decided."""

    evidence: Json
    """The same numbers for a program; `kind` says what they are: unchanged, truth, agreement."""


def judge(judgements: Judgements, last: Node) -> Verdict:
    """Whether the round that node `last` wrote becomes head in place of `judgements.head`."""
    run, states = judgements.run, judgements.states
    nodes = [judgements.head, *judgements.refining, last]
    gate = recipe_settings(run.refine.gate)
    inputs = (run.seed, gate, outputs_digest(nodes, states))
    name = layout.measured_verdict(last.folder)

    def compute() -> Json:
        return asdict(_judge(judgements, last))

    verdict = remembered(judgements.store, name, inputs, compute, keep=True)
    return Verdict(verdict["status"], verdict["reason"], verdict["evidence"])


def _judge(judgements: Judgements, last: Node) -> Verdict:
    run = judgements.run
    metrics = measure(judgements.store, run, last, judgements.states, judgements.head)
    changes = metrics["changes"]
    if not any(rules.keys() - UNCHANGED for rules in changes.values()):
        evidence = {"kind": "unchanged", "changes": changes}
        return Verdict(REJECTED, "no change: every label is as it was", evidence)
    compared = list(_held_out_with_truth(judgements, last))
    if compared:
        new = truth.count_samples((sample.after, sample.truth) for sample in compared)
        old = truth.count_samples((sample.before, sample.truth) for sample in compared)
        return by_truth(new, old, run.refine.gate, run.seed)
    evidence = agreement(judgements.held_out(), last.round, merge_config(run))
    return by_agreement(evidence, run.refine.gate)


def by_truth(new: np.ndarray, old: np.ndarray, gate: GateConfig, seed: int) -> Verdict:
    """Compare the counts of a round with those of its head, both against truth.

    `new` and `old` are what `pipeline.quality.truth.count_samples` returns for the same samples in
    the same order, of shape (samples, counts). `seed` is that of the bootstrap.
    """
    differences = truth.compare(new, old, seed=seed)
    score = differences["score"]
    before = truth.summary(old.sum(axis=0))["score"]
    numbers = (
        f"mean F1 on {len(new)} held-out samples {before:.3f} -> {before + score.value:.3f} "
        f"(difference {score.value:+.3f}, 95% interval {score.low:+.3f} to {score.high:+.3f})"
    )
    evidence: Json = {
        "kind": "truth",
        "samples": len(new),
        "differences": {metric: asdict(interval) for metric, interval in differences.items()},
    }
    if score.high < -gate.tolerance:
        return Verdict(REJECTED, f"worse: {numbers}", evidence)
    if score.value < gate.min_gain:
        return Verdict(REJECTED, f"no gain: {numbers}", evidence)
    return Verdict(ACCEPTED, f"better: {numbers}", evidence)


def by_agreement(evidence: Json, gate: GateConfig) -> Verdict:
    """Judge by the share of the head's labels that the model confirms (`thresholds.agreement`)."""
    refound, support = evidence["refound"], evidence["support"]
    if refound is None:
        reason = "no labels on held-out samples to judge by; raise refine.gate.held_out"
        return Verdict(REJECTED, reason, evidence)
    numbers = f"the model finds {refound:.0%} of the head's held-out labels again"
    if support is not None:
        numbers += f" and gives them {support:.2f} nats a token"
    evidence = {"kind": "agreement", **evidence}
    if refound < gate.min_agreement:
        needed = f"{gate.min_agreement:.0%} are needed (no labelled set)"
        return Verdict(REJECTED, f"too little agreement: {numbers}, {needed}", evidence)
    return Verdict(ACCEPTED, f"agreement: {numbers} (weaker evidence, no labelled set)", evidence)


@dataclass(frozen=True, slots=True)
class _ComparedSample:
    """A held-out sample with truth: its labels in the head and in the new round."""

    before: Annotations
    after: Annotations
    truth: Annotations


def _held_out_with_truth(judgements: Judgements, last: Node) -> Iterator[_ComparedSample]:
    store = judgements.store
    for shard in sorted(judgements.states):
        known = read_truth(store, shard)
        if not known:
            continue
        before: list[Record] = read_rows(store, judgements.head, shard)
        after: list[Record] = read_rows(store, last, shard)
        for old, new in zip(before, after, strict=True):
            if old.key in known and held_out(old.key, judgements.run):
                yield _ComparedSample(old.annotations, new.annotations, known[old.key])
