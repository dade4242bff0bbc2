"""What a terminal shows of a work folder: the rounds after `fld run`, and `fld status`.

While a run goes on, the status is live.
"""

from __future__ import annotations

import time
from collections.abc import Callable, Mapping, Sequence
from contextlib import suppress
from typing import Any

from pipeline.quality.truth import METRICS
from pipeline.report.views import NAMES, RoundView
from pipeline.schema import KINDS

REFRESH_SECONDS = 2.0
_DEAD_WORKER = "worker died: {work} {shard} (process {pid} on {host})"
_RATIOS = "{precision:.3f} / {recall:.3f} / {f1:.3f}"

Counts = Mapping[str, int]  # by reason


def rounds_table(rounds: Sequence[RoundView]) -> str:
    """Kept annotations and quality of each round, and what was dropped or failed, by reason."""
    parts = [_kept_table(rounds), _quality_table(rounds)]
    parts += [_losses(view) for view in rounds]
    return "\n\n".join(part for part in parts if part)


def status_text(state: Mapping[str, Any]) -> str:
    """A work folder's state as text.

    Stages, the step that is going on, workers that died, failures, rounds, and the head.

    Args:
        state: what `report.status.status` returns.
    """
    lines = ["{work}: {state}".format_map(state)]
    lines.append(_stages_table(state["stages"]))
    if state["now"] and state["state"] == "running":
        lines.append(_progress(state["now"], state["workers"]["alive"]))
    for worker in state["workers"]["stale"]:
        lines.append(_DEAD_WORKER.format_map(worker))
    for failure in state["failures"]:
        lines.append(_failure(failure))
    unlisted = state["failures_total"] - len(state["failures"])
    if unlisted > 0:
        lines.append(f"... {unlisted:,} more failed; --limit N lists them")
    for attempt in state["rounds"]:
        lines.append("round {round}: {status}: {reason}".format_map(attempt))
        lines += _dropped(attempt["dropped"])
    head = state["head"] or "none yet"
    lines.append(f"head: {head}")
    return "\n".join(lines)


def live(look: Callable[[], Mapping[str, Any]], forever: bool) -> None:
    """Show the state that `look` returns again and again, until the run ends.

    With `forever`, only the user ends it (Ctrl-C).
    """
    from rich.live import Live
    from rich.text import Text

    with Live(auto_refresh=False) as screen, suppress(KeyboardInterrupt):
        while True:
            state = look()
            screen.update(Text(status_text(state)), refresh=True)
            if state["state"] != "running" and not forever:
                return
            time.sleep(REFRESH_SECONDS)


def columns(rows: Sequence[Sequence[str]]) -> str:
    """Rows in columns: the first is flush left, the others are flush right."""
    columns = list(zip(*rows, strict=True))
    aligned = []
    for number, cells in enumerate(columns):
        width = max(map(len, cells))
        if number == 0:
            aligned.append([cell.ljust(width) for cell in cells])
        else:
            aligned.append([cell.rjust(width) for cell in cells])
    lines = ["  ".join(cells).rstrip() for cells in zip(*aligned, strict=True)]
    return "\n".join(lines)


def reasons(counts: Counts) -> str:
    """The reasons with their counts, the commonest first."""
    parts = [f"{reason} {count:,}" for reason, count in commonest(counts)]
    return ", ".join(parts)


def commonest(counts: Counts) -> list[tuple[str, int]]:
    """Names with their counts, the highest first, equal counts by name."""
    by_name = sorted(counts.items())
    return sorted(by_name, key=_count, reverse=True)


def _count(item: tuple[str, int]) -> int:
    _, count = item
    return count


def _stages_table(stages: Sequence[Mapping[str, Any]]) -> str:
    """Shards and samples of each stage."""
    rows = [["stage", "shards", "samples", "kept", "failed"]]
    for stage in stages:
        samples = stage["samples"]
        rows.append(
            [
                stage["stage"],
                "{done:,}/{total:,}".format_map(stage),
                "{in:,}".format_map(samples),
                "{kept:,}".format_map(samples),
                reasons(samples["failed"]) or "0",
            ]
        )
    return columns(rows)


def _progress(now: Mapping[str, Any], workers: int) -> str:
    """A line about the step that is going on."""
    line = "now: {what}  {done:,}/{total:,}  {per_second:.2f}/s".format_map(now)
    if now["eta_seconds"] is not None:
        line += ", {eta_seconds:.0f} s left".format_map(now)
    return f"{line}, {workers} workers"


def _failure(failure: Mapping[str, Any]) -> str:
    """A line about a sample that failed in a stage."""
    line = "failed: {key} ({name}) in {stage}: {reason}".format_map(failure)
    if failure["detail"]:
        line += ": {detail}".format_map(failure)
    return line


def _dropped(by_kind: Mapping[str, Counts]) -> list[str]:
    """A line for each kind of which annotations were dropped."""
    lines = []
    for kind, counts in by_kind.items():
        if counts:
            lines.append(f"  {NAMES[kind]} dropped: {reasons(counts)}")
    return lines


def _kept_table(rounds: Sequence[RoundView]) -> str:
    """Status, kept annotations by type, and score of each round."""
    head = ["round", "status"]
    for kind in KINDS:
        head.append(NAMES[kind])
    rows = [[*head, "score"]]
    for view in rounds:
        row = [view.name, view.status]
        for kind in KINDS:
            count = view.kept.get(kind, 0)
            row.append(f"{count:,}")
        score = "-"
        if view.metrics:
            score = "{score:.3f}".format_map(view.metrics)
        rows.append([*row, score])
    return columns(rows)


def _quality_table(rounds: Sequence[RoundView]) -> str:
    """Precision, recall and F1 of each metric in each round; empty without truth."""
    metrics = {}
    for view in rounds:
        if view.metrics:
            metrics[view.name] = view.metrics["metrics"]
    rows = [["precision / recall / F1", *metrics]]
    for name in METRICS:
        cells = []
        for values in metrics.values():
            cells.append(_RATIOS.format_map(values[name]) if name in values else "-")
        if set(cells) - {"-"}:
            rows.append([NAMES[name], *cells])
    return columns(rows) if len(rows) > 1 else ""


def _losses(view: RoundView) -> str:
    """Why the round was accepted or not, and what was dropped and failed in it."""
    lines = []
    if view.reason:
        lines.append(f"  {view.reason}")
    lines += _dropped(view.dropped)
    for stage, counts in view.failed.items():
        if counts:
            lines.append(f"  samples failed in {stage}: {reasons(counts)}")
    return "\n".join([view.name, *lines]) if lines else ""
