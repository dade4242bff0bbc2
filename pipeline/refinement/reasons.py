"""The sentences of the gate: what was measured, why a round is accepted or not, what to do next.

They stand in `round.json`, so `fld run`, `fld status` and the report say the same.
"""

from __future__ import annotations

from collections.abc import Mapping

from pipeline.config.run import GateConfig
from pipeline.quality.truth import Interval
from pipeline.refinement.estimates import MIN_LABELS, Estimate
from pipeline.refinement.rules import MergeConfig, Rules
from pipeline.storage.json_types import Json

BETTER_MODEL = (
    "Next: more images, more training steps (train.stages), or a pre-trained refine.start."
)
NO_REVIEW = (
    "no held-out sample has been reviewed (refine.gate.truth=human), so people did not decide; "
    "`fld review export` picks such samples."
)
AN_ESTIMATE = (
    "This is an estimate without truth: mistakes that specialists always make are not in it. "
    "Next: look at a sample by `fld audit sample`."
)
NO_ESTIMATE = (
    "no estimate: labels were only moved, or were changed by fixed thresholds of refine.merge, and "
    "the second look does not tell what that is worth. Next: more training steps (train.stages), "
    "no fixed thresholds, or a higher refine.gate.held_out."
)
MORE_HELD_OUT = "Next: more images, or a higher refine.gate.held_out."


def result(accepted: bool, this_round: int, head_round: int) -> str:
    """Which round is now the user's result."""
    return f"Round {this_round if accepted else head_round} is your result."


def no_change(evidence: Json, config: MergeConfig) -> str:
    """Why a round has the labels of its head.

    `evidence` is `thresholds.agreement` on samples that the model has not learned from.
    """
    refound = evidence["refound"]
    if refound is None:
        return f"no change: there was no label to measure the model on. {MORE_HELD_OUT}"
    kinds: dict[str, Json] = evidence["kinds"]
    found = (
        f"no change: the model found {refound:.0%} of the old labels again on samples that it had "
        f"not learned from ({_counts(kinds)})"
    )
    if any(_is_trusted(counts, getattr(config, name)) for name, counts in kinds.items()):
        return f"{found}, and it was not certain enough of anything else. {BETTER_MODEL}"
    if any(counts["of"] >= MIN_LABELS for counts in kinds.values()):
        return f"{found}, so none of its changes was trusted. {BETTER_MODEL}"
    needed = f"{MIN_LABELS} labels of a kind must be found again before the model is trusted"
    return f"{found}; {needed}. {MORE_HELD_OUT}"


def compared(score: Interval, before: float, samples: int, kind: str = "truth") -> str:
    """The scores of a round and its head against truth; of `kind` human, people reviewed it."""
    reviewed = "reviewed, " if kind == "human" else ""
    return (
        f"mean F1 on {samples} {reviewed}held-out samples "
        f"{before:.3f} -> {before + score.value:.3f} "
        f"(difference {score.value:+.3f}, 95% interval {score.low:+.3f} to {score.high:+.3f})"
    )


def worse(numbers: str, gate: GateConfig) -> str:
    """Why a round is rejected that is surely worse than its head."""
    limit = f"below {-gate.tolerance:g}" if gate.tolerance else "below zero"
    return (
        f"worse: {numbers}; the whole interval lies {limit}, so this is no chance. {BETTER_MODEL}"
    )


def no_gain(numbers: str, gate: GateConfig) -> str:
    """Why a round is rejected that is not better by enough."""
    needed = f"a gain of {gate.min_gain:g} is needed (refine.gate.min_gain)"
    return f"no gain: {numbers}; {needed}. {BETTER_MODEL}"


def may_be_chance(numbers: str) -> str:
    """Why a round is rejected whose estimated gain may be none."""
    return f"no sure gain: {numbers}; the interval reaches below zero. {MORE_HELD_OUT}"


def better(numbers: str, gate: GateConfig) -> str:
    """Why a round is accepted with truth."""
    return f"better: {numbers}; a gain of {gate.min_gain:g} is needed (refine.gate.min_gain)."


def estimated(score: Interval, estimates: Mapping[str, Estimate]) -> str:
    """What a second look tells of the changes of a round, kind by kind."""
    kinds = [_estimated_kind(name, found) for name, found in estimates.items()]
    return (
        f"estimated mean F1 on held-out samples {score.value:+.3f} "
        f"(95% interval {score.low:+.3f} to {score.high:+.3f}): {'; '.join(kinds)}"
    )


def _estimated_kind(name: str, found: Estimate) -> str:
    """For example `regions 0.57 -> 0.77, 92 added (74% right), 60 renamed (71% right)`."""
    parts = [name.replace("_", " ")]
    scores = found.f1()
    if scores is not None:
        before, after = scores
        parts[0] += f" {before:.2f} -> {after:.2f}"
    for verb, changes in (
        ("added", found.added.made),
        ("renamed", found.renamed.made),
        ("dropped", found.dropped.made),
    ):
        if changes.labels:
            share = changes.right / changes.labels
            parts.append(f"{changes.labels} {verb} ({share:.0%} right)")
    return ", ".join(parts)


def _counts(kinds: dict[str, Json]) -> str:
    """How many labels of each kind were found again."""
    parts = []
    for name, counts in kinds.items():
        kind = name.replace("_", " ")
        parts.append(f"{kind} {counts['confirmed']} of {counts['of']}")
    return ", ".join(parts)


def _is_trusted(counts: Json, rules: Rules) -> bool:
    """Whether a model found so many labels of a kind that the merge could measure thresholds."""
    confirmed: int = counts["confirmed"]
    share = round(confirmed / counts["of"], 2)
    return confirmed >= MIN_LABELS and share >= rules.min_refound
