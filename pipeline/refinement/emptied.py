"""Which filters have dropped every label of a kind: a threshold is then likely a mistake."""

from __future__ import annotations

from collections.abc import Iterator, Mapping

from pipeline.config.run import Entry
from pipeline.storage.json_types import Json
from stages import registry
from stages.base import decided_by, drops_of


def emptied(filters: Mapping[str, Entry], measured: Json, name: str) -> Iterator[str]:
    """A warning for each kind of which a filter has dropped all labels of a round.

    What follows a dropped label, such as a triplet of a dropped text, is not told: its cause is.

    Args:
        filters: those of the run, by name.
        measured: `metrics.json` of the round.
        name: of the round.
    """
    for kind, reasons in measured["dropped"].items():
        if measured["kept"].get(kind, 0) or not reasons:
            continue
        filter_name, reason = _first_cause(filters, kind, reasons)
        if not filter_name:
            continue
        setting = decided_by(registry.load(filters[filter_name].use)[0])[reason]
        what = kind.replace("_", " ")
        yield (
            f"{name}: no {what} are left: {reason} of filters.{filter_name} dropped "
            f"{reasons[reason]:,} of {sum(reasons.values()):,}; look at its setting {setting}"
        )


def _first_cause(
    filters: Mapping[str, Entry], kind: str, reasons: Mapping[str, int]
) -> tuple[str, str]:
    """The filter and its reason that dropped most labels of a kind; empty if none dropped any."""
    most = 0
    found = ("", "")
    for name, entry in filters.items():
        stage = registry.load(entry.use)[0]
        if kind not in drops_of(stage):
            continue
        for reason in decided_by(stage):
            if reasons.get(reason, 0) > most:
                most = reasons[reason]
                found = (name, reason)
    return found
