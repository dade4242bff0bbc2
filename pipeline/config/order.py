"""In which order the stages of a round run.

A stage that composes its annotations of other ones, such as a caption from detections, must see
what the filters keep of these. Otherwise it names what is dropped later. So the filters that decide
on its material run before it, and the specialists that find this material run before the filters.
"""

from __future__ import annotations

from collections.abc import Collection, Iterable, Mapping
from dataclasses import dataclass

from pipeline.config.run import Entry, RunConfig
from stages import registry
from stages.base import composes_of, drops_of


@dataclass(frozen=True, slots=True)
class Order:
    """The specialists and filters of a run in four parts, which run one after the other."""

    finders: list[Entry]
    """Specialists that do not depend on a filter."""
    deciders: list[Entry]
    """Filters that decide on what the composers are made of. They read all finders."""
    composers: list[Entry]
    """Specialists that compose from what the deciders keep, and those that come after one. They
    read all finders and deciders."""
    filters: list[Entry]
    """The other filters. They read everything."""


def order_of(run: RunConfig) -> Order:
    """The stages of a run by their part, each part in the order of its `after`.

    Raises:
        ValueError: stages wait for each other.
    """
    specialists = in_order(run.specialists.values())
    filters = in_order(run.filters.values())
    material = _material(specialists)
    deciding = _with_upstream(
        [entry for entry in filters if material.intersection(_drops(entry))], run.filters
    )
    composing: set[str] = set()
    for entry in specialists:
        sources = {entry.name, *(other.name for other in upstream_of(entry, run.specialists))}
        if any(_composes(run.specialists[name]) for name in sources):
            composing.add(entry.name)
    return Order(
        finders=[entry for entry in specialists if entry.name not in composing],
        deciders=[entry for entry in filters if entry.name in deciding],
        composers=[entry for entry in specialists if entry.name in composing],
        filters=[entry for entry in filters if entry.name not in deciding],
    )


def in_order(entries: Iterable[Entry]) -> list[Entry]:
    """Topological by `after`; ties keep the order of the config.

    Raises:
        ValueError: the stages wait for each other.
    """
    waiting = list(entries)
    names = {entry.name for entry in waiting}
    result: list[Entry] = []
    done: set[str] = set()
    while waiting:
        for entry in waiting:
            # A name outside of `entries` is not waited for.
            if names.intersection(entry.after) <= done:
                break
        else:
            stuck = ", ".join(entry.name for entry in waiting)
            raise ValueError(f"after: {stuck} wait for each other; remove one `after`")
        result.append(entry)
        done.add(entry.name)
        waiting.remove(entry)
    return result


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


def completing(run: RunConfig) -> set[str]:
    """The names of the specialists that run in later rounds.

    They are those of `refine.complete`. A stage that composes texts is one of them, too, if a stage
    of `refine.complete` works on its texts: it writes anew what named a dropped region.
    """
    names = set(run.refine.complete)
    for name in run.refine.complete:
        if name not in run.specialists:
            continue
        for other in upstream_of(run.specialists[name], run.specialists):
            stage, _ = registry.load(other.use)
            if _composes(other) and "texts" in getattr(stage, "gives", ()):
                names.add(other.name)
    return names


def _material(specialists: Iterable[Entry]) -> set[str]:
    """The kinds of annotations of which a specialist composes its own."""
    kinds: set[str] = set()
    for entry in specialists:
        kinds.update(_composes(entry))
    return kinds


def _composes(entry: Entry) -> tuple[str, ...]:
    return composes_of(entry.options)


def _drops(entry: Entry) -> tuple[str, ...]:
    stage, _ = registry.load(entry.use)
    return drops_of(stage)


def _with_upstream(entries: Collection[Entry], all_entries: Mapping[str, Entry]) -> set[str]:
    """The names of stages and of all that they come after."""
    names = {entry.name for entry in entries}
    for entry in entries:
        names.update(other.name for other in upstream_of(entry, all_entries))
    return names
