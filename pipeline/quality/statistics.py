"""What a round or a release holds: the paper's Tables 1, 2 and 3 and the counts by source and by reason.

In: annotations with the (width, height) of their image. Out: sums that add up over shards, and tables of
their ratios. Only kept annotations count, but for `dropped`. As in the paper a text is one annotation, a
region one for its phrase and one for its brief text, a phrase-box pair one; averages are per text or, for
regions, per image. Text regions are counted apart.
"""

from __future__ import annotations

from collections import Counter
from collections.abc import Iterable
from typing import Any

import numpy as np

from pipeline.quality.truth import normalise
from pipeline.schema import KINDS, Annotations, Box, Text

GRANULARITIES = ("brief", "detailed", "more_detailed", "alt")
FIGURE = ("regions", "triplets")
BINS = 50
ASPECT = 3.0  # Figure 5 shows natural logarithms of width / height in [-3, 3]

ELEMENTS = ("objects", "attributes", "actions", "proper_nouns")
COMPLEXITIES = ("object_complexity", "action_complexity")

Size = tuple[int, int]


class Statistics:
    """Sums over samples. `figure` holds, for regions and for triplets, the histograms of Figure 5."""

    def __init__(self) -> None:
        self.sums: Counter[tuple[str, ...]] = Counter()
        self.figure = {kind: _Histograms() for kind in FIGURE}

    def add(self, annotations: Annotations, size: Size) -> None:
        """Count one sample."""
        sums, kept = self.sums, annotations.kept()
        sums["images",] += 1
        granularity: dict[str, str] = {}
        for text in kept.texts:
            granularity[text.id] = text.granularity
            self._add_text(text)
        for region in kept.regions:
            sums["regions", "phrase"] += 1
            sums["region_tokens", "phrase"] += words(region.phrase)
            if region.brief is not None:
                sums["regions", "brief"] += 1
                sums["region_tokens", "brief"] += words(region.brief)
        for triplet in kept.triplets:
            kind = granularity.get(triplet.text_id, "none")
            sums["triplets", kind] += 1
            sums["triplet_tokens", kind] += words(triplet.phrase)
        sums["text_regions",] += len(kept.text_regions)
        self.figure["regions"].add([r.box for r in kept.regions], size)
        self.figure["triplets"].add([t.box for t in kept.triplets], size)
        for name in KINDS:
            for annotation in getattr(annotations, name):
                if annotation.dropped is None:
                    sums["source", name, annotation.source] += 1
                else:
                    sums["dropped", name, annotation.dropped] += 1

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
        name, parse, sums = text.granularity, text.parse, self.sums
        sums["texts", name] += 1
        sums["text_tokens", name] += words(text.text) if parse is None else parse.tokens
        if parse is not None:
            sums["parsed", name] += 1
            for element in ELEMENTS:
                sums[element, name] += len(getattr(parse, element))
            for complexity in COMPLEXITIES:
                sums[complexity, name] += getattr(parse, f"{complexity}_mean")

    def _table2(self) -> list[dict[str, Any]]:
        sums, rows = self.sums, []
        present = [name for name in GRANULARITIES if sums["texts", name]]
        for name in present:
            rows.append(_row("text", name, sums["texts", name], tokens=self._tokens(name)))
        for name in ("phrase", "brief"):
            regions = sums["regions", name]
            rows.append(
                _row(
                    "region_text",
                    name,
                    sums["images",],
                    regions=regions,
                    average_regions=_mean(regions, sums["images",]),
                    regional_tokens=_mean(sums["region_tokens", name], regions),
                )
            )
        for name in present:
            pairs = sums["triplets", name]
            rows.append(
                _row(
                    "text_phrase_region",
                    name,
                    sums["texts", name],
                    tokens=self._tokens(name),
                    regions=pairs,
                    average_regions=_mean(pairs, sums["texts", name]),
                    regional_tokens=_mean(sums["triplet_tokens", name], pairs),
                )
            )
        return rows

    def _table3(self) -> dict[str, dict[str, Any]]:
        """Means over the texts that have a parse."""
        return {
            name: {
                "image_annotations": self.sums["texts", name],
                "tokens": self._tokens(name),
                **{
                    key: _mean(self.sums[key, name], self.sums["parsed", name])
                    for key in (*ELEMENTS, *COMPLEXITIES)
                },
            }
            for name in GRANULARITIES
            if self.sums["parsed", name]
        }

    def _tokens(self, granularity: str) -> float | None:
        return _mean(self.sums["text_tokens", granularity], self.sums["texts", granularity])

    def _by_kind(self, what: str) -> dict[str, dict[str, int]]:
        return {
            kind: {
                key[2]: int(n) for key, n in sorted(self.sums.items()) if key[:2] == (what, kind)
            }
            for kind in KINDS
        }


class _Histograms:
    """Counts of boxes by sqrt of normalised area, by log aspect ratio, and by centre (row y, column x)."""

    def __init__(self) -> None:
        self.area = np.zeros(BINS, np.int64)
        self.aspect = np.zeros(BINS, np.int64)
        self.centre = np.zeros((BINS, BINS), np.int64)

    def add(self, boxes: Iterable[Box], size: Size) -> None:
        xyxy = np.array(list(boxes), np.float64).reshape(-1, 4)
        sides = xyxy[:, 2:] - xyxy[:, :2]
        xyxy, sides = xyxy[(sides > 0).all(axis=1)], sides[(sides > 0).all(axis=1)]
        area = np.sqrt((sides / size).prod(axis=1))
        aspect = np.log(sides[:, 0] / sides[:, 1])
        x, y = ((xyxy[:, :2] + xyxy[:, 2:]) / 2 / size).T
        np.add.at(self.area, _bin(area), 1)
        np.add.at(self.aspect, _bin((aspect + ASPECT) / (2 * ASPECT)), 1)
        np.add.at(self.centre, (_bin(y), _bin(x)), 1)

    def merge(self, other: _Histograms) -> None:
        self.area += other.area
        self.aspect += other.aspect
        self.centre += other.centre

    def to_dict(self) -> dict[str, Any]:
        """Densities of area over [0, 1] and of aspect over [-3, 3], and each centre's share of the boxes."""
        total = max(int(self.area.sum()), 1)
        return {
            "boxes": int(self.area.sum()),
            "area": (self.area * BINS / total).tolist(),
            "aspect": (self.aspect * BINS / (2 * ASPECT) / total).tolist(),
            "centre": (self.centre / total).tolist(),
        }


def annotation_totals(table2: Iterable[dict[str, Any]]) -> dict[str, int]:
    """How many annotations of each type, and in all, a Table 2 tells of.

    Texts count in their own rows, not again with their phrases: the paper's 487M + 1362M + 3574M = 5423M.
    """
    totals = dict.fromkeys(("text", "region_text", "text_phrase_region"), 0)
    for row in table2:
        totals[row["type"]] += row["image_annotations"] if row["type"] == "text" else row["regions"]
    return {**totals, "total": sum(totals.values())}


def words(text: str) -> int:
    """Words without punctuation, as `Parse.tokens` counts them."""
    return len(normalise(text).split())


def _row(type_: str, text: str, count: int, **more: Any) -> dict[str, Any]:
    empty = dict.fromkeys(("tokens", "regions", "average_regions", "regional_tokens"))
    return {"type": type_, "text": text, "image_annotations": count, **empty, **more}


def _mean(total: float, count: float) -> float | None:
    return total / count if count else None


def _bin(share: np.ndarray) -> np.ndarray:
    """The bin of each share of [0, 1]; what lies outside goes to the first or the last."""
    return np.clip((share * BINS).astype(int), 0, BINS - 1)
