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
from pipeline.rows import Record
from pipeline.schema import KINDS
from pipeline.storage.json_types import Json

SAMPLES, FLAGS = "samples", "flags"

Groups = dict[str, Counter[str]]
"""Counts by name, in groups."""


class Maker(TypedDict):
    """A model, and how many of the released annotations it made."""

    stage: str
    model: str
    revision: str
    annotations: int


class Totals(TypedDict):
    """`statistics.json`."""

    splits: dict[str, dict[str, int]]
    """Samples, annotations of each kind, and flags by split."""
    sources: dict[str, int]
    """Samples by the source of their image."""
    formats: dict[str, int]
    """Samples by the extension of their image in the tars; empty if the release has references."""
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

    splits: Groups = field(default_factory=dict)
    sources: Counter[str] = field(default_factory=Counter)
    formats: Counter[str] = field(default_factory=Counter)
    """Samples by the extension of their image."""
    makers: Counter[tuple[str, str, str]] = field(default_factory=Counter)
    """Annotations by stage, model and revision."""
    removed: Groups = field(default_factory=dict)
    flags: Groups = field(default_factory=dict)
    failures: Counter[str] = field(default_factory=Counter)
    statistics: Statistics = field(default_factory=Statistics)

    def add(self, record: Record, row: SampleRow) -> None:
        """Count a released sample."""
        counts = self.splits.setdefault(row.split, Counter())
        counts[SAMPLES] += 1
        for kind in KINDS:
            counts[kind] += getattr(row, kind)
        self.sources[row.source] += 1
        if row.member:
            self.formats[row.member.partition(".")[2]] += 1
        self.failures.update({failure.stage for failure in record.failures})
        for annotation in record.annotations.all():
            self.makers[annotation.source, annotation.model, annotation.revision] += 1
        self.statistics.add(record.annotations, (record.width, record.height))

    def add_removed(self, rows: Iterable[RemovedRow]) -> None:
        """Count what is not released."""
        for row in rows:
            self.removed.setdefault(row.type, Counter())[row.reason] += 1

    def add_flags(self, split: str, rows: Iterable[FlagRow]) -> None:
        """Count the flags of released samples."""
        for row in rows:
            self.splits[split][FLAGS] += 1
            self.flags.setdefault(row.flag, Counter())[row.phrase or row.type] += 1

    def merge(self, other: Counts) -> None:
        """Count the samples of `other`, too."""
        _add_groups(self.splits, other.splits)
        _add_groups(self.removed, other.removed)
        _add_groups(self.flags, other.flags)
        self.sources.update(other.sources)
        self.formats.update(other.formats)
        self.makers.update(other.makers)
        self.failures.update(other.failures)
        self.statistics.merge(other.statistics)

    @property
    def removed_samples(self) -> dict[str, int]:
        """Samples that are not released, by reason."""
        reasons = self.removed.get(SAMPLE, Counter())
        return _in_order(reasons)

    def totals(self) -> Totals:
        """The sums as plain JSON, every mapping in alphabetical order."""
        return {
            "splits": {name: dict(self.splits[name]) for name in sorted(self.splits)},
            "sources": _in_order(self.sources),
            "formats": _in_order(self.formats),
            "makers": self._makers(),
            "removed": _groups_in_order(self.removed),
            "flags": _groups_in_order(self.flags),
            "failures": _in_order(self.failures),
            "annotations": self.statistics.to_dict(),
        }

    def _makers(self) -> list[Maker]:
        makers: list[Maker] = []
        for (stage, model, revision), count in sorted(self.makers.items()):
            maker: Maker = {
                "stage": stage,
                "model": model,
                "revision": revision,
                "annotations": count,
            }
            makers.append(maker)
        return makers


def _add_groups(sums: Groups, others: Groups) -> None:
    """Add the counts of each group of `others` to that of `sums`."""
    for name, counts in others.items():
        total = sums.setdefault(name, Counter())
        total.update(counts)


def _in_order(counts: Counter[str]) -> dict[str, int]:
    return dict(sorted(counts.items()))


def _groups_in_order(groups: Groups) -> dict[str, dict[str, int]]:
    ordered = {}
    for name in sorted(groups):
        ordered[name] = _in_order(groups[name])
    return ordered


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
        "formats": counts.formats,
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
    makers: Counter[tuple[str, str, str]] = Counter()
    for stage, model, revision, count in value["makers"]:
        makers[stage, model, revision] = count
    return Counts(
        splits=_groups(value["splits"]),
        sources=Counter(value["sources"]),
        formats=Counter(value["formats"]),
        makers=makers,
        removed=_groups(value["removed"]),
        flags=_groups(value["flags"]),
        failures=Counter(value["failures"]),
        statistics=statistics,
    )


def _groups(value: Json) -> Groups:
    return {name: Counter(counts) for name, counts in value.items()}


def _histograms(bins: Json) -> BoxHistograms:
    histograms = BoxHistograms()
    for name, counts in bins.items():
        setattr(histograms, name, np.array(counts, np.int64))
    return histograms
