"""Audits: which annotations a person judges, and the precision that the judgements show.

In: the records of a round. Out: a stratified sample that does not depend on the order of the
records; and, from the judged file, precision with 95% Wilson intervals per type and source.
"""

from __future__ import annotations

import hashlib
import heapq
import math
from collections.abc import Iterable, Iterator, Mapping
from dataclasses import dataclass
from typing import Literal, TypedDict

from pipeline.rows import Record
from pipeline.schema import KINDS, Annotation, Annotations, Triplet
from pipeline.storage.json_types import Json

# The 97.5% quantile of the normal distribution.
_Z95 = 1.959963984540054
YES, NO = "yes", "no"
ALL_SOURCES = "all"


@dataclass(frozen=True, slots=True, kw_only=True)
class Item:
    """One annotation to judge."""

    key: str
    """Key of the sample."""
    id: str
    """Id of the annotation."""
    type: str
    """`texts`, `regions`, `text_regions` or `triplets`."""
    source: str
    """The stage that made the annotation."""
    size: tuple[int, int]
    """(width, height) of the image in pixels."""
    shown: Annotations
    """The annotation alone; a triplet comes with its text."""


class AuditRow(TypedDict):
    """The judgements of one type and source."""

    type: str
    source: str
    """The stage, or `ALL_SOURCES`."""
    judged: int
    right: int
    precision: float
    low: float
    """The lower end of the 95% interval of the precision."""
    high: float
    """The upper end of the 95% interval of the precision."""


def sample(
    records: Iterable[Record], n: int, per: Literal["type", "source"] = "type", seed: int = 0
) -> list[Item]:
    """Draw kept annotations for a person to judge.

    Every annotation gets a number from the hash of the seed and its name, and the lowest numbers
    are drawn: so the sample does not depend on the order of the records.

    Args:
        records: the records of a round.
        n: how many to draw of each type, or of each type and source.
        per: what `n` counts.
        seed: another seed draws another sample.

    Returns:
        The items by type, and by key and id within a type.

    Raises:
        ValueError: `n` is below 1.
    """
    if n < 1:
        raise ValueError(f"--n {n}: give at least 1")
    # For each stratum a heap with the highest of the drawn numbers on top (they are negated).
    strata: dict[tuple[str, ...], list[tuple[int, str, str, Item]]] = {}
    for record in records:
        for item in _items_of(record):
            stratum = (item.type,) if per == "type" else (item.type, item.source)
            heap = strata.setdefault(stratum, [])
            entry = (-_draw_number(seed, item), item.key, item.id, item)
            if len(heap) < n:
                heapq.heappush(heap, entry)
            elif entry[0] > heap[0][0]:
                heapq.heapreplace(heap, entry)
    items = []
    for heap in strata.values():
        for entry in heap:
            items.append(entry[-1])
    order = list(KINDS)
    return sorted(items, key=lambda item: (order.index(item.type), item.key, item.id))


def score(judged: object) -> list[AuditRow]:
    """Precision per type and source, and per type over all sources (source `all`).

    Args:
        judged: the file that the page saves: `{"round", "items": [{"type", "source", "verdict"}]}`,
            where the verdict is yes, no, or null for an annotation that was not judged.

    Returns:
        A row for each type and source.

    Raises:
        ValueError: it is not such a file.
    """
    counts: dict[tuple[str, str], _Count] = {}
    for i, item in enumerate(_judged_items(judged)):
        verdict = item.get("verdict")
        if verdict not in (YES, NO, None):
            raise ValueError(f"items[{i}].verdict={verdict!r}: expected {YES!r}, {NO!r} or null")
        if verdict is None:
            continue
        for source in (ALL_SOURCES, item["source"]):
            count = counts.setdefault((item["type"], source), _Count())
            count.judged += 1
            if verdict == YES:
                count.right += 1
    rows = []
    for type_, source in sorted(counts):
        rows.append(_row(type_, source, counts[type_, source]))
    return rows


def wilson(right: float, judged: int) -> tuple[float, float]:
    """The 95% Wilson score interval (low, high) of the share `right / judged`."""
    share = right / judged
    z2 = _Z95**2
    middle = share + z2 / (2 * judged)
    variance = share * (1 - share) / judged + z2 / (4 * judged**2)
    spread = _Z95 * math.sqrt(variance)
    scale = 1 + z2 / judged
    low = (middle - spread) / scale
    high = (middle + spread) / scale
    return max(0.0, low), min(1.0, high)


@dataclass(slots=True)
class _Count:
    judged: int = 0
    right: int = 0


def _items_of(record: Record) -> Iterator[Item]:
    """Every kept annotation of a sample."""
    kept = record.annotations.kept()
    for type_ in KINDS:
        for annotation in getattr(kept, type_):
            yield Item(
                key=record.key,
                id=annotation.id,
                type=type_,
                source=annotation.source,
                size=(record.width, record.height),
                shown=_alone(type_, annotation, kept),
            )


def _alone(type_: str, annotation: Annotation, kept: Annotations) -> Annotations:
    """What the page shows of an annotation."""
    shown = Annotations()
    getattr(shown, type_).append(annotation)
    if isinstance(annotation, Triplet):
        shown.texts.extend(text for text in kept.texts if text.id == annotation.text_id)
    return shown


def _draw_number(seed: int, item: Item) -> int:
    """A number of 64 bits that looks random but depends on the seed and the item alone."""
    name = f"{seed}/{item.key}/{item.id}"
    digest = hashlib.sha256(name.encode()).digest()
    return int.from_bytes(digest[:8], "big")


def _judged_items(judged: object) -> list[Json]:
    """The items of a judged file.

    Raises:
        ValueError: it is not such a file.
    """
    if isinstance(judged, Mapping) and "round" in judged:
        items = judged.get("items")
        if isinstance(items, list):
            return items
    raise ValueError(
        'not a judged audit: expected {"round": .., "items": [..]}; save it from the audit page'
    )


def _row(type_: str, source: str, count: _Count) -> AuditRow:
    low, high = wilson(count.right, count.judged)
    return {
        "type": type_,
        "source": source,
        "judged": count.judged,
        "right": count.right,
        "precision": count.right / count.judged,
        "low": low,
        "high": high,
    }
