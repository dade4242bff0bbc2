"""What single commands print in a terminal: small tables of plain values."""

from __future__ import annotations

import json
from collections.abc import Mapping, Sequence
from itertools import groupby
from operator import attrgetter
from textwrap import TextWrapper
from typing import TYPE_CHECKING

from pipeline.config.reference import GROUPS, Setting
from pipeline.report.terminal import columns

if TYPE_CHECKING:
    from pipeline.quality.audit import AuditRow
    from pipeline.quality.calibration import ThresholdRow

_MEANING = TextWrapper(width=100, initial_indent=" " * 6, subsequent_indent=" " * 6)
_DEFAULTS = "[...]: the default in the code; a file of configs/ may set another value"
_REQUIRED = "[-]: no default in the code; a file of configs/ or the command line must give a value"


def scores_table(scores: Mapping[str, float]) -> str:
    """The metrics of `quality.evaluate.evaluate`, one on each line."""
    lines = []
    for name, value in scores.items():
        number = str(value)
        if isinstance(value, float):
            number = f"{value:.4f}"
        lines.append(f"{name:<22}{number}")
    return "\n".join(lines)


def calibration_table(thresholds: Sequence[ThresholdRow]) -> str:
    """The rows of `quality.calibration.summary`."""
    table = [
        [
            "type",
            "specialist",
            "class",
            "labels",
            "threshold",
            "above it",
            "precision",
            "95% interval",
            "recall",
        ]
    ]
    for row in thresholds:
        cells = [
            row["type"],
            row["source"],
            row["class"] or "all",
            str(row["labels"]),
            _or_never(row["threshold"]),
            str(row["judged"]) if row["threshold"] is not None else "0",
            _or_never(row["precision"]),
            f"{row['low']:.3f} to {row['high']:.3f}" if row["threshold"] is not None else "-",
            _or_never(row["recall"]),
        ]
        table.append(cells)
    return columns(table)


def _or_never(number: float | None) -> str:
    """A number of a calibration; None where the wanted precision is never reached."""
    return "never" if number is None else f"{number:.3f}"


def audit_table(rows: Sequence[AuditRow]) -> str:
    """The rows of `quality.audit.score`."""
    table = [["type", "source", "judged", "right", "precision", "95% interval"]]
    for row in rows:
        cells = [
            row["type"],
            row["source"],
            str(row["judged"]),
            str(row["right"]),
            f"{row['precision']:.3f}",
            f"{row['low']:.3f} to {row['high']:.3f}",
        ]
        table.append(cells)
    return columns(table)


def settings_text(settings: Sequence[Setting]) -> str:
    """Settings under headings, each with its type and default, and its meaning on the next line."""
    sections = []
    for group, members in groupby(settings, key=attrgetter("group")):
        sections.append(f"{group}: {GROUPS[group]}")
        for use, own in groupby(members, key=attrgetter("use")):
            section = _settings_section(use, list(own))
            sections.append(section)
    sections.append(_DEFAULTS)
    if any(setting.required for setting in settings):
        sections.append(_REQUIRED)
    return "\n\n".join(sections)


def _settings_section(use: str, settings: Sequence[Setting]) -> str:
    """The settings of one stage, or those of the engine itself."""
    width = max(len(setting.name) for setting in settings)
    lines = []
    if use:
        lines.append(f"  {use}")
    for setting in settings:
        name = setting.name.ljust(width)
        default = "-"
        if not setting.required:
            default = _value_text(setting.default)
        line = f"  {name}  {setting.type}  [{default}]"
        if len(line) <= _MEANING.width:
            lines.append(line)
        else:
            lines.append(f"  {name}  {setting.type}")
            lines += _MEANING.wrap(f"[{default}]")
        meaning = setting.meaning or "(no meaning written)"
        lines += _MEANING.wrap(meaning)
    return "\n".join(lines)


def _value_text(value: object) -> str:
    """A value as it is typed on the command line."""
    if isinstance(value, str) and value:
        return value
    return json.dumps(value)
