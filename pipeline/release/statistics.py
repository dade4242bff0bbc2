"""What a release holds, counted: by the workers when it is built, again when it is verified.

Counts of shards add up. They are plain sums, so the order of the shards does not matter.
"""

from __future__ import annotations

from collections import Counter
from collections.abc import Iterable
from dataclasses import asdict, dataclass, field
from typing import TypedDict

import numpy as np

from pipeline.quality.histograms import BoxHistograms
from pipeline.quality.statistics import PhraseSums, RoundStatistics, Statistics, TextSums
from pipeline.release.tables import SAMPLE, FlagRow, RemovedRow, SampleRow
from pipeline.schema import KINDS, Record
from pipeline.storage.json_types import Json

SAMPLES = "samples"


class Maker(TypedDict):
    """A model, and how many of the released annotations it made."""

    stage: str
    model: str
    revision: str
    annotations: int


class Totals(TypedDict):
    """`statistics.json`."""

    splits: dict[str, dict[str, int]]
    """Samples and annotations of each kind by split."""
    sources: dict[str, int]
    """Samples by the source of their image."""
    makers: list[Maker]
    removed: dict[str, dict[str, int]]
    """What the round has and the release has not: by type, then by reason."""
    flags: dict[str, dict[str, int]]
    """Flagged annotations by type, and blurred regions by category."""
    failures: dict[str, int]
    """Samples that a stage could not do, by the stage."""
    annotations: RoundStatistics


@dataclass(slots=True)
class Counts:
    """The sums of some samples."""

    splits: dict[str, Counter[str]] = field(default_factory=dict)
    sources: Counter[str] = field(default_factory=Counter)
    makers: Counter[tuple[str, str, str]] = field(default_factory=Counter)
    """Annotations by stage, model and revision."""
    removed: dict[str, Counter[str]] = field(default_factory=dict)
    flags: dict[str, Counter[str]] = field(default_factory=dict)
    failures: Counter[str] = field(default_factory=Counter)
    statistics: Statistics = field(default_factory=Statistics)

    def add(self, record: Record, row: SampleRow) -> None:
        """Count a released sample."""
        counts = self.splits.setdefault(row.split, Counter())
        counts[SAMPLES] += 1
        for kind in KINDS:
            counts[kind] += getattr(row, kind)
        self.sources[row.source] += 1
        self.failures.update({failure.stage for failure in record.failures})
        for annotation in record.annotations.all():
            self.makers[annotation.source, annotation.model, annotation.revision] += 1
        self.statistics.add(record.annotations, (record.width, record.height))

    def add_removed(self, rows: Iterable[RemovedRow]) -> None:
        """Count what is not released."""
        for row in rows:
            self.removed.setdefault(row.type, Counter())[row.reason] += 1

    def add_flags(self, rows: Iterable[FlagRow]) -> None:
        """Count the flags of released samples."""
        for row in rows:
            self.flags.setdefault(row.flag, Counter())[row.phrase or row.type] += 1

    def merge(self, other: Counts) -> None:
        """Count the samples of `other`, too."""
        for split, counts in other.splits.items():
            self.splits.setdefault(split, Counter()).update(counts)
        for type_, reasons in other.removed.items():
            self.removed.setdefault(type_, Counter()).update(reasons)
        for flag, counts in other.flags.items():
            self.flags.setdefault(flag, Counter()).update(counts)
        self.sources.update(other.sources)
        self.makers.update(other.makers)
        self.failures.update(other.failures)
        self.statistics.merge(other.statistics)

    @property
    def removed_samples(self) -> dict[str, int]:
        """Samples that are not released, by reason."""
        return dict(sorted(self.removed.get(SAMPLE, Counter()).items()))

    def totals(self) -> Totals:
        """The sums as plain JSON, every mapping in alphabetical order."""
        makers: list[Maker] = []
        for (stage, model, revision), count in sorted(self.makers.items()):
            makers.append(
                {"stage": stage, "model": model, "revision": revision, "annotations": count}
            )
        return {
            "splits": {name: dict(self.splits[name]) for name in sorted(self.splits)},
            "sources": dict(sorted(self.sources.items())),
            "makers": makers,
            "removed": {
                name: dict(sorted(self.removed[name].items())) for name in sorted(self.removed)
            },
            "flags": {name: dict(sorted(self.flags[name].items())) for name in sorted(self.flags)},
            "failures": dict(sorted(self.failures.items())),
            "annotations": self.statistics.to_dict(),
        }


def encoded(counts: Counts) -> Json:
    """The sums of one shard as JSON that `decoded` reads."""
    statistics = counts.statistics
    figure = {}
    for kind, histograms in statistics.figure.items():
        figure[kind] = {
            "area": histograms.area.tolist(),
            "aspect": histograms.aspect.tolist(),
            "centre": histograms.centre.tolist(),
        }
    return {
        "splits": counts.splits,
        "sources": counts.sources,
        "makers": [[*maker, count] for maker, count in sorted(counts.makers.items())],
        "removed": counts.removed,
        "flags": counts.flags,
        "failures": counts.failures,
        "images": statistics.images,
        "text_regions": statistics.text_regions,
        "texts": {name: asdict(sums) for name, sums in statistics.texts.items()},
        "regions": {name: asdict(sums) for name, sums in statistics.regions.items()},
        "kept": statistics.sources,
        "figure": figure,
    }


def decoded(value: Json) -> Counts:
    """The sums that `encoded` made `value` from."""
    statistics = Statistics()
    statistics.images = value["images"]
    statistics.text_regions = value["text_regions"]
    for name, sums in value["texts"].items():
        triplets = PhraseSums(**sums.pop("triplets"))
        statistics.texts[name] = TextSums(**sums, triplets=triplets)
    for name, sums in value["regions"].items():
        statistics.regions[name] = PhraseSums(**sums)
    for kind, counts in value["kept"].items():
        statistics.sources[kind].update(counts)
    for kind, bins in value["figure"].items():
        statistics.figure[kind] = _histograms(bins)
    return Counts(
        splits={name: Counter(counts) for name, counts in value["splits"].items()},
        sources=Counter(value["sources"]),
        makers=Counter({tuple(maker): count for *maker, count in value["makers"]}),
        removed={name: Counter(counts) for name, counts in value["removed"].items()},
        flags={name: Counter(counts) for name, counts in value["flags"].items()},
        failures=Counter(value["failures"]),
        statistics=statistics,
    )


def _histograms(bins: Json) -> BoxHistograms:
    histograms = BoxHistograms()
    for name, counts in bins.items():
        setattr(histograms, name, np.array(counts, np.int64))
    return histograms
