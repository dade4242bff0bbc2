"""What single commands print in a terminal: small tables of plain values."""

from __future__ import annotations

import json
from collections.abc import Mapping, Sequence
from itertools import groupby
from operator import attrgetter
from textwrap import TextWrapper
from typing import Any

from pipeline.config.reference import GROUPS, Setting
from pipeline.refinement.planning import PlannedStage
from pipeline.report.terminal import columns

_MEANING = TextWrapper(width=100, initial_indent=" " * 6, subsequent_indent=" " * 6)
_DEFAULTS = "[...]: the default in the code; a file of configs/ may set another value"
_REQUIRED = "[-]: no default in the code; a file of configs/ or the command line must give a value"


def plan_table(stages: Sequence[PlannedStage]) -> str:
    """The stages of a plan, with the shards that are done and to do."""
    table = [["stage", "done", "to do", "folder"]]
    for stage in stages:
        # A folder is named after what goes into it, so some are known only during the run.
        folder = stage.folder or "known then"
        table.append([stage.stage, str(stage.done), str(stage.todo), folder])
    return columns(table)


def scores_table(scores: Mapping[str, Any]) -> str:
    """The metrics of `quality.evaluate.evaluate`, one on each line."""
    lines = []
    for name, value in scores.items():
        number = f"{value:.4f}" if isinstance(value, float) else str(value)
        lines.append(f"{name:<22}{number}")
    return "\n".join(lines)


def calibration_table(thresholds: Sequence[Mapping[str, Any]]) -> str:
    """The rows of `quality.calibration.summary`."""
    table = [["type", "specialist", "class", "labels", "threshold", "precision", "recall"]]
    for row in thresholds:
        cells = [row["type"], row["source"], row["class"] or "all", str(row["labels"])]
        for name in ("threshold", "precision", "recall"):
            number = row[name]
            cells.append("never" if number is None else f"{number:.3f}")
        table.append(cells)
    return columns(table)


def audit_table(rows: Sequence[Mapping[str, Any]]) -> str:
    """The rows of `quality.audit.score`."""
    table = [["type", "source", "judged", "right", "precision", "95% interval"]]
    for row in rows:
        table.append(
            [
                row["type"],
                row["source"],
                str(row["judged"]),
                str(row["right"]),
                "{precision:.3f}".format_map(row),
                "{low:.3f} to {high:.3f}".format_map(row),
            ]
        )
    return columns(table)


def settings_text(settings: Sequence[Setting]) -> str:
    """Settings under headings, each with its type and default, and its meaning on the next line."""
    sections = []
    for group, members in groupby(settings, key=attrgetter("group")):
        sections.append(f"{group}: {GROUPS[group]}")
        for use, own in groupby(members, key=attrgetter("use")):
            sections.append(_settings_section(use, list(own)))
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
        default = "-" if setting.required else _value_text(setting.default)
        line = f"  {name}  {setting.type}  [{default}]"
        if len(line) <= _MEANING.width:
            lines.append(line)
        else:
            lines.append(f"  {name}  {setting.type}")
            lines += _MEANING.wrap(f"[{default}]")
        meaning = setting.meaning or "(no meaning written)"
        lines += _MEANING.wrap(meaning)
    return "\n".join(lines)


def _value_text(value: Any) -> str:
    """A value as it is typed on the command line."""
    if isinstance(value, str) and value:
        return value
    return json.dumps(value)
