"""The table of rounds for a terminal: what `fld run` prints at its end."""

from __future__ import annotations

from collections.abc import Mapping, Sequence

from pipeline.quality.truth import METRICS
from pipeline.report.views import NAMES, RoundView
from pipeline.schema import KINDS


def rounds_table(rounds: Sequence[RoundView]) -> str:
    """Per round: counts of kept annotations, quality against truth, what was dropped or failed, and why."""
    parts = [_counts(rounds), _quality(rounds), *(_losses(view) for view in rounds)]
    return "\n\n".join(part for part in parts if part)


def columns(rows: Sequence[Sequence[str]]) -> str:
    """Rows in columns: the first flush left, the others flush right."""
    widths = [max(map(len, column)) for column in zip(*rows, strict=True)]
    lines = [
        "  ".join(cell.rjust(w) if i else cell.ljust(w) for i, (cell, w) in enumerate(zip(row, widths, strict=True)))
        for row in rows
    ]
    return "\n".join(line.rstrip() for line in lines)


def reasons(counts: Mapping[str, int]) -> str:
    """The reasons with their counts, the commonest first."""
    return ", ".join(f"{reason} {n:,}" for reason, n in sorted(counts.items(), key=lambda item: (-item[1], item[0])))


def _counts(rounds: Sequence[RoundView]) -> str:
    head = ["round", "status", *(NAMES[kind] for kind in KINDS), "score"]
    rows = [
        [
            view.name, view.status, *(f"{view.kept.get(kind, 0):,}" for kind in KINDS),
            f"{view.metrics['score']:.3f}" if view.metrics else "-",
        ]
        for view in rounds
    ]  # fmt: skip
    return columns([head, *rows])


def _quality(rounds: Sequence[RoundView]) -> str:
    scored = [view for view in rounds if view.metrics]
    names = [name for name in METRICS if any(name in view.metrics["metrics"] for view in scored if view.metrics)]
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
    dropped = [f"  {NAMES[kind]} dropped: {reasons(counts)}" for kind, counts in view.dropped.items() if counts]
    failed = [f"  samples failed in {stage}: {reasons(counts)}" for stage, counts in view.failed.items() if counts]
    said = [f"  {view.reason}"] if view.reason else []
    return "\n".join([view.name, *said, *dropped, *failed]) if said or dropped or failed else ""
