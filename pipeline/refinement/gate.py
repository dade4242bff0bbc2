"""The gate: whether a new round becomes the head.

Some sets come with truth: scenes that were rendered, or human labels that the source declares as
truth. Then the new round is compared with the head on the samples that were held out of training,
by a paired bootstrap. With `refine.gate.truth=human` the truth is what people said of held-out
samples in a review (`pipeline.refinement.people`). Without truth, the scores of both are estimated
from a second look of the round's model at the held-out samples (`pipeline.refinement.estimates`).
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import asdict, dataclass, replace
from typing import Literal

import numpy as np

from pipeline.config.run import GateConfig, RunConfig
from pipeline.quality import truth
from pipeline.quality.summary import Summary
from pipeline.refinement import reasons
from pipeline.refinement.changes import CONFIRMED, KEPT
from pipeline.refinement.estimates import Estimate, estimate, mean_gain
from pipeline.refinement.judgements import (
    Measured,
    merge_config,
    unlearned,
)
from pipeline.refinement.round_metrics import metrics
from pipeline.refinement.rules import MergeConfig, Rules, Thresholds, effective_thresholds
from pipeline.refinement.thresholds import agreement, judged_kinds
from pipeline.rows import Record
from pipeline.schema import Annotations
from pipeline.storage.json_types import Json
from pipeline.storage.rounds import Status
from pipeline.training.selection import HeldOut, has_human_labels

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
    estimate."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Evidence:
    """What the gate judges a round by: sums over all shards."""

    head: int
    """The number of the head."""
    number: int
    """The number of the round."""
    counted: Summary
    """What was counted on the round (`round_summary`)."""
    judged: Summary
    """What its models said of the head's labels (`judgements`)."""
    people: Summary | None = None
    """How both compare with what people said (`people`); None if people do not judge."""


@dataclass(frozen=True, slots=True, kw_only=True)
class PairedScores:
    """A round and its head against truth, on the held-out samples that have truth."""

    samples: int
    """How many there are."""
    new: np.ndarray
    """The counts of the round: (groups, len(METRICS), 3) int64, summed over groups of samples."""
    old: np.ndarray
    """The counts of the head on the same groups."""

    @classmethod
    def of(cls, counted: Summary) -> PairedScores | None:
        """The scores in a part that `PairedCounts` made.

        None if no sample had truth, or if nothing is in the truth and nothing was found.
        """
        if not counted["samples"]:
            return None
        new = counted["new"]
        old = counted["old"]
        # Small sets fill only some groups, and an empty one is no sample to draw.
        filled = (new + old).any(axis=(1, 2))
        if not filled.any():
            return None
        return cls(samples=counted["samples"], new=new[filled], old=old[filled])


class PairedCounts:
    """Adds up the scores of the head and of the round on the same samples."""

    def __init__(self) -> None:
        self.samples = 0
        self.old = np.zeros((truth.GROUPS, len(truth.METRICS), 3), np.int64)
        """The counts of the head by group of samples."""
        self.new = np.zeros_like(self.old)
        """The counts of the round by group of samples."""

    def add(self, key: str, before: Annotations, after: Annotations, known: Annotations) -> None:
        """Count a sample: its labels in the head and in the round, and what is true."""
        group = truth.group_of(key)
        self.samples += 1
        self.old[group] += truth.count_sample(before, known)
        self.new[group] += truth.count_sample(after, known)

    def summary(self) -> Summary:
        """A part of a summary, which `PairedScores.of` reads."""
        if not self.samples:
            return {"samples": 0}
        return {"samples": self.samples, "old": self.old, "new": self.new}


def count_paired(
    before: Sequence[Record],
    after: Sequence[Record],
    known: Mapping[str, Annotations],
    held_out: HeldOut,
) -> Summary:
    """The scores of the head and of the round against truth, as a part of a summary.

    `before` and `after` are the same samples in the same order. Only held-out samples with truth
    (`known`, by key) are counted.
    """
    counts = PairedCounts()
    for head, made in zip(before, after, strict=True):
        is_human = has_human_labels(head.annotations)
        if head.key in known and held_out.has(head.key, is_human):
            counts.add(head.key, head.annotations, made.annotations, known[head.key])
    return counts.summary()


def judge(evidence: Evidence, run: RunConfig) -> Verdict:
    """Whether a round becomes head, with the round that is now the user's result."""
    config = merge_config(run)
    measured = Measured.of(evidence.judged, run)
    estimates = estimates_by_kind(evidence.judged["held_out"], measured, config)
    verdict = _verdict(evidence, estimates, run)
    result = reasons.result(verdict.status == ACCEPTED, evidence.number, evidence.head)
    plain = {name: found.plain() for name, found in estimates.items()}
    return replace(
        verdict,
        reason=f"{verdict.reason} {result}",
        evidence={**verdict.evidence, "estimates": plain},
    )


def _verdict(evidence: Evidence, estimates: Mapping[str, Estimate], run: RunConfig) -> Verdict:
    """Judge by the best evidence that there is: changes at all, then people or truth, then an
    estimate."""
    changes = metrics(evidence.counted["metrics"], with_changes=True)["changes"]
    if not _has_changes(changes):
        merge = merge_config(run)
        agreed = agreement(unlearned(evidence.judged))
        return Verdict(
            REJECTED, reasons.no_change(agreed, merge), {"kind": "unchanged", "changes": changes}
        )
    if evidence.people is None:
        return _by_source_or_model(evidence, estimates, run)
    paired = PairedScores.of(evidence.people["paired"])
    if paired is not None:
        return by_truth(paired, run.refine.gate, run.seed, "human")
    verdict = _by_source_or_model(evidence, estimates, run)
    return replace(verdict, reason=f"{reasons.NO_REVIEW} {verdict.reason}")


def _by_source_or_model(
    evidence: Evidence, estimates: Mapping[str, Estimate], run: RunConfig
) -> Verdict:
    """Judge by the truth that came with the source, or by an estimate where there is none."""
    paired = PairedScores.of(evidence.counted["paired"])
    if paired is not None and run.refine.gate.truth != "none":
        return by_truth(paired, run.refine.gate, run.seed)
    return by_estimate(estimates, run.refine.gate)


def _has_changes(changes: Mapping[str, Mapping[str, int]]) -> bool:
    """Whether any label is not as it was; `changes` has counts by kind and fate."""
    return any(fates.keys() - UNCHANGED for fates in changes.values())


def by_truth(
    paired: PairedScores,
    gate: GateConfig,
    seed: int,
    kind: Literal["truth", "human"] = "truth",
) -> Verdict:
    """Compare a round with its head, both against truth.

    `seed` is that of the bootstrap. `kind` says where the truth comes from: the source, or people
    who reviewed the samples.
    """
    differences = truth.compare(paired.new, paired.old, seed=seed)
    score = differences["score"]
    old_totals = paired.old.sum(axis=0)
    before = truth.summary(old_totals)["score"]
    numbers = reasons.compared(score, before, paired.samples, kind)
    plain_differences = {}
    for metric, difference in differences.items():
        plain_differences[metric] = asdict(difference)
    evidence: Json = {
        "kind": kind,
        "samples": paired.samples,
        "differences": plain_differences,
    }
    # A round is worse only if the whole interval is: its end that favours the round decides.
    if score.high < -gate.tolerance:
        return Verdict(REJECTED, reasons.worse(numbers, gate), evidence)
    if score.value < gate.min_gain:
        return Verdict(REJECTED, reasons.no_gain(numbers, gate), evidence)
    return Verdict(ACCEPTED, reasons.better(numbers, gate), evidence)


def estimates_by_kind(
    held_out: Summary,
    measured: Measured,
    config: MergeConfig,
) -> dict[str, Estimate]:
    """What a merge makes of each kind of labels that the model judged.

    Args:
        held_out: what was counted on held-out samples (`judgements`).
        measured: what the merge goes by.
        config: the settings of the merge.
    """
    estimates = {}
    for name, counted in judged_kinds(held_out).items():
        rules: Rules = getattr(config, name)
        used = effective_thresholds(rules, measured.thresholds.get(name, Thresholds()))
        if used.refound < rules.min_refound:
            # Nothing of what the model says of this kind is done.
            used = Thresholds(refound=used.refound)
        estimates[name] = estimate(counted, used, measured.curves[name])
    return estimates


def by_estimate(estimates: Mapping[str, Estimate], gate: GateConfig) -> Verdict:
    """Compare a round with its head by what a second look of the model tells of the changes.

    The score is the mean over the kinds of labels that the model judged.
    """
    changed = {name: found for name, found in estimates.items() if found.changes}
    evidence: Json = {"kind": "estimate"}
    if not changed:
        return Verdict(REJECTED, reasons.NO_ESTIMATE, evidence)
    score = mean_gain(list(estimates.values()))
    evidence["score"] = asdict(score)
    numbers = reasons.estimated(score, changed)
    if score.high < -gate.tolerance:
        return Verdict(REJECTED, reasons.worse(numbers, gate), evidence)
    if score.value < gate.min_gain:
        return Verdict(REJECTED, reasons.no_gain(numbers, gate), evidence)
    if score.low < 0:
        return Verdict(REJECTED, reasons.may_be_chance(numbers), evidence)
    return Verdict(ACCEPTED, f"{reasons.better(numbers, gate)} {reasons.AN_ESTIMATE}", evidence)
