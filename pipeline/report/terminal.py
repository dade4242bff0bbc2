"""What a terminal shows of a work folder: the rounds after `fld run`, and `fld status`.

While a run goes on, the status is live.
"""

from __future__ import annotations

import shlex
import time
from collections.abc import Callable, Mapping, Sequence
from contextlib import suppress
from typing import TYPE_CHECKING

from pipeline.quality.truth import METRICS, MetricScores
from pipeline.report.views import NAMES, RoundView
from pipeline.schema import KINDS
from pipeline.storage import layout

if TYPE_CHECKING:
    from pipeline.ingest.by_source import SourceCounts
    from pipeline.ingest.failures import FailedSample, StageCounts
    from pipeline.report.actors import GroupStatus
    from pipeline.report.status import Progress, RunStatus, Stop

REFRESH_SECONDS = 2.0
SHOWN_RATES, SHOWN_SHARDS = 3, 2
"""How many stages and shards of a group the table shows."""
_DEAD_WORKER = "worker died: {work} {shard} (process {pid} on {host})"
_BOTTLENECK = (
    "bottleneck: stage {stage} of group {group}, whose actors are {busy:.0%} busy; "
    "it takes {share:.0%} of that"
)

Counts = Mapping[str, int]
"""By reason."""


def rounds_table(rounds: Sequence[RoundView]) -> str:
    """Kept annotations and quality of each round, and what was dropped or failed, by reason."""
    parts = [_kept_table(rounds), _quality_table(rounds), _by_source_table(rounds)]
    for view in rounds:
        parts.append(_losses(view))
    present = [part for part in parts if part]
    return "\n\n".join(present)


def status_text(state: RunStatus) -> str:
    """A work folder's state as text.

    It shows the stages, the step that is going on, workers that died, failures, rounds, and the
    head.

    Args:
        state: what `report.status.status` returns.
    """
    heading = "{work}: {state}".format_map(state)
    lines = [heading, _stages_table(state["stages"])]
    if state["sources"]:
        lines.append(_sources_table(state["sources"]))
    if state["stopped"]:
        lines.append(_stop(state["stopped"], state["work"]))
    now = state["now"]
    workers = state["workers"]
    # A run that has ended leaves its last step in the journal.
    if now and state["state"] == "running":
        lines.append(_progress(now, workers["alive"]))
    if state["groups"]:
        lines.append(_groups_table(state["groups"]))
    if state["bottleneck"]:
        lines.append(_BOTTLENECK.format_map(state["bottleneck"]))
    for worker in workers["stale"]:
        lines.append(_DEAD_WORKER.format_map(worker))
    for failure in state["failures"]:
        lines.append(_failure(failure))
    total = state["failures_total"]
    unlisted = total - len(state["failures"])
    if unlisted > 0:
        lines.append(f"... {unlisted:,} more failed; --limit {total} lists them")
    for attempt in state["rounds"]:
        line = "round {round}: {status}: {reason}".format_map(attempt)
        lines.append(line)
        lines += _dropped(attempt["dropped"])
    head = state["head"] or "none yet"
    lines.append(f"head: {head}")
    return "\n".join(lines)


def live(look: Callable[[], RunStatus], forever: bool) -> None:
    """Show the state of a run again and again, until the run ends.

    Args:
        look: returns the present state.
        forever: go on when the run has ended; only the user ends it (Ctrl-C).
    """
    from rich.live import Live
    from rich.text import Text

    with Live(auto_refresh=False) as screen, suppress(KeyboardInterrupt):
        while True:
            state = look()
            text = Text(status_text(state))
            screen.update(text, refresh=True)
            if state["state"] != "running" and not forever:
                return
            time.sleep(REFRESH_SECONDS)


def columns(rows: Sequence[Sequence[str]]) -> str:
    """Rows in columns, with two spaces between them.

    The first column is flush left, because it has names; the others are flush right.
    """
    widths = []
    for column in zip(*rows, strict=True):
        widths.append(max(map(len, column)))
    lines = []
    for row in rows:
        first, *others = row
        cells = [first.ljust(widths[0])]
        for cell, width in zip(others, widths[1:], strict=True):
            cells.append(cell.rjust(width))
        line = "  ".join(cells)
        lines.append(line.rstrip())
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
    """What `commonest` sorts by."""
    _, count = item
    return count


def _stages_table(stages: Sequence[StageCounts]) -> str:
    """Shards and samples of each stage."""
    rows = [["stage", "shards", "samples", "kept", "failed"]]
    for stage in stages:
        samples = stage["samples"]
        cells = [
            stage["stage"],
            "{done:,}/{total:,}".format_map(stage),
            "{in:,}".format_map(samples),
            "{kept:,}".format_map(samples),
            reasons(samples["failed"]) or "0",
        ]
        rows.append(cells)
    return columns(rows)


def _groups_table(groups: Sequence[GroupStatus]) -> str:
    """How busy the actors of each group are, and what they work on."""
    rows = [["group", "actors", "busy", "shards", "images/s of an actor", "working on"]]
    for group in groups:
        rates = []
        for stage in group["stages"]:
            if stage["samples_per_second"] is not None:
                rates.append(f"{stage['stage']} {stage['samples_per_second']:.1f}")
        cells = [
            group["group"],
            str(group["actors"]),
            f"{group['busy']:.0%}",
            f"{group['shards']:,}",
            ", ".join(rates[:SHOWN_RATES]) or "-",
            ", ".join(group["working_on"][:SHOWN_SHARDS]) or "-",
        ]
        rows.append(cells)
    return columns(rows)


def _sources_table(sources: Sequence[SourceCounts]) -> str:
    """How many samples each stage has kept of those that went in, a column for each source."""
    rows = [["kept by source", *[source["source"] for source in sources]]]
    for stages in zip(*[source["stages"] for source in sources], strict=True):
        counts = [stage["samples"] for stage in stages]
        cells = ["{kept:,}/{in:,}".format_map(count) for count in counts]
        rows.append([stages[0]["stage"], *cells])
    return columns(rows)


def _progress(now: Progress, workers: int) -> str:
    """A line about the step that is going on."""
    line = "now: {what}  {done:,}/{total:,}  {per_second:.2f}/s".format_map(now)
    seconds = now["eta_seconds"]
    if seconds is not None:
        line += f", {seconds:.0f} s left"
    return f"{line}, {workers} workers"


def _stop(stop: Stop, work: str) -> str:
    """Where a run stopped, why, and how it goes on."""
    line = "stopped after {where}".format_map(stop)
    if stop["done"] < stop["total"]:
        line = "stopped at {where}, {done:,} of {total:,} done".format_map(stop)
    again = f"fld run --config {shlex.quote(work)}/{layout.CONFIG}"
    return f"{line}: {stop['why']}\nthe same `fld run` goes on from there, or: {again}"


def _failure(failure: FailedSample) -> str:
    """A line about a sample that failed in a stage."""
    line = "failed: {key} ({name}) in {stage}: {reason}".format_map(failure)
    detail = failure["detail"]
    if detail:
        line += f": {detail}"
    return line


def _dropped(by_kind: Mapping[str, Counts]) -> list[str]:
    """A line for each kind of which annotations were dropped."""
    lines = []
    for kind, counts in by_kind.items():
        if not counts:
            continue
        name = NAMES[kind]
        lines.append(f"  {name} dropped: {reasons(counts)}")
    return lines


def _kept_table(rounds: Sequence[RoundView]) -> str:
    """Status, kept annotations by type, and score of each round; "-" for one without truth."""
    head = ["round", "status"]
    for kind in KINDS:
        head.append(NAMES[kind])
    head.append("score")
    rows = [head]
    for view in rounds:
        row = [view.name, view.status]
        for kind in KINDS:
            count = view.kept.get(kind, 0)
            row.append(f"{count:,}")
        score = "-"
        if view.metrics:
            score = "{score:.3f}".format_map(view.metrics)
        row.append(score)
        rows.append(row)
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
        has_truth = False
        for values in metrics.values():
            if name in values:
                has_truth = True
                cells.append(_ratios(values[name]))
            else:
                cells.append("-")
        if has_truth:
            rows.append([NAMES[name], *cells])
    if len(rows) == 1:
        # There is nothing below the heading.
        return ""
    return columns(rows)


def _by_source_table(rounds: Sequence[RoundView]) -> str:
    """Kept annotations and score of each source in each round; empty where no source has a name."""
    rows = [["round", "source", "samples", *[NAMES[kind] for kind in KINDS], "score"]]
    for view in rounds:
        for name, own in view.sources.items():
            kept = [f"{own['kept'].get(kind, 0):,}" for kind in KINDS]
            score = f"{own['truth']['all']['score']:.3f}" if own["truth"] else "-"
            rows.append([view.name, name, f"{own['samples']:,}", *kept, score])
    return columns(rows) if len(rows) > 1 else ""


def _ratios(scores: MetricScores) -> str:
    """Precision, recall and F1 of one metric."""
    return "{precision:.3f} / {recall:.3f} / {f1:.3f}".format_map(scores)


def _losses(view: RoundView) -> str:
    """Why the round was accepted or not, and what was dropped and failed in it."""
    lines = []
    if view.reason:
        lines.append(f"  {view.reason}")
    lines += _dropped(view.dropped)
    for stage, counts in view.failed.items():
        if not counts:
            continue
        summary = reasons(counts)
        lines.append(f"  samples failed in {stage}: {summary}")
    if not lines:
        return ""
    return "\n".join([view.name, *lines])
