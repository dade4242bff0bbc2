"""What a terminal shows: the table of rounds at the end of `fld run`, and `fld status`, live while a run goes on."""

from __future__ import annotations

import time
from collections.abc import Callable, Mapping, Sequence
from contextlib import suppress
from typing import Any

from pipeline.quality.truth import METRICS
from pipeline.report.views import NAMES, RoundView
from pipeline.schema import KINDS

REFRESH_SECONDS = 2.0


def rounds_table(rounds: Sequence[RoundView]) -> str:
    """Per round: counts of kept annotations, quality against truth, what was dropped or failed, and why."""
    parts = [_counts(rounds), _quality(rounds), *(_losses(view) for view in rounds)]
    return "\n\n".join(part for part in parts if part)


def status_text(state: Mapping[str, Any]) -> str:
    """A work folder's state (`pipeline.status.status`): stages, what goes on, what died, failures, rounds."""
    rows = [["stage", "shards", "samples", "kept", "failed"]]
    for stage in state["stages"]:
        samples = stage["samples"]
        shards = f"{stage['done']:,}/{stage['total']:,}"
        counts = [f"{samples[name]:,}" for name in ("in", "kept")]
        rows.append([stage["stage"], shards, *counts, reasons(samples["failed"]) or "0"])
    lines = [f"{state['work']}: {state['state']}", columns(rows), *_now(state)]
    for dead in state["workers"]["stale"]:
        lines.append(
            f"worker died: {dead['work']} {dead['shard']} (process {dead['pid']} on {dead['host']})"
        )
    lines += [_failed(failure) for failure in state["failures"]]
    if state["failures_total"] > len(state["failures"]):
        lines.append(
            f"... {state['failures_total'] - len(state['failures']):,} more failed; --limit N lists them"
        )
    for made in state["rounds"]:
        lines.append(f"round {made['round']}: {made['status']}: {made['reason']}")
        lines += [
            f"  {NAMES[kind]} dropped: {reasons(counts)}"
            for kind, counts in made["dropped"].items()
            if counts
        ]
    return "\n".join([*lines, f"head: {state['head'] or 'none yet'}"])


def live(look: Callable[[], Mapping[str, Any]], forever: bool) -> None:
    """Show `look()` again and again, until the run ends or, with `forever`, the user does (Ctrl-C)."""
    from rich.live import Live
    from rich.text import Text

    with Live(auto_refresh=False) as screen, suppress(KeyboardInterrupt):
        while True:
            state = look()
            screen.update(Text(status_text(state)), refresh=True)
            if state["state"] != "running" and not forever:
                return
            time.sleep(REFRESH_SECONDS)


def _now(state: Mapping[str, Any]) -> list[str]:
    now = state["now"]
    if not now or state["state"] != "running":
        return []
    eta = f", {now['eta_seconds']:.0f} s left" if now["eta_seconds"] is not None else ""
    workers = f", {state['workers']['alive']} workers"
    return [
        f"now: {now['what']}  {now['done']:,}/{now['total']:,}  {now['per_second']:.2f}/s{eta}{workers}"
    ]


def _failed(failure: Mapping[str, Any]) -> str:
    detail = f": {failure['detail']}" if failure["detail"] else ""
    return f"failed: {failure['key']} ({failure['name']}) in {failure['stage']}: {failure['reason']}{detail}"


def columns(rows: Sequence[Sequence[str]]) -> str:
    """Rows in columns: the first flush left, the others flush right."""
    widths = [max(map(len, column)) for column in zip(*rows, strict=True)]
    lines = [
        "  ".join(
            cell.rjust(w) if i else cell.ljust(w)
            for i, (cell, w) in enumerate(zip(row, widths, strict=True))
        )
        for row in rows
    ]
    return "\n".join(line.rstrip() for line in lines)


def reasons(counts: Mapping[str, int]) -> str:
    """The reasons with their counts, the commonest first."""
    return ", ".join(
        f"{reason} {n:,}"
        for reason, n in sorted(counts.items(), key=lambda item: (-item[1], item[0]))
    )


def _counts(rounds: Sequence[RoundView]) -> str:
    head = ["round", "status", *(NAMES[kind] for kind in KINDS), "score"]
    rows = [
        [
            view.name,
            view.status,
            *(f"{view.kept.get(kind, 0):,}" for kind in KINDS),
            f"{view.metrics['score']:.3f}" if view.metrics else "-",
        ]
        for view in rounds
    ]
    return columns([head, *rows])


def _quality(rounds: Sequence[RoundView]) -> str:
    scored = [view for view in rounds if view.metrics]
    names = [
        name
        for name in METRICS
        if any(name in view.metrics["metrics"] for view in scored if view.metrics)
    ]
    if not names:
        return ""
    rows = [["precision / recall / F1", *(view.name for view in scored)]]
    for name in names:
        found = [(view.metrics or {})["metrics"].get(name) for view in scored]
        rows.append([NAMES[name], *(_ratios(m) if m else "-" for m in found)])
    return columns(rows)


def _ratios(metric: Mapping[str, float]) -> str:
    return " / ".join(f"{metric[name]:.3f}" for name in ("precision", "recall", "f1"))


def _losses(view: RoundView) -> str:
    dropped = [
        f"  {NAMES[kind]} dropped: {reasons(counts)}"
        for kind, counts in view.dropped.items()
        if counts
    ]
    failed = [
        f"  samples failed in {stage}: {reasons(counts)}"
        for stage, counts in view.failed.items()
        if counts
    ]
    said = [f"  {view.reason}"] if view.reason else []
    return "\n".join([view.name, *said, *dropped, *failed]) if said or dropped or failed else ""
