"""What a round or a release holds: the paper's Tables 1, 2 and 3, and counts by source and reason.

In: annotations with the (width, height) of their image. Out: sums that add up over shards, and
tables of their ratios. Only kept annotations count, except in `dropped`. As in the paper, a text is
one annotation, a region is one for its phrase and one for its brief text, and a phrase-box pair is
one. Averages are per text or, for regions, per image. Text regions are counted apart.
"""

from __future__ import annotations

from collections import Counter
from collections.abc import Iterable
from typing import Any

from pipeline.quality.histograms import BoxHistograms
from pipeline.quality.wording import word_count
from pipeline.schema import KINDS, Annotations, Parse, Record, Region, Text, Triplet

GRANULARITIES = ("brief", "detailed", "more_detailed", "alt")
FIGURE = ("regions", "triplets")
ELEMENTS = ("objects", "attributes", "actions", "proper_nouns")
COMPLEXITIES = ("object_complexity", "action_complexity")

Size = tuple[int, int]
Row = dict[str, Any]


class Statistics:
    """Sums over samples."""

    def __init__(self) -> None:
        self.sums: Counter[tuple[str, ...]] = Counter()
        """By what is summed, and by granularity or by kind and name."""
        self.figure = {kind: BoxHistograms() for kind in FIGURE}
        """The histograms of Figure 5, for regions and for triplets."""

    def add(self, annotations: Annotations, size: Size) -> None:
        """Count one sample; `size` is the (width, height) of its image in pixels."""
        kept = annotations.kept()
        self.sums["images",] += 1
        for text in kept.texts:
            self._add_text(text)
        for region in kept.regions:
            self._add_region(region)
        granularity = {text.id: text.granularity for text in kept.texts}
        for triplet in kept.triplets:
            self._add_triplet(triplet, granularity.get(triplet.text_id, "none"))
        self.sums["text_regions",] += len(kept.text_regions)
        self.figure["regions"].add([region.box for region in kept.regions], size)
        self.figure["triplets"].add([triplet.box for triplet in kept.triplets], size)
        for kind in KINDS:
            for annotation in getattr(annotations, kind):
                if annotation.dropped is None:
                    self.sums["source", kind, annotation.source] += 1
                else:
                    self.sums["dropped", kind, annotation.dropped] += 1

    def merge(self, other: Statistics) -> None:
        """Count the samples of `other` too."""
        self.sums.update(other.sums)
        for kind, histograms in other.figure.items():
            self.figure[kind].merge(histograms)

    def to_dict(self) -> dict[str, Any]:
        """All tables, and Figure 5 as densities, as plain JSON."""
        table2 = self._table2()
        return {
            "images": self.sums["images",],
            "annotations": annotation_totals(table2),
            "table2": table2,
            "table3": self._table3(),
            "figure5": {kind: histograms.to_dict() for kind, histograms in self.figure.items()},
            "text_regions": self.sums["text_regions",],
            "sources": self._by_kind("source"),
            "dropped": self._by_kind("dropped"),
        }

    def _add_text(self, text: Text) -> None:
        name, parse = text.granularity, text.parse
        self.sums["texts", name] += 1
        if parse is None:
            self.sums["text_tokens", name] += word_count(text.text)
        else:
            self.sums["text_tokens", name] += parse.tokens
            self._add_parse(name, parse)

    def _add_parse(self, granularity: str, parse: Parse) -> None:
        self.sums["parsed", granularity] += 1
        for element in ELEMENTS:
            self.sums[element, granularity] += len(getattr(parse, element))
        for complexity in COMPLEXITIES:
            self.sums[complexity, granularity] += getattr(parse, f"{complexity}_mean")

    def _add_region(self, region: Region) -> None:
        self.sums["regions", "phrase"] += 1
        self.sums["region_tokens", "phrase"] += word_count(region.phrase)
        if region.brief is not None:
            self.sums["regions", "brief"] += 1
            self.sums["region_tokens", "brief"] += word_count(region.brief)

    def _add_triplet(self, triplet: Triplet, granularity: str) -> None:
        self.sums["triplets", granularity] += 1
        self.sums["triplet_tokens", granularity] += word_count(triplet.phrase)

    def _table2(self) -> list[Row]:
        present = [name for name in GRANULARITIES if self.sums["texts", name]]
        rows = [self._text_row(name) for name in present]
        rows += [self._region_row(name) for name in ("phrase", "brief")]
        rows += [self._triplet_row(name) for name in present]
        return rows

    def _text_row(self, granularity: str) -> Row:
        texts = self.sums["texts", granularity]
        return _row("text", granularity, texts, tokens=self._tokens(granularity))

    def _region_row(self, name: str) -> Row:
        images, regions = self.sums["images",], self.sums["regions", name]
        return _row(
            "region_text",
            name,
            images,
            regions=regions,
            average_regions=_mean(regions, images),
            regional_tokens=_mean(self.sums["region_tokens", name], regions),
        )

    def _triplet_row(self, granularity: str) -> Row:
        texts, pairs = self.sums["texts", granularity], self.sums["triplets", granularity]
        return _row(
            "text_phrase_region",
            granularity,
            texts,
            tokens=self._tokens(granularity),
            regions=pairs,
            average_regions=_mean(pairs, texts),
            regional_tokens=_mean(self.sums["triplet_tokens", granularity], pairs),
        )

    def _table3(self) -> dict[str, Row]:
        """Means over the texts that have a parse."""
        table = {}
        for name in GRANULARITIES:
            parsed = self.sums["parsed", name]
            if not parsed:
                continue
            row: Row = {
                "image_annotations": self.sums["texts", name],
                "tokens": self._tokens(name),
            }
            for column in (*ELEMENTS, *COMPLEXITIES):
                row[column] = _mean(self.sums[column, name], parsed)
            table[name] = row
        return table

    def _tokens(self, granularity: str) -> float | None:
        return _mean(self.sums["text_tokens", granularity], self.sums["texts", granularity])

    def _by_kind(self, what: str) -> dict[str, dict[str, int]]:
        counts: dict[str, dict[str, int]] = {kind: {} for kind in KINDS}
        for key, count in sorted(self.sums.items(), key=lambda item: item[0]):
            if key[0] == what:
                _, kind, name = key
                counts[kind][name] = int(count)
        return counts


def statistics_of(records: Iterable[Record]) -> dict[str, Any]:
    """The statistics of a round, as plain JSON."""
    statistics = Statistics()
    for record in records:
        statistics.add(record.annotations, (record.width, record.height))
    return statistics.to_dict()


def annotation_totals(table2: Iterable[Row]) -> dict[str, int]:
    """How many annotations of each type, and in all, the rows of a Table 2 sum up to.

    Texts count in their own rows and not again with their phrases, as in the paper:
    487M + 1362M + 3574M = 5423M.
    """
    totals = dict.fromkeys(("text", "region_text", "text_phrase_region"), 0)
    for row in table2:
        column = "image_annotations" if row["type"] == "text" else "regions"
        totals[row["type"]] += row[column]
    return {**totals, "total": sum(totals.values())}


def _row(type_: str, text: str, count: int, **columns: Any) -> Row:
    """A row of Table 2; columns that are not given are empty."""
    empty = dict.fromkeys(("tokens", "regions", "average_regions", "regional_tokens"))
    return {"type": type_, "text": text, "image_annotations": count, **empty, **columns}


def _mean(total: float, count: float) -> float | None:
    return total / count if count else None
