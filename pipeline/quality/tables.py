"""The statistics of a round beside the paper's, as Markdown.

The published numbers are those of Florence-2 (CVPR 2024), Tables 1 to 3.
"""

from __future__ import annotations

import json
from collections.abc import Iterable, Mapping, Sequence
from pathlib import Path
from typing import Any

from pipeline.quality.figures import figure5
from pipeline.quality.statistics import COMPLEXITIES, ELEMENTS

_TABLE_1_HEAD = (
    "dataset",
    "model",
    "images",
    "annotations",
    "spatial hierarchy",
    "semantic granularity",
)
TABLE_1 = (
    ("JFT300M", "ViT", "300M", "300M", "image-level", "coarse"),
    ("WIT", "CLIP", "400M", "400M", "image-level", "coarse"),
    ("SA-1B", "SAM", "11M", "1B", "region-level", "non-semantic"),
    ("GrIT", "Kosmos-2", "91M", "137M", "image & region-level", "fine-grained"),
    ("M3W", "Flamingo", "185M", "43.3M documents", "multi-image-level", "fine-grained"),
    ("FLD-5B", "Florence-2", "126M", "5B", "image & region-level", "coarse to fine-grained"),
)
_COLUMNS = (
    "type",
    "text",
    "image_annotations",
    "tokens",
    "regions",
    "average_regions",
    "regional_tokens",
)
_M = 1_000_000
_TABLE_2 = (
    ("text", "brief", 235 * _M, 7.95, None, None, None),
    ("text", "detailed", 126 * _M, 31.65, None, None, None),
    ("text", "more_detailed", 126 * _M, 70.53, None, None, None),
    ("region_text", "phrase", 126 * _M, None, 681 * _M, 5.42, 1.19),
    ("region_text", "brief", 126 * _M, None, 681 * _M, 5.42, 2.55),
    ("text_phrase_region", "brief", 235 * _M, 7.95, 1007 * _M, 4.27, 1.93),
    ("text_phrase_region", "detailed", 126 * _M, 31.65, 1289 * _M, 10.25, 1.49),
    ("text_phrase_region", "more_detailed", 126 * _M, 70.53, 1278 * _M, 10.17, 1.35),
)
PAPER_2: list[dict[str, Any]] = [dict(zip(_COLUMNS, row, strict=True)) for row in _TABLE_2]
_ROWS_3 = ("tokens", *ELEMENTS, *COMPLEXITIES)
PAPER_3 = {
    "brief": dict(zip(_ROWS_3, (7.95, 3.23, 2.80, 0.58, 1.10, 2.80, 1.14), strict=True)),
    "detailed": dict(zip(_ROWS_3, (31.65, 13.31, 7.27, 4.21, 2.40, 4.00, 3.63), strict=True)),
    "more_detailed": dict(zip(_ROWS_3, (70.53, 28.06, 16.25, 8.76, 2.41, 4.02, 4.38), strict=True)),
}


def markdown(name: str, statistics: Mapping[str, Any]) -> str:
    """Tables 1, 2 and 3 with the paper's values in brackets, and counts by source and reason.

    Args:
        name: of the round.
        statistics: what `statistics_of` returns.
    """
    sections = [
        f"# {name}",
        "## Table 1: beside published datasets",
        _table1(name, statistics),
        "## Table 2: annotations (FLD-5B in brackets)",
        _table2(statistics["table2"]),
        "## Table 3: semantic elements and complexity per text (FLD-5B in brackets)",
        _table3(statistics["table3"]),
        f"Text regions (OCR): {statistics['text_regions']:,}",
        "## Kept annotations by source",
        _counts(statistics["sources"], "source"),
        "## Dropped annotations by reason",
        _counts(statistics["dropped"], "reason"),
    ]
    return "\n\n".join(sections) + "\n"


def write_statistics(out: str, name: str, statistics: Mapping[str, Any]) -> str:
    """Write statistics.json, statistics.md and statistics.png.

    Args:
        out: the folder, which is made if it is not there.
        name: of the round.
        statistics: what `statistics_of` returns.

    Returns:
        What a terminal shows.
    """
    folder = Path(out)
    folder.mkdir(parents=True, exist_ok=True)
    page = markdown(name, statistics)
    (folder / "statistics.json").write_text(json.dumps(statistics, indent=1) + "\n")
    (folder / "statistics.md").write_text(f"{page}\n![Figure 5](statistics.png)\n")
    (folder / "statistics.png").write_bytes(figure5(statistics))
    return f"{page}\nwritten: {folder / 'statistics.json'}, statistics.md, statistics.png"


def _table1(name: str, statistics: Mapping[str, Any]) -> str:
    """Our round below the published data sets."""
    ours = (
        name,
        "this engine",
        f"{statistics['images']:,}",
        f"{statistics['annotations']['total']:,}",
        "image & region-level",
        "coarse to fine-grained",
    )
    return _grid(_TABLE_1_HEAD, [*TABLE_1, ours])


def _table2(table: Iterable[Mapping[str, Any]]) -> str:
    """Counts and averages, those of FLD-5B in brackets."""
    published_rows = {(row["type"], row["text"]): row for row in PAPER_2}
    rows = []
    for row in table:
        published = published_rows.get((row["type"], row["text"]), {})
        cells = [row["type"].replace("_", "-"), _spaced(row["text"])]
        for column in _COLUMNS[2:]:
            cells.append(_beside(row[column], published.get(column)))
        rows.append(cells)
    return _grid([_spaced(column) for column in _COLUMNS], rows)


def _table3(table: Mapping[str, Mapping[str, Any]]) -> str:
    """Means per text, a column for each granularity, those of FLD-5B in brackets."""
    rows = []
    for key in _ROWS_3:
        cells = [_spaced(key)]
        for granularity, ours in table.items():
            published = PAPER_3.get(granularity, {})
            cells.append(_beside(ours[key], published.get(key)))
        rows.append(cells)
    head = ["average per text", *(_spaced(granularity) for granularity in table)]
    return _grid(head, rows)


def _counts(by_kind: Mapping[str, Mapping[str, int]], what: str) -> str:
    """Counts by kind and by `what`, the commonest first."""
    rows = []
    for kind, counts in by_kind.items():
        for name, count in sorted(counts.items(), key=lambda item: -item[1]):
            rows.append([_spaced(kind), name, f"{count:,}"])
    return _grid(("type", what, "annotations"), rows) if rows else "None."


def _spaced(name: str) -> str:
    return name.replace("_", " ")


def _beside(ours: float | None, published: float | None) -> str:
    """Our number, with the published one in brackets where there is one."""
    if published is None:
        return _number(ours)
    return f"{_number(ours)} ({_number(published)})"


def _number(value: float | None) -> str:
    if value is None:
        return "-"
    if isinstance(value, float):
        return f"{value:.2f}"
    if value >= _M and value % _M == 0:
        return f"{value // _M}M"
    return f"{value:,}"


def _grid(head: Sequence[str], rows: Iterable[Sequence[str]]) -> str:
    """A Markdown table."""
    lines = []
    rule = ["---"] * len(head)
    for row in (head, rule, *rows):
        cells = " | ".join(row)
        lines.append(f"| {cells} |")
    return "\n".join(lines)
