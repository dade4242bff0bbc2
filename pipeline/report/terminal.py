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

Counts = Mapping[str, int]  # by reason


def rounds_table(rounds: Sequence[RoundView]) -> str:
    """Kept annotations and quality of each round, and what was dropped or failed, by reason."""
    parts = [_kept_table(rounds), _quality_table(rounds)]
    parts += [_losses(view) for view in rounds]
    return "\n\n".join(part for part in parts if part)


def status_text(state: Mapping[str, Any]) -> str:
    """A work folder's state (`report.status.status`).

    Stages, what goes on now, workers that died, failures and rounds.
    """
    lines = [f"{state['work']}: {state['state']}", _stages_table(state["stages"])]
    lines += _progress(state)
    for dead in state["workers"]["stale"]:
        lines.append(
            f"worker died: {dead['work']} {dead['shard']} (process {dead['pid']} on {dead['host']})"
        )
    lines += [_failure(failure) for failure in state["failures"]]
    unlisted = state["failures_total"] - len(state["failures"])
    if unlisted > 0:
        lines.append(f"... {unlisted:,} more failed; --limit N lists them")
    for attempt in state["rounds"]:
        lines.append(f"round {attempt['round']}: {attempt['status']}: {attempt['reason']}")
        lines += _dropped(attempt["dropped"])
    lines.append(f"head: {state['head'] or 'none yet'}")
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
    widths = [max(map(len, column)) for column in zip(*rows, strict=True)]
    lines = []
    for row in rows:
        cells = []
        for i, cell in enumerate(row):
            cells.append(cell.rjust(widths[i]) if i else cell.ljust(widths[i]))
        lines.append("  ".join(cells).rstrip())
    return "\n".join(lines)


def reasons(counts: Counts) -> str:
    """The reasons with their counts, the commonest first."""
    commonest = sorted(counts.items(), key=lambda item: (-item[1], item[0]))
    return ", ".join(f"{reason} {count:,}" for reason, count in commonest)


def _stages_table(stages: Sequence[Mapping[str, Any]]) -> str:
    rows = [["stage", "shards", "samples", "kept", "failed"]]
    for stage in stages:
        samples = stage["samples"]
        rows.append(
            [
                stage["stage"],
                f"{stage['done']:,}/{stage['total']:,}",
                f"{samples['in']:,}",
                f"{samples['kept']:,}",
                reasons(samples["failed"]) or "0",
            ]
        )
    return columns(rows)


def _progress(state: Mapping[str, Any]) -> list[str]:
    """A line about the step that is going on, none while nothing runs."""
    now = state["now"]
    if not now or state["state"] != "running":
        return []
    line = f"now: {now['what']}  {now['done']:,}/{now['total']:,}  {now['per_second']:.2f}/s"
    if now["eta_seconds"] is not None:
        line += f", {now['eta_seconds']:.0f} s left"
    return [f"{line}, {state['workers']['alive']} workers"]


def _failure(failure: Mapping[str, Any]) -> str:
    line = f"failed: {failure['key']} ({failure['name']}) in {failure['stage']}"
    line += f": {failure['reason']}"
    if failure["detail"]:
        line += f": {failure['detail']}"
    return line


def _dropped(by_kind: Mapping[str, Counts]) -> list[str]:
    """A line for each kind of which annotations were dropped."""
    lines = []
    for kind, counts in by_kind.items():
        if counts:
            lines.append(f"  {NAMES[kind]} dropped: {reasons(counts)}")
    return lines


def _kept_table(rounds: Sequence[RoundView]) -> str:
    rows = [["round", "status", *(NAMES[kind] for kind in KINDS), "score"]]
    for view in rounds:
        row = [view.name, view.status]
        row += [f"{view.kept.get(kind, 0):,}" for kind in KINDS]
        row.append(f"{view.metrics['score']:.3f}" if view.metrics else "-")
        rows.append(row)
    return columns(rows)


def _quality_table(rounds: Sequence[RoundView]) -> str:
    """Precision, recall and F1 of each metric in each round; empty without truth."""
    metrics = {view.name: view.metrics["metrics"] for view in rounds if view.metrics}
    rows = [["precision / recall / F1", *metrics]]
    for name in METRICS:
        cells = []
        for values in metrics.values():
            cells.append(_ratios(values[name]) if name in values else "-")
        if any(cell != "-" for cell in cells):
            rows.append([NAMES[name], *cells])
    return columns(rows) if len(rows) > 1 else ""


def _ratios(metric: Mapping[str, float]) -> str:
    return f"{metric['precision']:.3f} / {metric['recall']:.3f} / {metric['f1']:.3f}"


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
