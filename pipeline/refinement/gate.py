"""The gate: whether a new round becomes the head.

Some sets come with truth: scenes that were rendered, or human labels that the source declares as
truth. Then the new round is compared with the head on the samples that were held out of training,
by a paired bootstrap. With `refine.gate.truth=human` the truth is what people said of held-out
samples in a review (`pipeline.refinement.people`). Without truth the evidence is weaker: how many
of the head's labels on held-out samples the round's model confirms
(`pipeline.refinement.thresholds.agreement`).
"""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from dataclasses import asdict, dataclass, replace
from typing import Literal

import numpy as np

from pipeline.config.run import GateConfig
from pipeline.execution.reading import read_rows
from pipeline.plan.graph import Node
from pipeline.plan.recipe import recipe_settings
from pipeline.quality import truth
from pipeline.refinement import reasons
from pipeline.refinement.changes import CONFIRMED, KEPT
from pipeline.refinement.judgements import Judgements, merge_config
from pipeline.refinement.memo import outputs_digest, remembered
from pipeline.refinement.people import compare_with_people
from pipeline.refinement.round_metrics import held_out, measure
from pipeline.refinement.thresholds import agreement
from pipeline.schema import Annotations, Record
from pipeline.storage import layout
from pipeline.storage.images import read_truth
from pipeline.storage.json_types import Json
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
    """Sentences for a person: the numbers that decided, and what to do next."""

    evidence: Json
    """The same numbers for a program; `kind` says what they are: unchanged, truth, human,
    agreement."""


def judge(judgements: Judgements, last: Node) -> Verdict:
    """Whether the round that node `last` wrote becomes head in place of `judgements.head`."""
    run = judgements.run
    nodes = [judgements.head, *judgements.refining, last]
    inputs = (
        run.seed,
        recipe_settings(run.refine.gate),
        outputs_digest(nodes, judgements.states),
    )
    name = layout.measured_verdict(last.folder)

    def compute() -> Json:
        return asdict(_judge(judgements, last))

    verdict = remembered(judgements.store, name, inputs, compute, keep=True)
    return Verdict(verdict["status"], verdict["reason"], verdict["evidence"])


def _judge(judgements: Judgements, last: Node) -> Verdict:
    """The verdict with the round that is now the user's result."""
    verdict = _verdict(judgements, last)
    result = reasons.result(verdict.status == ACCEPTED, last.round, judgements.head.round)
    return replace(verdict, reason=f"{verdict.reason} {result}")


def _verdict(judgements: Judgements, last: Node) -> Verdict:
    """Judge by the best evidence that there is: changes at all, then people or truth, then
    agreement."""
    run = judgements.run
    gate = run.refine.gate
    metrics = measure(judgements.store, run, last, judgements.states, judgements.head)
    changes = metrics["changes"]
    if not _has_changes(changes):
        evidence: Json = {"kind": "unchanged", "changes": changes}
        merge = merge_config(run)
        agreed = agreement(judgements.unlearned(), last.round, merge)
        return Verdict(REJECTED, reasons.no_change(agreed, merge), evidence)
    if gate.truth == "human":
        people = compare_with_people(judgements)
        if len(people.after):
            return by_truth(people.after, people.before, gate, run.seed, "human")
        verdict = _by_source_or_model(judgements, last)
        return replace(verdict, reason=f"{reasons.NO_REVIEW} {verdict.reason}")
    return _by_source_or_model(judgements, last)


def _by_source_or_model(judgements: Judgements, last: Node) -> Verdict:
    """Judge by the truth that came with the source, or by agreement where there is none."""
    run = judgements.run
    after = []
    before = []
    for sample in _held_out_with_truth(judgements, last):
        after.append((sample.after, sample.truth))
        before.append((sample.before, sample.truth))
    if after:
        new = truth.count_samples(after)
        old = truth.count_samples(before)
        return by_truth(new, old, run.refine.gate, run.seed)
    held_out_labels = (sample.annotations for sample in judgements.held_out())
    evidence = agreement(held_out_labels, last.round, merge_config(run))
    return by_agreement(evidence, run.refine.gate)


def _has_changes(changes: Mapping[str, Mapping[str, int]]) -> bool:
    """Whether any label is not as it was; `changes` has counts by kind and fate."""
    return any(fates.keys() - UNCHANGED for fates in changes.values())


def by_truth(
    new: np.ndarray,
    old: np.ndarray,
    gate: GateConfig,
    seed: int,
    kind: Literal["truth", "human"] = "truth",
) -> Verdict:
    """Compare the counts of a round with those of its head, both against truth.

    `new` and `old` are what `pipeline.quality.truth.count_samples` returns for the same samples in
    the same order, of shape (samples, counts). `seed` is that of the bootstrap. `kind` says where
    the truth comes from: the source, or people who reviewed the samples.
    """
    differences = truth.compare(new, old, seed=seed)
    score = differences["score"]
    old_totals = old.sum(axis=0)
    before = truth.summary(old_totals)["score"]
    numbers = reasons.compared(score, before, len(new), kind)
    plain_differences = {}
    for metric, difference in differences.items():
        plain_differences[metric] = asdict(difference)
    evidence: Json = {
        "kind": kind,
        "samples": len(new),
        "differences": plain_differences,
    }
    # A round is worse only if the whole interval is: its end that favours the round decides.
    if score.high < -gate.tolerance:
        return Verdict(REJECTED, reasons.worse(numbers, gate), evidence)
    if score.value < gate.min_gain:
        return Verdict(REJECTED, reasons.no_gain(numbers, gate), evidence)
    return Verdict(ACCEPTED, reasons.better(numbers, gate), evidence)


def by_agreement(evidence: Json, gate: GateConfig) -> Verdict:
    """Judge by the share of the head's labels that the model confirms (`thresholds.agreement`)."""
    reason = reasons.agreed(evidence, gate)
    refound = evidence["refound"]
    if refound is None:
        return Verdict(REJECTED, reason, evidence)
    evidence = {"kind": "agreement", **evidence}
    accepted = refound >= gate.min_agreement
    return Verdict(ACCEPTED if accepted else REJECTED, reason, evidence)


@dataclass(frozen=True, slots=True)
class _ComparedSample:
    """A held-out sample with truth: its labels in the head and in the new round."""

    before: Annotations
    after: Annotations
    truth: Annotations


def _held_out_with_truth(judgements: Judgements, last: Node) -> Iterator[_ComparedSample]:
    """The samples that no model has learned from and whose truth is known."""
    store = judgements.store
    for shard in sorted(judgements.states):
        known = read_truth(store, shard)
        if not known:
            continue
        before: list[Record] = read_rows(store, judgements.head, shard)
        after: list[Record] = read_rows(store, last, shard)
        for old, new in zip(before, after, strict=True):
            if old.key not in known or not held_out(old.key, judgements.run):
                continue
            yield _ComparedSample(
                before=old.annotations,
                after=new.annotations,
                truth=known[old.key],
            )
