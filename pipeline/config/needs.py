"""Check that every stage of a run comes after the stages that give what it reads.

A stage that misses its input finds nothing in any image. A run would notice this only at its end.
"""

from __future__ import annotations

from collections.abc import Iterable, Mapping, Sequence
from typing import Any

from pipeline.config.run import Entry, RunConfig
from stages import registry
from stages.base import gives_of, needs_of

# What these are made from. A filter of parsed texts has nothing to do where no stage gives texts.
MADE_FROM = {"parses": "texts", "candidates": "regions"}


def check_needs(run: RunConfig) -> None:
    """Check that some stage upstream, or the source, gives what each stage must read.

    Raises:
        ValueError: none does; the message says what to add to `after`.
    """
    source = registry.load(run.source.use)[0]
    for name, entry in run.specialists.items():
        upstream = upstream_of(entry, run.specialists)
        sources = [source, *(_class_of(other) for other in upstream)]
        for need in needs_of(_class_of(entry)):
            if not _is_met(need, sources):
                raise ValueError(f"specialists.{name}: {_advice(entry, need, run.specialists)}")
    for name, entry in run.filters.items():
        before = [*run.specialists.values(), *_filters_before(entry, run.filters)]
        sources = [source, *(_class_of(other) for other in before)]
        for need in needs_of(_class_of(entry)):
            if _is_met(MADE_FROM.get(need, need), sources) and not _is_met(need, sources):
                raise ValueError(
                    f"filters.{name}: it reads {need}, and no stage before it {_GIVES}"
                )


_GIVES = "gives any; add a stage that does, see `fld settings` and stages/README.md"


def upstream_of(entry: Entry, entries: Mapping[str, Entry]) -> list[Entry]:
    """The stages that `entry` comes after, directly or not. In a circle, it is one of them."""
    names: set[str] = set()
    todo = list(entry.after)
    while todo:
        name = todo.pop()
        if name not in names:
            names.add(name)
            todo += entries[name].after
    return [other for other in entries.values() if other.name in names]


def _filters_before(entry: Entry, filters: Mapping[str, Entry]) -> list[Entry]:
    """The filters that run before `entry`: it comes after them, or they stand above it."""
    upstream = upstream_of(entry, filters)
    before = list(upstream)
    for other in filters.values():
        if other is entry:
            break
        if other not in upstream and entry not in upstream_of(other, filters):
            before.append(other)
    return before


def _class_of(entry: Entry) -> Any:
    return registry.load(entry.use)[0]


def _is_met(need: str, classes: Iterable[Any]) -> bool:
    """Whether one of some stages and sources gives what is needed, or does not say what it gives."""
    kinds = set(need.split(" or "))
    for cls in classes:
        gives = gives_of(cls)
        if gives is None or kinds.intersection(gives):
            return True
    return False


def _advice(entry: Entry, need: str, entries: Mapping[str, Entry]) -> str:
    """What a specialist misses, and which stage to add to its `after`."""
    problem = f"it reads {need}, and no stage in its `after` gives any"
    for other in _givers(entry, need, entries):
        after = ",".join([*entry.after, other.name])
        return f"{problem}; set specialists.{entry.name}.after=[{after}]"
    return f"{problem}; add a stage that does (stages/README.md lists them) and name it in `after`"


def _givers(entry: Entry, need: str, entries: Mapping[str, Entry]) -> Sequence[Entry]:
    """The specialists that give what `entry` needs and do not themselves come after it."""
    givers = []
    for other in entries.values():
        comes_later = entry in upstream_of(other, entries)
        if other is not entry and not comes_later and _is_met(need, [_class_of(other)]):
            givers.append(other)
    return givers
