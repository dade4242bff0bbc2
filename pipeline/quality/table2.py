"""The rows of the paper's Table 2: how many annotations of each type there are, and how long."""

from __future__ import annotations

from collections.abc import Iterable
from dataclasses import dataclass
from typing import TypedDict


class Table2Row(TypedDict):
    """A row of Table 2; a column that a type does not have is None."""

    type: str
    """`text`, `region_text` or `text_phrase_region`."""
    text: str
    """The granularity of the texts, or which text of a region: `phrase` or `brief`."""
    image_annotations: int
    """Texts, or images for `region_text`."""
    tokens: float | None
    """Words per text."""
    regions: int | None
    average_regions: float | None
    """Regions per text, or per image for `region_text`."""
    regional_tokens: float | None
    """Words per phrase or brief text."""


def annotation_totals(table2: Iterable[Table2Row]) -> dict[str, int]:
    """How many annotations of each type, and in all, the rows of a Table 2 sum up to.

    Texts count in their own rows and not again with their phrases, as in the paper:
    487M + 1362M + 3574M = 5423M.
    """
    totals = {"text": 0, "region_text": 0, "text_phrase_region": 0, "total": 0}
    for row in table2:
        count = row["image_annotations"] if row["type"] == "text" else row["regions"]
        totals[row["type"]] += count or 0
        totals["total"] += count or 0
    return totals


@dataclass(frozen=True, slots=True)
class RegionColumns:
    """The columns of Table 2 that rows about regions have."""

    count: int | None = None
    average: float | None = None
    tokens: float | None = None


def table2_row(
    type_: str,
    text: str,
    count: int,
    *,
    tokens: float | None = None,
    regions: RegionColumns | None = None,
) -> Table2Row:
    """A row of Table 2; `count` is the number of annotations of whole images."""
    if regions is None:
        regions = RegionColumns()
    return {
        "type": type_,
        "text": text,
        "image_annotations": count,
        "tokens": tokens,
        "regions": regions.count,
        "average_regions": regions.average,
        "regional_tokens": regions.tokens,
    }
