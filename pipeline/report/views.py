"""What a report shows: plain values that the caller gathers. Nothing here reads a file or a clock."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from typing import Any

from pipeline.quality.truth import Interval
from pipeline.schema import Annotations

NAMES = {
    "texts": "texts",
    "text_tokens": "text words",
    "regions": "regions",
    "regions_75": "regions, IoU 0.75",
    "region_attributes": "regions with attributes",
    "region_attributes_75": "with attributes, IoU 0.75",
    "text_regions": "text regions",
    "triplets": "triplets",
    "score": "score",
}


@dataclass(frozen=True, slots=True, kw_only=True)
class RoundView:
    """One attempted round. `status` is accepted, rejected or stopped, `reason` one sentence with the numbers.

    `kept` counts annotations by type, `dropped` by type and reason, `failed` samples by stage and reason.
    `metrics` is `truth.summary` where there is truth, `agreement` is `thresholds.agreement` where there is none,
    `changes` counts by type and rule what became of the labels of the round before and of its own (`changes.tally`),
    `levels` what its merge measured by (`rules.Thresholds`),
    `gate` the differences to the head that decided, `audit` the rows of `quality.audit.score` if people judged.
    """

    name: str
    status: str
    reason: str = ""
    kept: Mapping[str, int]
    dropped: Mapping[str, Mapping[str, int]] = field(default_factory=dict)
    failed: Mapping[str, Mapping[str, int]] = field(default_factory=dict)
    changes: Mapping[str, Mapping[str, int]] = field(default_factory=dict)
    metrics: Mapping[str, Any] | None = None
    agreement: Mapping[str, Any] | None = None
    levels: Mapping[str, Mapping[str, float | None]] = field(default_factory=dict)
    gate: Mapping[str, Interval] = field(default_factory=dict)
    audit: Sequence[Mapping[str, Any]] = ()


@dataclass(frozen=True, slots=True, kw_only=True)
class PictureView:
    """One sample to look at: stored bytes, (width, height), and its annotations by round, round 0 first."""

    key: str
    image: bytes
    size: tuple[int, int]
    rounds: Mapping[str, Annotations]
    truth: Annotations | None = None


@dataclass(frozen=True, slots=True, kw_only=True)
class ReportData:
    experiment: str
    images: int
    rounds: Sequence[RoundView]
    pictures: Sequence[PictureView] = ()
    head: str | None = None
