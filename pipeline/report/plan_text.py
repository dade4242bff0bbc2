"""What `fld plan` prints: the stages with their shards, and what is left to do costs."""

from __future__ import annotations

import math
from collections.abc import Sequence

from pipeline.refinement.cost import Cost, Size
from pipeline.refinement.planning import PlannedStage
from pipeline.report.terminal import columns


def plan_table(stages: Sequence[PlannedStage]) -> str:
    """The stages of a plan, with the shards that are done and to do."""
    table = [["stage", "done", "to do", "folder"]]
    for stage in stages:
        # A folder is named after what goes into it, so some are known only during the run.
        folder = stage.folder or "known then"
        cells = [
            stage.stage,
            str(stage.done),
            str(stage.todo),
            folder,
        ]
        table.append(cells)
    return columns(table)


def cost_text(cost: Cost, size: Size) -> str:
    """What is left to do, stage by stage, and the sums; "" if nothing is."""
    if not cost.stages:
        return ""
    table = [["to do", "images", "images/s of an actor", "GPU hours", "core hours", "GB"]]
    for stage in cost.stages:
        cells = [
            stage.stage,
            f"{stage.images:,}",
            _number(stage.images_per_second),
            _number(stage.gpu_hours),
            _number(stage.core_hours),
            _number(stage.disk_gb),
        ]
        table.append(cells)
    lines = [columns(table), _sums(cost, size)]
    if cost.unmeasured:
        names = ", ".join(cost.unmeasured)
        lines.append(
            f"not measured, so not in the sums: {names}; give --rate STAGE=IMAGES_PER_SECOND, or "
            "--measured WORK of a pilot (source.limit=100)"
        )
    return "\n".join(lines)


def _sums(cost: Cost, size: Size) -> str:
    """The totals in one line."""
    at = "with the most actors of each group"
    if math.isfinite(size.cpus) or math.isfinite(size.gpus):
        at = f"on {size.cpus:g} cores and {size.gpus:g} GPUs"
    return (
        f"in all: {_number(cost.gpu_hours)} GPU hours, {_number(cost.core_hours)} core hours, "
        f"{_number(cost.disk_gb)} GB more on disk; about {_number(cost.hours)} hours {at}"
    )


def _number(value: float | None) -> str:
    """A number with the digits that matter, "-" for one that is not known."""
    if value is None:
        return "-"
    return f"{value:,.0f}" if value >= 100 else f"{value:.3g}"
