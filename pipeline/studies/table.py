"""A study as a Markdown table."""

from __future__ import annotations

from collections import Counter
from collections.abc import Mapping, Sequence
from typing import Any


def markdown(study: Mapping[str, Any]) -> str:
    """Render the result of `pipeline.studies.run.run`: a line a phase, a column a metric."""
    rows = study["rows"]
    metrics: list[str] = []
    for row in rows:
        metrics += [name for name in row["scores"] if name not in metrics]
    phases = Counter(row["row"] for row in rows)
    lines = [["", "samples", "steps", "minutes", *metrics]]
    for row in rows:
        lines.append(_cells(row, metrics, several_phases=phases[row["row"]] > 1))
    about = f"tested on {study['test_samples']:,} samples that no training saw"
    return "\n".join([f"{study['title']}, {about}", "", *_aligned(lines)])


def failures(study: Mapping[str, Any]) -> list[str]:
    """Return a line for each row that failed; the table shows its finished phases only."""
    return [f"{row['error']}; the same command tries again" for row in study["failed"]]


def _cells(row: Mapping[str, Any], metrics: Sequence[str], several_phases: bool) -> list[str]:
    name = f"{row['row']}: {row['phase']}" if several_phases else row["row"]
    seconds = row.get("seconds")
    minutes = "" if seconds is None else f"{seconds / 60:.1f}"
    cells = [name, f"{row.get('samples', 0):,}", f"{row['steps']:,}", minutes]
    for metric in metrics:
        score = row["scores"].get(metric)
        cells.append("" if score is None else f"{score:.3f}")
    return cells


def _aligned(lines: Sequence[Sequence[str]]) -> list[str]:
    """Render lines of cells: the first column to the left, numbers to the right."""
    widths = [max(len(cell) for cell in column) for column in zip(*lines, strict=True)]
    rendered = []
    for line in lines:
        cells = [line[0].ljust(widths[0])]
        for cell, width in zip(line[1:], widths[1:], strict=True):
            cells.append(cell.rjust(width))
        rendered.append(f"| {' | '.join(cells)} |")
    rule = ["-" * (widths[0] + 2)]
    rule += ["-" * (width + 1) + ":" for width in widths[1:]]
    rendered.insert(1, f"|{'|'.join(rule)}|")
    return rendered
