"""The lines of a study's table, and the table in Markdown."""

from __future__ import annotations

from collections import Counter
from collections.abc import Sequence
from typing import NotRequired, TypedDict


class Line(TypedDict):
    """One finished phase of a row."""

    row: str
    """Name of the row."""
    phase: str
    """Name of the phase."""
    model: str
    """The model that was tested: a checkpoint, or `work:` and a folder of the study."""
    steps: int
    """Steps of the phase's training."""
    seconds: NotRequired[float | None]
    """Seconds of the training; None when it was interrupted."""
    samples: NotRequired[int]
    """Samples that the training saw."""
    scores: dict[str, float]
    """Value of each metric on the test samples."""


class FailedRow(TypedDict):
    """A row that could not be finished."""

    row: str
    """Name of the row."""
    error: str
    """The error in one line."""


class StudyResult(TypedDict):
    """The result of a study."""

    study: str
    """Name of the study."""
    title: str
    """Title of the table."""
    work: str
    """The study's folder."""
    train_samples: int
    test_samples: int
    rows: list[Line]
    failed: list[FailedRow]


HEADINGS = ("", "samples", "steps", "minutes")


def markdown(study: StudyResult) -> str:
    """Render the result of a study: a line for each phase, a column for each metric.

    A row with one phase has the name of the row; with several, the phase is named as well.
    """
    rows = study["rows"]
    metrics = _metrics(rows)
    phases = Counter(row["row"] for row in rows)
    lines: list[list[str]] = [[*HEADINGS, *metrics]]
    for row in rows:
        name = row["row"]
        if phases[name] > 1:
            name = f"{name}: {row['phase']}"
        lines.append([name, *_numbers(row, metrics)])
    samples = study["test_samples"]
    title = f"{study['title']}, tested on {samples:,} samples that no training saw"
    return "\n".join([title, "", *_aligned(lines)])


def failures(study: StudyResult) -> list[str]:
    """Return a line for each row that failed.

    The table shows the finished phases of such a row only.
    """
    lines = []
    for row in study["failed"]:
        lines.append(f"{row['error']}; the same command tries again")
    return lines


def _metrics(rows: Sequence[Line]) -> list[str]:
    """Return the names of all metrics, in the order in which the rows first have them."""
    metrics: list[str] = []
    for row in rows:
        for name in row["scores"]:
            if name not in metrics:
                metrics.append(name)
    return metrics


def _numbers(row: Line, metrics: Sequence[str]) -> list[str]:
    """Format the numbers of a row; a number that it does not have is an empty cell."""
    samples = row.get("samples", 0)
    steps = row["steps"]
    seconds = row.get("seconds")
    minutes = "" if seconds is None else f"{seconds / 60:.1f}"
    cells = [
        f"{samples:,}",
        f"{steps:,}",
        minutes,
    ]
    for metric in metrics:
        score = row["scores"].get(metric)
        cells.append("" if score is None else f"{score:.3f}")
    return cells


def _aligned(lines: Sequence[Sequence[str]]) -> list[str]:
    """Render lines of cells: the first column to the left, numbers to the right.

    The second line of the result is Markdown's rule, whose colons ask for the same alignment.
    """
    widths = []
    for column in zip(*lines, strict=True):
        widths.append(max(len(cell) for cell in column))
    rendered = []
    for line in lines:
        cells = [line[0].ljust(widths[0])]
        for cell, width in zip(line[1:], widths[1:], strict=True):
            cells.append(cell.rjust(width))
        rendered.append(f"| {' | '.join(cells)} |")
    # A cell is one space wider than its text on each side.
    rule = ["-" * (widths[0] + 2)]
    for width in widths[1:]:
        dashes = "-" * (width + 1)
        rule.append(f"{dashes}:")
    rendered.insert(1, f"|{'|'.join(rule)}|")
    return rendered
