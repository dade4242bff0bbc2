"""What the gate's evidence says of each source of a run with several: which it helped or harmed.

The verdict is about all sources together. The evidence of each source stands beside it, because a
gain on a large source can hide a loss on a small one.
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import asdict, dataclass, replace

from pipeline.quality import truth
from pipeline.quality.summary import Summary
from pipeline.refinement.estimates import Estimate, mean_gain
from pipeline.refinement.gate import PairedScores, Verdict
from pipeline.storage.json_types import Json


@dataclass(frozen=True, slots=True, kw_only=True)
class SourceSums:
    """What was counted on one source: the parts of `Evidence` that the verdict may rest on."""

    counted: Summary
    """`Evidence.counted`."""
    estimates: Mapping[str, Estimate]
    """What the merge makes of its labels (`gate.estimates_by_kind`)."""
    people: Summary | None = None
    """`Evidence.people`."""


def with_sources(verdict: Verdict, sources: Mapping[str, SourceSums], seed: int) -> Verdict:
    """A verdict that says in reason and evidence what is known of each source.

    Args:
        verdict: on all sources together; it stands as it is.
        sources: by name; empty where the only source has no name.
        seed: of the bootstrap.
    """
    found = evidence_by_source(verdict.evidence["kind"], sources, seed)
    if not found:
        return verdict
    return replace(
        verdict,
        reason=f"{verdict.reason} {sentence(found)}",
        evidence={**verdict.evidence, "sources": found},
    )


def evidence_by_source(kind: str, sources: Mapping[str, SourceSums], seed: int) -> Json:
    """The evidence by source; `kind` is what the verdict rests on (`Verdict.evidence`).

    A source without held-out samples that could tell anything is not in it.
    """
    found = {}
    for name, sums in sources.items():
        if kind == "estimate":
            kinds = list(sums.estimates.values())
            if any(own.changes for own in kinds):
                labels = sum(own.labels for own in kinds)
                found[name] = {"labels": labels, "score": asdict(mean_gain(kinds))}
        elif kind in ("truth", "human"):
            counted = sums.people if kind == "human" else sums.counted
            paired = PairedScores.of(counted["paired"]) if counted else None
            if paired is not None:
                score = truth.compare(paired.new, paired.old, seed=seed)["score"]
                before = truth.summary(paired.old.sum(axis=0))["score"]
                found[name] = {"samples": paired.samples, "before": before, "score": asdict(score)}
    return found


def sentence(evidence: Json) -> str:
    """The evidence by source in one sentence."""
    parts = []
    for name, own in evidence.items():
        score = own["score"]
        interval = f"{score['low']:+.3f} to {score['high']:+.3f}"
        size = f"{own['samples']} samples" if "samples" in own else f"{own['labels']} labels"
        parts.append(f"{name} {score['value']:+.3f} ({interval}, {size})")
    return f"By source: {', '.join(parts)}."
