"""How long each stage of the last run took for an image: `fld status WORK --times`."""

from __future__ import annotations

from collections.abc import Sequence

from pipeline.report.actors import GroupStatus, StageRate
from pipeline.report.terminal import columns


def times_table(groups: Sequence[GroupStatus]) -> str:
    """Milliseconds for an image of each stage, the slowest first, and their sum.

    The times are those of one actor by the clock on the wall, without the loading of models. A step
    that counts no samples, such as the one that writes a round, is not in the table.

    Args:
        groups: of the last run (`actors.group_states`).

    Raises:
        ValueError: the last run has worked on no sample.
    """
    timed: list[StageRate] = []
    for group in groups:
        timed += [stage for stage in group["stages"] if stage["samples"]]
    if not timed:
        raise ValueError("--times: the last run has worked on no image; its labels were there")
    timed.sort(key=_milliseconds, reverse=True)
    rows = [["stage", "images", "ms an image"]]
    for stage in timed:
        rows.append([stage["stage"], f"{stage['samples']:,}", f"{_milliseconds(stage):,.1f}"])
    total = sum(_milliseconds(stage) for stage in timed)
    rows.append(["all", "", f"{total:,.1f}"])
    return columns(rows)


def _milliseconds(stage: StageRate) -> float:
    return 1000 * stage["seconds"] / stage["samples"]
