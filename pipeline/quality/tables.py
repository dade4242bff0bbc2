"""The statistics of a round beside the paper's, as Markdown, and Figure 5 as a picture.

The published numbers are those of Florence-2 (CVPR 2024), Tables 1 to 3.
"""

from __future__ import annotations

import io
from collections.abc import Iterable, Mapping, Sequence
from typing import Any

from pipeline.quality.statistics import ASPECT, BINS, COMPLEXITIES, ELEMENTS, FIGURE

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
PAPER_2: tuple[dict[str, Any], ...] = tuple(
    dict(zip(_COLUMNS, row, strict=True))
    for row in (
        ("text", "brief", 235 * _M, 7.95, None, None, None),
        ("text", "detailed", 126 * _M, 31.65, None, None, None),
        ("text", "more_detailed", 126 * _M, 70.53, None, None, None),
        ("region_text", "phrase", 126 * _M, None, 681 * _M, 5.42, 1.19),
        ("region_text", "brief", 126 * _M, None, 681 * _M, 5.42, 2.55),
        ("text_phrase_region", "brief", 235 * _M, 7.95, 1007 * _M, 4.27, 1.93),
        ("text_phrase_region", "detailed", 126 * _M, 31.65, 1289 * _M, 10.25, 1.49),
        ("text_phrase_region", "more_detailed", 126 * _M, 70.53, 1278 * _M, 10.17, 1.35),
    )
)
_ROWS_3 = ("tokens", *ELEMENTS, *COMPLEXITIES)
PAPER_3 = {
    "brief": dict(zip(_ROWS_3, (7.95, 3.23, 2.80, 0.58, 1.10, 2.80, 1.14), strict=True)),
    "detailed": dict(zip(_ROWS_3, (31.65, 13.31, 7.27, 4.21, 2.40, 4.00, 3.63), strict=True)),
    "more_detailed": dict(zip(_ROWS_3, (70.53, 28.06, 16.25, 8.76, 2.41, 4.02, 4.38), strict=True)),
}
_TITLES = {"regions": "region-text", "triplets": "text-phrase-region"}


def markdown(name: str, statistics: Mapping[str, Any]) -> str:
    """Tables 1, 2 and 3 with the paper's values in brackets, and counts by source and by reason."""
    return (
        "\n\n".join(
            [
                f"# {name}",
                "## Table 1: beside published datasets",
                _table1(name, statistics),
                "## Table 2: annotations (FLD-5B in brackets)",
                _table2(statistics),
                "## Table 3: semantic elements and complexity per text (FLD-5B in brackets)",
                _table3(statistics),
                f"Text regions (OCR): {statistics['text_regions']:,}",
                "## Kept annotations by source",
                _counts(statistics["sources"], "source"),
                "## Dropped annotations by reason",
                _counts(statistics["dropped"], "reason"),
            ]
        )
        + "\n"
    )


def figure5(statistics: Mapping[str, Any]) -> bytes:
    """A PNG: densities of box size and aspect ratio, heat maps of box centres."""
    import matplotlib
    import numpy as np
    from matplotlib.colors import LogNorm
    from matplotlib.figure import Figure

    figure = Figure(figsize=(13, 3.4), layout="constrained", dpi=110)
    area, aspect, *heat = figure.subplots(1, 4)
    centres = (np.arange(BINS) + 0.5) / BINS
    for kind in FIGURE:
        densities = statistics["figure5"][kind]
        area.plot(centres, densities["area"], label=_TITLES[kind])
        aspect.plot(centres * 2 * ASPECT - ASPECT, densities["aspect"], label=_TITLES[kind])
    area.set(title="(a) box size", xlabel="sqrt of normalised area", ylabel="density", xlim=(0, 1))
    aspect.set(title="(b) aspect ratio", xlabel="log (width / height)", xlim=(-ASPECT, ASPECT))
    area.legend(frameon=False)
    for axes, kind, letter in zip(heat, FIGURE, "cd", strict=True):
        shares = np.array(statistics["figure5"][kind]["centre"])
        shown = axes.imshow(
            np.where(shares > 0, shares, np.nan),
            extent=(0, 1, 1, 0),
            norm=LogNorm(1e-4, 1e-2),
            cmap=matplotlib.colormaps["viridis"],
        )
        axes.set(title=f"({letter}) centres, {_TITLES[kind]}", xlabel="x", ylabel="y")
    figure.colorbar(shown, ax=heat, label="share")
    file = io.BytesIO()
    figure.savefig(file, format="png", metadata={"Software": None})
    return file.getvalue()


def calibration_curves(curves: Sequence[Mapping[str, Any]], precision: float) -> bytes:
    """A PNG: precision and recall over the score threshold for each specialist; the wanted precision is dotted."""
    from matplotlib.figure import Figure

    whole = [curve for curve in curves if curve["class"] is None]
    figure = Figure(figsize=(4.2 * max(len(whole), 1), 3.4), layout="constrained", dpi=110)
    for axes, curve in zip(
        figure.subplots(1, max(len(whole), 1), squeeze=False)[0], whole, strict=False
    ):
        axes.step(curve["threshold"], curve["precision"], where="pre", label="precision")
        axes.step(curve["threshold"], curve["recall"], where="pre", label="recall")
        axes.axhline(precision, color="grey", linestyle=":")
        title = f"{curve['source']}: {curve['type'].replace('_', ' ')}"
        axes.set(title=title, xlabel="score threshold", xlim=(0, 1), ylim=(0, 1.02))
        axes.legend(frameon=False)
    file = io.BytesIO()
    figure.savefig(file, format="png", metadata={"Software": None})
    return file.getvalue()


def _table1(name: str, statistics: Mapping[str, Any]) -> str:
    ours = (
        name,
        "this engine",
        f"{statistics['images']:,}",
        f"{statistics['annotations']['total']:,}",
        "image & region-level",
        "coarse to fine-grained",
    )
    head = (
        "dataset",
        "model",
        "images",
        "annotations",
        "spatial hierarchy",
        "semantic granularity",
    )
    return _grid(head, [*TABLE_1, ours])


def _table2(statistics: Mapping[str, Any]) -> str:
    paper = {(row["type"], row["text"]): row for row in PAPER_2}
    head = (
        "type",
        "text",
        "image annotations",
        "tokens",
        "regions",
        "average regions",
        "regional tokens",
    )
    rows = []
    for row in statistics["table2"]:
        published = paper.get((row["type"], row["text"]), {})
        numbers = [_beside(row[column], published.get(column)) for column in _COLUMNS[2:]]
        rows.append([row["type"].replace("_", "-"), row["text"].replace("_", " "), *numbers])
    return _grid(head, rows)


def _table3(statistics: Mapping[str, Any]) -> str:
    table = statistics["table3"]
    rows = [
        [
            key.replace("_", " "),
            *(_beside(table[name][key], PAPER_3.get(name, {}).get(key)) for name in table),
        ]
        for key in _ROWS_3
    ]
    return _grid(("average per text", *(name.replace("_", " ") for name in table)), rows)


def _counts(by_kind: Mapping[str, Mapping[str, int]], what: str) -> str:
    rows = [
        [kind.replace("_", " "), name, f"{n:,}"]
        for kind, counts in by_kind.items()
        for name, n in sorted(counts.items(), key=lambda item: -item[1])
    ]
    return _grid(("type", what, "annotations"), rows) if rows else "None."


def _beside(ours: float | None, published: float | None) -> str:
    return _number(ours) + (f" ({_number(published)})" if published is not None else "")


def _number(value: float | None) -> str:
    if value is None:
        return "-"
    if isinstance(value, float):
        return f"{value:.2f}"
    return f"{value // _M}M" if value >= _M and value % _M == 0 else f"{value:,}"


def _grid(head: Sequence[str], rows: Iterable[Sequence[str]]) -> str:
    return "\n".join("| " + " | ".join(row) + " |" for row in (head, ["---"] * len(head), *rows))
