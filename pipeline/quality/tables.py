"""The statistics of a round beside the paper's, as Markdown.

The published numbers are those of Florence-2 (CVPR 2024), Tables 1 to 3.
"""

from __future__ import annotations

import json
from collections.abc import Iterable, Mapping, Sequence
from pathlib import Path
from typing import Literal

from pipeline.quality.figures import figure5
from pipeline.quality.statistics import (
    COMPLEXITIES,
    ELEMENTS,
    RoundStatistics,
    Table3,
)
from pipeline.quality.table2 import RegionColumns, Table2Row, table2_row

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
Number = Literal["image_annotations", "tokens", "regions", "average_regions", "regional_tokens"]
NUMBERS: tuple[Number, ...] = (
    "image_annotations",
    "tokens",
    "regions",
    "average_regions",
    "regional_tokens",
)
_M = 1_000_000


def _published_regions(text: str, words: float) -> Table2Row:
    """A row about region texts; both kinds are of the same images and regions."""
    regions = RegionColumns(681 * _M, 5.42, words)
    return table2_row("region_text", text, 126 * _M, regions=regions)


def _published_pairs(text_row: Table2Row, pairs: int, average: float, words: float) -> Table2Row:
    """A row about phrase-box pairs; its texts are those of `text_row`."""
    return table2_row(
        "text_phrase_region",
        text_row["text"],
        text_row["image_annotations"],
        tokens=text_row["tokens"],
        regions=RegionColumns(pairs, average, words),
    )


_BRIEF = table2_row("text", "brief", 235 * _M, tokens=7.95)
_DETAILED = table2_row("text", "detailed", 126 * _M, tokens=31.65)
_MORE_DETAILED = table2_row("text", "more_detailed", 126 * _M, tokens=70.53)
PAPER_2: list[Table2Row] = [
    _BRIEF,
    _DETAILED,
    _MORE_DETAILED,
    _published_regions("phrase", 1.19),
    _published_regions("brief", 2.55),
    _published_pairs(_BRIEF, 1007 * _M, 4.27, 1.93),
    _published_pairs(_DETAILED, 1289 * _M, 10.25, 1.49),
    _published_pairs(_MORE_DETAILED, 1278 * _M, 10.17, 1.35),
]
_ROWS_3 = ("tokens", *ELEMENTS, *COMPLEXITIES)
_TABLE_3 = {
    "brief": (7.95, 3.23, 2.80, 0.58, 1.10, 2.80, 1.14),
    "detailed": (31.65, 13.31, 7.27, 4.21, 2.40, 4.00, 3.63),
    "more_detailed": (70.53, 28.06, 16.25, 8.76, 2.41, 4.02, 4.38),
}
PAPER_3: dict[str, dict[str, float]] = {}
"""By granularity, then by row."""
for _granularity, _values in _TABLE_3.items():
    PAPER_3[_granularity] = dict(zip(_ROWS_3, _values, strict=True))


def markdown(name: str, statistics: RoundStatistics) -> str:
    """Tables 1, 2 and 3 with the paper's values in brackets, and counts by source and reason.

    Args:
        name: of the round.
        statistics: what `Statistics.to_dict` returns.
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
        *_by_source(statistics),
        "## Kept annotations by source",
        _counts(statistics["sources"], "source"),
        "## Dropped annotations by reason",
        _counts(statistics["dropped"], "reason"),
    ]
    return "\n\n".join(sections) + "\n"


def _by_source(statistics: RoundStatistics) -> list[str]:
    """Images and annotations of each source of the images; none where the only one has no name."""
    if "by_source" not in statistics:
        return []
    head = ["source of the images", "images", "texts", "region texts", "phrase-box pairs"]
    rows = []
    for name, own in statistics["by_source"].items():
        counts = own["annotations"]
        dropped = sum(sum(reasons.values()) for reasons in own["dropped"].values())
        numbers = [
            own["images"],
            counts["text"],
            counts["region_text"],
            counts["text_phrase_region"],
            own["text_regions"],
            dropped,
        ]
        rows.append([name, *[f"{number:,}" for number in numbers]])
    table = _grid([*head, "text regions", "dropped"], rows)
    return ["## Annotations by the source of the images", table]


def write_statistics(out: str, name: str, statistics: RoundStatistics) -> str:
    """Write statistics.json, statistics.md and statistics.png.

    Args:
        out: the folder, which is made if it is not there.
        name: of the round.
        statistics: what `Statistics.to_dict` returns.

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


def _table1(name: str, statistics: RoundStatistics) -> str:
    """The published datasets, and the round as the last line."""
    ours = (
        name,
        "this engine",
        f"{statistics['images']:,}",
        f"{statistics['annotations']['total']:,}",
        "image & region-level",
        "coarse to fine-grained",
    )
    return _grid(_TABLE_1_HEAD, [*TABLE_1, ours])


def _table2(table: Iterable[Table2Row]) -> str:
    """A line for each row, with the paper's numbers for the same texts."""
    rows = []
    for row in table:
        published = _published_row(row)
        cells = [row["type"].replace("_", "-"), _spaced(row["text"])]
        for column in NUMBERS:
            paper = published[column] if published else None
            cells.append(_beside(row[column], paper))
        rows.append(cells)
    head = ["type", "text"]
    for column in NUMBERS:
        head.append(_spaced(column))
    return _grid(head, rows)


def _published_row(row: Table2Row) -> Table2Row | None:
    """The paper's row about the same texts, None if it has none."""
    for published in PAPER_2:
        if published["type"] == row["type"] and published["text"] == row["text"]:
            return published
    return None


def _table3(table: Table3) -> str:
    """A line for each semantic element, a column for each granularity."""
    rows = []
    for key in _ROWS_3:
        cells = [_spaced(key)]
        for granularity, ours in table.items():
            published = PAPER_3.get(granularity, {})
            cells.append(_beside(ours[key], published.get(key)))
        rows.append(cells)
    head = ["average per text"]
    for granularity in table:
        head.append(_spaced(granularity))
    return _grid(head, rows)


def _counts(by_kind: Mapping[str, Mapping[str, int]], what: str) -> str:
    """Counts by kind and by `what`, the commonest first."""
    rows = []
    for kind, counts in by_kind.items():
        for name, count in sorted(counts.items(), key=lambda item: -item[1]):
            rows.append([_spaced(kind), name, f"{count:,}"])
    if not rows:
        return "None."
    return _grid(("type", what, "annotations"), rows)


def _spaced(name: str) -> str:
    return name.replace("_", " ")


def _beside(ours: float | None, published: float | None) -> str:
    """Our number, with the published one in brackets where there is one."""
    if published is None:
        return _number(ours)
    return f"{_number(ours)} ({_number(published)})"


def _number(value: float | None) -> str:
    """Averages with two digits, whole millions as such, other counts in full."""
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
