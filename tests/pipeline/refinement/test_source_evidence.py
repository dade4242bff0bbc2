"""What the gate says of each source beside its verdict on all of them."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import numpy as np
import pytest

from pipeline.quality import truth
from pipeline.refinement.estimates import Changes, Decision, Estimate
from pipeline.refinement.gate import Verdict
from pipeline.refinement.source_evidence import SourceSums, with_sources
from tests.pipeline.refinement.played import LOOSE, Played, untrained

REGIONS = truth.METRICS.index("region_attributes")


def paired(new: int, old: int, samples: int = 40) -> dict[str, Any]:
    """Counts of samples of which so many of ten labels match ten true regions."""
    counts = {}
    for name, matched in (("new", new), ("old", old)):
        array = np.zeros((truth.GROUPS, len(truth.METRICS), 3), np.int64)
        array[:samples, REGIONS] = [matched, 10, 10]
        counts[name] = array
    return {"paired": {"samples": samples, **counts}}


def added(labels: int, right: float) -> dict[str, Estimate]:
    """Of 100 old regions nothing is known, and a model adds some."""
    nothing = Decision(made=Changes(0, 0.0))
    found = Decision(made=Changes(labels, right))
    regions = Estimate(
        labels=100, right=None, recall=None, added=found, renamed=nothing, dropped=nothing
    )
    return {"regions": regions}


def sums(counted: dict[str, Any], estimates: dict[str, Estimate] | None = None) -> SourceSums:
    return SourceSums(counted=counted, estimates=estimates or {})


def test_a_gain_on_one_source_does_not_hide_a_loss_on_another() -> None:
    verdict = Verdict("accepted", "better: ... Round 1 is your result.", {"kind": "truth"})
    sources = {
        "coco": sums(paired(new=8, old=6)),
        "scenes": sums(paired(new=5, old=6, samples=20)),
        "web": sums({"paired": {"samples": 0}}),
    }
    told = with_sources(verdict, sources, seed=0)
    assert told.status == "accepted"
    assert told.reason == (
        "better: ... Round 1 is your result. By source: "
        "coco +0.200 (+0.200 to +0.200, 40 samples), scenes -0.100 (-0.100 to -0.100, 20 samples)."
    )
    assert list(told.evidence["sources"]) == ["coco", "scenes"]
    assert told.evidence["sources"]["coco"]["before"] == pytest.approx(0.6)


def test_without_truth_the_estimated_gain_is_told_by_source() -> None:
    verdict = Verdict("accepted", "better.", {"kind": "estimate"})
    empty = {"paired": {"samples": 0}}
    sources = {
        "photos": sums(empty, added(20, 20.0)),
        "web": sums(empty, added(20, 0.0)),
        "unchanged": sums(empty, added(0, 0.0)),
        "new": sums(empty),
    }
    told = with_sources(verdict, sources, seed=0)
    # 2 * (100 + right) / (120 + 100) - 1, as no old label is known to be wrong. The interval is
    # that of 22 right labels of 24: 1.96 * 2 * sqrt(20 * 22 / 24 * 2 / 24) / 220 = 0.022.
    assert told.reason == (
        "better. By source: photos +0.091 (+0.069 to +0.113, 100 labels), "
        "web -0.091 (-0.113 to -0.069, 100 labels)."
    )
    assert list(told.evidence["sources"]) == ["photos", "web"]


def test_people_are_the_evidence_where_they_judged() -> None:
    verdict = Verdict("accepted", "better.", {"kind": "human"})
    one = SourceSums(counted=paired(1, 9), estimates={}, people=paired(8, 6))
    told = with_sources(verdict, {"coco": one}, seed=0)
    assert told.evidence["sources"]["coco"]["score"]["value"] == pytest.approx(0.2)


def test_a_verdict_stays_as_it_is_without_named_sources() -> None:
    verdict = Verdict("rejected", "worse.", {"kind": "truth"})
    assert with_sources(verdict, {}, seed=0) is verdict
    unchanged = Verdict("rejected", "no change", {"kind": "unchanged"})
    assert with_sources(unchanged, {"coco": sums(paired(8, 6))}, seed=0) is unchanged


def test_the_verdict_on_a_played_round_names_both_sources(tmp_path: Path) -> None:
    left_out = ("ocr", "caption", "describe", "parse", "region_text", "score", "ground", "segment")
    loop = Played(
        tmp_path / "w",
        "sources.a.use=scenes",
        "sources.a.count=6",
        "sources.b.use=scenes",
        "sources.b.count=6",
        "sources.b.seed=9",
        *[f"specialists.{name}=null" for name in left_out],
        *[f"filters.{name}=null" for name in ("text", "triplet")],
        "refine.complete=[]",
        "refine.gate.held_out=0.5",
        "refine.annotate.max_tokens=40",
        *LOOSE,
    )
    attempt = loop.refine(1, loop.models(1, untrained(loop)))
    sources = attempt.verdict.evidence["sources"]
    assert list(sources) == ["a", "b"]
    held_out = sum(own["samples"] for own in sources.values())
    assert held_out == attempt.verdict.evidence["samples"]
    assert "By source: a " in attempt.verdict.reason
