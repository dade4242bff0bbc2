"""What a report shows, as plain values: nothing here reads a file or a clock."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field

from pipeline.quality.audit import AuditRow
from pipeline.quality.ranking import Ranked
from pipeline.quality.truth import Interval, Scores
from pipeline.rows import Failure
from pipeline.schema import Annotations
from pipeline.storage.json_types import Json

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
class Measured:
    """What the merge measured on labels of one type."""

    refound: float
    """The share of old labels that the model found again, 0 to 1."""
    thresholds: Mapping[str, float]
    """By what is done with a label, from which log-probability on, in nats per token. What is done
    with none is left out."""

    @classmethod
    def of(cls, level: Json) -> Measured:
        """From the thresholds of one type in `round.json` (`refinement.rules.Thresholds`)."""
        everything = {
            "add": level["add"]["twice"],
            "add what one look gives": level["add"]["once"],
            "rename": level["rename"]["twice"],
            "rename by one look": level["rename"]["once"],
            "drop below": level["drop"],
        }
        return cls(
            refound=level["refound"],
            thresholds={name: value for name, value in everything.items() if value is not None},
        )


@dataclass(frozen=True, slots=True, kw_only=True)
class RoundView:
    """One attempted round."""

    name: str
    """The name of its folder, `NN-xxxxxxxx`."""
    status: str
    """`accepted`, `rejected`, `empty` (round 0 has no label) or `stopped`."""
    parent: str | None = None
    """The name of the round that it began with, None for round 0."""
    reason: str = ""
    """One sentence with the numbers that decided."""
    kept: Mapping[str, int]
    """Kept annotations by type."""
    dropped: Mapping[str, Mapping[str, int]] = field(default_factory=dict)
    """Dropped annotations by type and reason."""
    failed: Mapping[str, Mapping[str, int]] = field(default_factory=dict)
    """Failed samples by stage and reason."""
    changes: Mapping[str, Mapping[str, int]] = field(default_factory=dict)
    """By type and rule, what became of the labels of the round before and of this round's own
    (`changes.tally`)."""
    metrics: Scores | None = None
    """`truth.summary`, None without truth."""
    sources: Mapping[str, Json] = field(default_factory=dict)
    """By the source of the images, what `round_metrics.metrics_by_source` says of it; empty where
    the only source has no name."""
    estimates: Mapping[str, Json] = field(default_factory=dict)
    """By type, what is estimated of the changes without truth (`estimates.Estimate.plain`)."""
    measured: Mapping[str, Measured] = field(default_factory=dict)
    """By type, what the merge went by."""
    gate: Mapping[str, Interval] = field(default_factory=dict)
    """The differences to the head that decided, by metric."""
    audit: Sequence[AuditRow] = ()
    """The rows of `quality.audit.score`, if people have judged the round."""
    least_sure: Sequence[Ranked] = ()
    """The samples of which least is known, of all samples of the round: their doubts, from 0 to 1
    (`quality.doubt`), the highest first."""
    most_changed: Sequence[Ranked] = ()
    """The samples in which the round changed most labels, of all: how many, the most first."""


@dataclass(frozen=True, slots=True, kw_only=True)
class PictureView:
    """One sample to look at."""

    key: str
    """Key of the sample."""
    image: bytes
    """The stored file."""
    size: tuple[int, int]
    """(width, height) in pixels."""
    rounds: Mapping[str, Annotations]
    """The annotations by round, round 0 first."""
    failures: Mapping[str, Sequence[Failure]] = field(default_factory=dict)
    """By round, the stages that could not do the sample."""
    truth: Annotations | None = None
    """The true annotations, if they are known."""


@dataclass(frozen=True, slots=True, kw_only=True)
class FailedView:
    """An image that did not come in, or a sample that a stage could not do."""

    key: str
    name: str
    """Its name in the source."""
    stage: str
    """`ingest`, or ROUND.STAGE."""
    reason: str
    detail: str = ""
    """A line about the failure."""


@dataclass(frozen=True, slots=True, kw_only=True)
class ReportData:
    """Everything that the report shows."""

    experiment: str
    """The name of the experiment, which is the title."""
    images: int
    """Samples of the set."""
    failed_images: int = 0
    """Images of the source that could not be brought in, so that they are no samples."""
    rounds: Sequence[RoundView]
    """All attempted rounds, round 0 first."""
    pictures: Sequence[PictureView] = ()
    """Samples to look at: the ones that are ranked or failed, and others by chance."""
    failures: int = 0
    """How many failures there are in all; a sample that failed in two stages counts twice."""
    failed: Sequence[FailedView] = ()
    """The first failures of each stage."""
    head: str | None = None
    """The name of the head, None while no round is accepted."""
