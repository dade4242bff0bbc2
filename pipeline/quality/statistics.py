"""What a round or a release holds: the paper's Tables 1, 2 and 3, and counts by source and reason.

In: annotations with the (width, height) of their image. Out: sums that add up over shards, and
tables of their ratios. Only kept annotations count, except in `dropped`. As in the paper, a text is
one annotation, a region is one for its phrase and one for its brief text, and a phrase-box pair is
one. Averages are per text or, for regions, per image. Text regions are counted apart.
"""

from __future__ import annotations

from collections import Counter
from collections.abc import Iterable, Mapping
from dataclasses import asdict, dataclass, field, fields
from typing import NotRequired, TypedDict

from pipeline.quality.histograms import BoxHistograms, Densities
from pipeline.quality.summary import Summary, fixed_point, from_fixed_point
from pipeline.quality.table2 import RegionColumns, Table2Row, annotation_totals, table2_row
from pipeline.quality.wording import word_count
from pipeline.rows import Record
from pipeline.schema import KINDS, Annotations, Text

GRANULARITIES = ("brief", "detailed", "more_detailed", "alt")
"""Those that every summary has; a `label` is in it where there are some."""
REGION_TEXTS = ("phrase", "brief")
FIGURE = ("regions", "triplets")
ELEMENTS = ("objects", "attributes", "actions", "proper_nouns")
COMPLEXITIES = ("object_complexity", "action_complexity")

Size = tuple[int, int]
Counts = dict[str, Counter[str]]


Table3 = dict[str, dict[str, float | None]]
"""By granularity, then by column: means over the texts that have a parse."""


class RoundStatistics(TypedDict):
    """All tables of a round as plain JSON."""

    images: int
    annotations: dict[str, int]
    """How many of each type, and in all."""
    table2: list[Table2Row]
    table3: Table3
    figure5: dict[str, Densities]
    """The histograms, by kind."""
    text_regions: int
    sources: dict[str, dict[str, int]]
    """Kept annotations by kind and source."""
    dropped: dict[str, dict[str, int]]
    """Dropped annotations by kind and reason."""
    by_source: NotRequired[dict[str, RoundStatistics]]
    """The same of the images of each source, by its name; absent where the only one has none."""


@dataclass(slots=True)
class PhraseSums:
    """Sums over the phrases, or over the brief texts, of regions."""

    count: int = 0
    """Regions that have one."""
    tokens: int = 0
    """Words of all of them."""

    def add(self, phrase: str) -> None:
        """Count one."""
        self.count += 1
        self.tokens += word_count(phrase)


@dataclass(slots=True)
class TextSums:
    """Sums over the texts of one granularity."""

    texts: int = 0
    """How many there are."""
    tokens: int = 0
    """Words of all texts."""
    parsed: int = 0
    """Texts that have a parse; the sums below are over them."""
    objects: int = 0
    attributes: int = 0
    actions: int = 0
    proper_nouns: int = 0
    object_complexity: int = 0
    """Sum of the texts' mean complexities, in `fixed_point`."""
    action_complexity: int = 0
    """Sum of the texts' mean complexities, in `fixed_point`."""
    triplets: PhraseSums = field(default_factory=PhraseSums)
    """Phrase-box pairs of these texts."""

    def add(self, text: Text) -> None:
        """Count one text."""
        self.texts += 1
        parse = text.parse
        if parse is None:
            self.tokens += word_count(text.text)
            return
        self.parsed += 1
        self.tokens += parse.tokens
        self.objects += len(parse.objects)
        self.attributes += len(parse.attributes)
        self.actions += len(parse.actions)
        self.proper_nouns += len(parse.proper_nouns)
        self.object_complexity += fixed_point(parse.object_complexity_mean)
        self.action_complexity += fixed_point(parse.action_complexity_mean)

    @property
    def mean_tokens(self) -> float | None:
        """Words per text."""
        return _mean(self.tokens, self.texts)


class Statistics:
    """Sums over samples."""

    def __init__(self) -> None:
        self.images = 0
        self.text_regions = 0
        self.texts: dict[str, TextSums] = {name: TextSums() for name in GRANULARITIES}
        """By granularity."""
        self.regions = {name: PhraseSums() for name in REGION_TEXTS}
        """By what is said of a region."""
        self.figure = {kind: BoxHistograms() for kind in FIGURE}
        """The histograms of Figure 5, by kind."""
        self.sources: Counts = {kind: Counter() for kind in KINDS}
        """Kept annotations by kind and source."""
        self.dropped: Counts = {kind: Counter() for kind in KINDS}
        """Dropped annotations by kind and reason."""

    def add(self, annotations: Annotations, size: Size) -> None:
        """Count one sample; `size` is the (width, height) of its image in pixels."""
        kept = annotations.kept()
        self.images += 1
        self.text_regions += len(kept.text_regions)
        for text in kept.texts:
            self.texts.setdefault(text.granularity, TextSums()).add(text)
        for region in kept.regions:
            self.regions["phrase"].add(region.phrase)
            if region.brief is not None:
                self.regions["brief"].add(region.brief)
        self._add_triplets(kept)
        self.figure["regions"].add([region.box for region in kept.regions], size)
        self.figure["triplets"].add([triplet.box for triplet in kept.triplets], size)
        for kind in KINDS:
            for annotation in getattr(annotations, kind):
                if annotation.dropped is None:
                    self.sources[kind][annotation.source] += 1
                else:
                    self.dropped[kind][annotation.dropped] += 1

    def _add_triplets(self, kept: Annotations) -> None:
        """Count phrase-box pairs with the granularity of their text."""
        granularity = {}
        for text in kept.texts:
            granularity[text.id] = text.granularity
        for triplet in kept.triplets:
            # A pair whose text is dropped belongs to no granularity.
            if triplet.text_id in granularity:
                sums = self.texts[granularity[triplet.text_id]]
                sums.triplets.add(triplet.phrase)

    def merge(self, other: Statistics) -> None:
        """Count the samples of `other` too."""
        self.images += other.images
        self.text_regions += other.text_regions
        for name, text_sums in other.texts.items():
            _add_fields(self.texts.setdefault(name, TextSums()), text_sums)
        for name, phrase_sums in other.regions.items():
            _add_fields(self.regions[name], phrase_sums)
        for kind in KINDS:
            self.sources[kind].update(other.sources[kind])
            self.dropped[kind].update(other.dropped[kind])
        for kind, histograms in other.figure.items():
            self.figure[kind].merge(histograms)

    def summary(self) -> Summary:
        """The sums as a summary, which `of` reads."""
        figure = {}
        for kind, histograms in self.figure.items():
            figure[kind] = histograms.summary()
        return {
            "images": self.images,
            "text_regions": self.text_regions,
            "texts": {name: asdict(sums) for name, sums in self.texts.items()},
            "regions": {name: asdict(sums) for name, sums in self.regions.items()},
            "figure": figure,
            "sources": self.sources,
            "dropped": self.dropped,
        }

    @classmethod
    def of(cls, summary: Summary) -> Statistics:
        """The sums that are in a summary, or in a total of several."""
        statistics = cls()
        statistics.images = summary["images"]
        statistics.text_regions = summary["text_regions"]
        for name, sums in summary["texts"].items():
            triplets = PhraseSums(**sums["triplets"])
            statistics.texts[name] = TextSums(**{**sums, "triplets": triplets})
        for name, sums in summary["regions"].items():
            statistics.regions[name] = PhraseSums(**sums)
        for kind, histograms in summary["figure"].items():
            statistics.figure[kind] = BoxHistograms.of(histograms)
        for kind in KINDS:
            statistics.sources[kind].update(summary["sources"][kind])
            statistics.dropped[kind].update(summary["dropped"][kind])
        return statistics

    def to_dict(self) -> RoundStatistics:
        """All tables, and Figure 5 as densities, as plain JSON."""
        table2 = self._table2()
        figure = {}
        for kind, histograms in self.figure.items():
            figure[kind] = histograms.to_dict()
        return {
            "images": self.images,
            "annotations": annotation_totals(table2),
            "table2": table2,
            "table3": self._table3(),
            "figure5": figure,
            "text_regions": self.text_regions,
            "sources": _sorted(self.sources),
            "dropped": _sorted(self.dropped),
        }

    def _table2(self) -> list[Table2Row]:
        text_rows, region_rows, triplet_rows = [], [], []
        for name, sums in self.texts.items():
            if sums.texts:
                text_rows.append(_text_row(name, sums))
                triplet_rows.append(_triplet_row(name, sums))
        for name, phrases in self.regions.items():
            region_rows.append(self._region_row(name, phrases))
        return text_rows + region_rows + triplet_rows

    def _region_row(self, name: str, phrases: PhraseSums) -> Table2Row:
        regions = RegionColumns(
            phrases.count,
            _mean(phrases.count, self.images),
            _mean(phrases.tokens, phrases.count),
        )
        return table2_row("region_text", name, self.images, regions=regions)

    def _table3(self) -> Table3:
        table: Table3 = {}
        for name, sums in self.texts.items():
            if not sums.parsed:
                continue
            row: dict[str, float | None] = {
                "image_annotations": sums.texts,
                "tokens": sums.mean_tokens,
            }
            for column in ELEMENTS:
                row[column] = _mean(getattr(sums, column), sums.parsed)
            for column in COMPLEXITIES:
                row[column] = _mean(from_fixed_point(getattr(sums, column)), sums.parsed)
            table[name] = row
        return table


def statistics_of(records: Iterable[Record]) -> Statistics:
    """The statistics of some samples of a round."""
    statistics = Statistics()
    for record in records:
        statistics.add(record.annotations, (record.width, record.height))
    return statistics


def statistics_by_source(totals: Mapping[str, Summary]) -> dict[str, RoundStatistics]:
    """The statistics of the images of each source, from the sums of summaries by source."""
    found = {}
    for name, counted in totals.items():
        found[name] = Statistics.of(counted["statistics"]).to_dict()
    return found


def _text_row(granularity: str, sums: TextSums) -> Table2Row:
    return table2_row("text", granularity, sums.texts, tokens=sums.mean_tokens)


def _triplet_row(granularity: str, sums: TextSums) -> Table2Row:
    pairs = sums.triplets
    regions = RegionColumns(
        pairs.count,
        _mean(pairs.count, sums.texts),
        _mean(pairs.tokens, pairs.count),
    )
    return table2_row(
        "text_phrase_region",
        granularity,
        sums.texts,
        tokens=sums.mean_tokens,
        regions=regions,
    )


def _add_fields(sums: TextSums | PhraseSums, other: TextSums | PhraseSums) -> None:
    """Add each sum of `other`, also those of sums within sums."""
    for entry in fields(sums):
        value = getattr(other, entry.name)
        if isinstance(value, PhraseSums):
            _add_fields(getattr(sums, entry.name), value)
        else:
            setattr(sums, entry.name, getattr(sums, entry.name) + value)


def _sorted(counts: Counts) -> dict[str, dict[str, int]]:
    """Counts by kind and name, the names in alphabetical order."""
    tables = {}
    for kind, by_name in counts.items():
        tables[kind] = dict(sorted(by_name.items()))
    return tables


def _mean(total: float, count: float) -> float | None:
    return total / count if count else None
