"""Whether a share rests on enough judgements to mean something, told in one line.

A share is taken as known if its 95% Wilson interval is at most `WIDTH` wide: to a tenth up or down.
"""

from __future__ import annotations

from collections.abc import Iterable, Sequence
from dataclasses import dataclass

from pipeline.quality.audit import AuditRow, wilson
from pipeline.quality.calibration import ThresholdRow

WIDTH = 0.2
"""Of an interval that is still taken as known."""
SHOWN = 8
"""How many names stand in a line."""


@dataclass(frozen=True, slots=True)
class Rest:
    """What a share rests on."""

    name: str
    """Of what it is the share."""
    judged: int
    """How many judgements it is of."""
    low: float
    """The lower end of its 95% interval."""
    high: float
    """The upper end of its 95% interval."""


def least_judgements(share: float) -> int:
    """From how many judgements on this share is known, as `WIDTH` says."""
    judged = 1
    while True:
        low, high = wilson(share * judged, judged)
        if high - low <= WIDTH:
            return judged
        judged += 1


def few_for_thresholds(rows: Sequence[ThresholdRow], precision: float) -> str | None:
    """A line about the thresholds that rest on too few labels, None if none does."""
    rests = []
    for row in rows:
        name = f"{row['source']}/{row['class']}" if row["class"] else row["source"]
        rests.append(Rest(f"{row['type']} {name}", row["judged"], row["low"], row["high"]))
    few = _few(rests)
    if not few:
        return None
    return (
        f"{len(few)} of {len(rows)} thresholds rest on so few labels that their precision is not"
        f" known to a tenth ({least_judgements(precision)} labels above a threshold are needed for"
        f" a precision of {precision:g}): {_listed(few)}; label more images"
    )


def few_verdicts(rows: Sequence[AuditRow]) -> str | None:
    """A line about the precisions of an audit that rest on too few verdicts, None if none does."""
    rests = []
    needed = 0
    for row in rows:
        name = f"{row['type']} {row['source']}"
        rests.append(Rest(name, row["judged"], row["low"], row["high"]))
        needed = max(needed, least_judgements(row["precision"]))
    few = _few(rests)
    if not few:
        return None
    return (
        f"{len(few)} of {len(rows)} precisions rest on so few verdicts that they are not known to a"
        f" tenth ({needed} are enough for each of them): {_listed(few)}; judge more with"
        " `fld audit sample --n`"
    )


def few_for_a_class(labels: dict[str, int], least: int) -> str | None:
    """A line about classes with too few labels for a threshold of their own, None if none has.

    Args:
        labels: how many labels each of these classes has, by specialist/class.
        least: how many it needs.
    """
    if not labels:
        return None
    names = [f"{name} ({count})" for name, count in labels.items()]
    return (
        f"classes with fewer than {least} labels ({len(labels)}) take the threshold of their"
        f" specialist, as those without any label do: {_shortened(names)}"
    )


def _few(rests: Iterable[Rest]) -> list[Rest]:
    return [rest for rest in rests if rest.high - rest.low > WIDTH]


def _listed(rests: Sequence[Rest]) -> str:
    names = []
    for rest in rests:
        names.append(f"{rest.name} ({rest.judged}: {rest.low:.2f} to {rest.high:.2f})")
    return _shortened(names)


def _shortened(names: Sequence[str]) -> str:
    """The first names, and how many more there are."""
    text = ", ".join(names[:SHOWN])
    return text if len(names) <= SHOWN else f"{text} and {len(names) - SHOWN} more"
