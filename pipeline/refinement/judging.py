"""The verdict on a round that is made, from what was counted on all its shards.

`fld run` and `fld plan` read it here, so that a plan goes on from the head that the run will have.
"""

from __future__ import annotations

from collections.abc import Mapping

from pipeline.config.run import RunConfig
from pipeline.execution.summaries import total, total_by_source
from pipeline.quality.summary import Summary
from pipeline.refinement.gate import Evidence, Verdict, estimates_by_kind, judge
from pipeline.refinement.judgements import Measured, merge_config
from pipeline.refinement.loop import Candidate
from pipeline.refinement.source_evidence import SourceSums, with_sources
from pipeline.storage.store import Store


def judge_candidate(
    store: Store, candidate: Candidate, run: RunConfig, *, keep: bool = True
) -> Verdict:
    """What the gate says of a round; with `keep` the sums over all shards are kept."""
    states = candidate.states
    people = None
    if candidate.people:
        people = total(store, candidate.people, states, keep=keep)
    evidence = Evidence(
        head=candidate.head.round,
        number=candidate.last.round,
        counted=total(store, candidate.counted, states, keep=keep),
        judged=total(store, candidate.judged, states, keep=keep),
        people=people,
    )
    sums = _sums(store, candidate, run, evidence.judged, keep)
    return with_sources(judge(evidence, run), sums, run.seed)


def _sums(
    store: Store, candidate: Candidate, run: RunConfig, judged: Summary, keep: bool
) -> dict[str, SourceSums]:
    """What was counted on each source that has a name; `judged` is the sum over all sources."""
    states = candidate.states
    counted = total_by_source(store, candidate.counted, states, keep=keep)
    if not counted:
        return {}
    judged_by_source = total_by_source(store, candidate.judged, states, keep=keep)
    measured = Measured.of(judged, run)
    people: Mapping[str, Summary] = {}
    if candidate.people:
        people = total_by_source(store, candidate.people, states, keep=keep)
    sums = {}
    for name, own in counted.items():
        held_out = judged_by_source[name]["held_out"]
        estimates = estimates_by_kind(held_out, measured, merge_config(run))
        sums[name] = SourceSums(counted=own, estimates=estimates, people=people.get(name))
    return sums
