"""Audits: which annotations a person judges, and the precision that the judgements show.

In: the records of a round. Out: a stratified sample, the same whatever the order of the records; and, of the
judged file, precision with 95% Wilson intervals per type and source.
"""

from __future__ import annotations

import hashlib
import heapq
import math
from collections.abc import Iterable, Mapping
from dataclasses import dataclass
from typing import Any, Literal

from pipeline.schema import KINDS, Annotations, Record, Triplet

_Z95 = 1.959963984540054
YES, NO = "yes", "no"


@dataclass(frozen=True, slots=True, kw_only=True)
class Item:
    """One annotation to judge. `shown` holds it alone, for a triplet with its text."""

    key: str
    id: str
    type: str
    source: str
    size: tuple[int, int]
    shown: Annotations


def sample(
    records: Iterable[Record], n: int, per: Literal["type", "source"] = "type", seed: int = 0
) -> list[Item]:
    """At most `n` kept annotations of each type (of each type and source), drawn without regard to order."""
    if n < 1:
        raise ValueError(f"--n {n}: give at least 1")
    drawn: dict[tuple[str, ...], list[tuple[int, str, str, Item]]] = {}
    for record in records:
        kept = record.annotations.kept()
        for type_ in KINDS:
            for annotation in getattr(kept, type_):
                stratum = (type_,) if per == "type" else (type_, annotation.source)
                heap = drawn.setdefault(stratum, [])
                entry = (-_lot(seed, record.key, annotation.id), record.key, annotation.id)
                if len(heap) < n or entry[0] > heap[0][0]:
                    push = heapq.heappush if len(heap) < n else heapq.heapreplace
                    push(heap, (*entry, _item(record, kept, type_, annotation)))
    items = [entry[-1] for heap in drawn.values() for entry in heap]
    order = list(KINDS)
    return sorted(items, key=lambda item: (order.index(item.type), item.key, item.id))


def score(judged: Mapping[str, Any]) -> list[dict[str, Any]]:
    """A row per type and source, and one per type with source `all`: judged, right, precision, low, high.

    `judged` is the file that the page saves: `{"round", "items": [{"type", "source", "verdict"}]}` where the
    verdict is yes, no, or null for what was not judged.
    """
    counts: dict[tuple[str, str], list[int]] = {}
    for i, item in enumerate(_items(judged)):
        verdict = item.get("verdict")
        if verdict not in (YES, NO, None):
            raise ValueError(f"items[{i}].verdict={verdict!r}: expected {YES!r}, {NO!r} or null")
        for source in ("all", item["source"]) if verdict is not None else ():
            count = counts.setdefault((item["type"], source), [0, 0])
            count[0] += 1
            count[1] += verdict == YES
    return [_row(type_, source, *count) for (type_, source), count in sorted(counts.items())]


def wilson(right: int, judged: int) -> tuple[float, float]:
    """The 95% Wilson score interval of a share."""
    share, z2 = right / judged, _Z95**2
    middle = share + z2 / (2 * judged)
    spread = _Z95 * math.sqrt(share * (1 - share) / judged + z2 / (4 * judged**2))
    scale = 1 + z2 / judged
    return max(0.0, (middle - spread) / scale), min(1.0, (middle + spread) / scale)


def _items(judged: Mapping[str, Any]) -> list[Mapping[str, Any]]:
    items = judged.get("items") if isinstance(judged, Mapping) else None
    if not isinstance(items, list) or "round" not in judged:
        raise ValueError(
            'not a judged audit: expected {"round": .., "items": [..]}; save it from the audit page'
        )
    return items


def _row(type_: str, source: str, judged: int, right: int) -> dict[str, Any]:
    low, high = wilson(right, judged)
    return {
        "type": type_,
        "source": source,
        "judged": judged,
        "right": right,
        "precision": right / judged,
        "low": low,
        "high": high,
    }


def _item(record: Record, kept: Annotations, type_: str, annotation: Any) -> Item:
    shown = {type_: [annotation]}
    if isinstance(annotation, Triplet):
        shown["texts"] = [text for text in kept.texts if text.id == annotation.text_id]
    return Item(
        key=record.key,
        id=annotation.id,
        type=type_,
        source=annotation.source,
        size=(record.width, record.height),
        shown=Annotations(**shown),
    )


def _lot(seed: int, key: str, id_: str) -> int:
    return int.from_bytes(hashlib.sha256(f"{seed}/{key}/{id_}".encode()).digest()[:8], "big")
