"""A study as a Markdown table."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import Any


def markdown(study: Mapping[str, Any]) -> str:
    """A line a row and phase, a column a metric."""
    rows = study["rows"]
    metrics = list(dict.fromkeys(name for row in rows for name in row["scores"]))
    lines = [["", "samples", "steps", "minutes", *metrics]]
    phased = {row["row"] for row in rows if sum(other["row"] == row["row"] for other in rows) > 1}
    for row in rows:
        name = f"{row['row']}: {row['phase']}" if row["row"] in phased else row["row"]
        minutes = "" if row.get("seconds") is None else f"{row['seconds'] / 60:.1f}"
        values = [
            f"{row['scores'][metric]:.3f}" if metric in row["scores"] else "" for metric in metrics
        ]
        lines.append([name, f"{row.get('samples', 0):,}", f"{row['steps']:,}", minutes, *values])
    widths = [max(map(len, column)) for column in zip(*lines, strict=True)]
    rule = [f"{'-' * widths[0]}-", *("-" * width + ":" for width in widths[1:])]
    shown = [_line([f" {cell} " for cell in _padded(line, widths)]) for line in lines]
    shown.insert(1, _line([f"-{cell}" for cell in rule]))
    about = f"tested on {study['test_samples']:,} samples that no training saw"
    return "\n".join([f"{study['title']}, {about}", "", *shown])


def _padded(line: Sequence[str], widths: Sequence[int]) -> list[str]:
    """The first column to the left, numbers to the right."""
    numbers = (cell.rjust(width) for cell, width in zip(line[1:], widths[1:], strict=True))
    return [line[0].ljust(widths[0]), *numbers]


def _line(cells: Sequence[str]) -> str:
    return f"|{'|'.join(cells)}|"
