"""Check that every stage of a run comes after the stages that give what it reads.

A stage that misses its input finds nothing in any image, and the run would show this only at its
end.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from itertools import combinations

from pipeline.config.order import order_of, upstream_of
from pipeline.config.run import Entry, RunConfig
from stages import registry
from stages.base import gives_of, needs_of, revises_of

# What these are made from. A filter of parsed texts has nothing to do where no stage gives texts.
MADE_FROM = {"parsed_texts": "texts", "candidate_texts": "regions"}
ADD_STAGE = "add a stage that does (stages/README.md lists them)"


def check_needs(run: RunConfig) -> None:
    """Check that the source, or a stage upstream, gives what each stage must read.

    Raises:
        ValueError: none does; the message says what to add to `after`.
    """
    for entry in run.specialists.values():
        upstream = upstream_of(entry, run.specialists)
        for need in _missing(run, entry, upstream):
            raise ValueError(f"specialists.{entry.name}: {_advice(run, entry, need)}")
    order = order_of(run)
    _check_revisions(run, order.finders)
    for entry in order.deciders:
        for need in _missing(run, entry, order.finders):
            problem = f"it reads {need}, but must run before the stages that give any"
            advice = "they are composed of what the filters before them keep; remove the `after`"
            raise ValueError(f"filters.{entry.name}: {problem}: {advice} that names it")
    for entry in order.filters:
        before = [*run.specialists.values(), *_filters_before(entry, run.filters)]
        for need in _missing(run, entry, before):
            if _is_given(run, MADE_FROM.get(need, need), before):
                problem = f"it reads {need}, and no stage before it gives any"
                raise ValueError(f"filters.{entry.name}: {problem}; {ADD_STAGE}")


def _check_revisions(run: RunConfig, finders: Sequence[Entry]) -> None:
    """Check that of two specialists which revise the same annotations one reads the other.

    A specialist that composes reads all finders anyway.

    Raises:
        ValueError: two work side by side, so that what one adds would be lost.
    """
    for first, second in combinations(finders, 2):
        kinds = set(_revises(first)).intersection(_revises(second))
        if not kinds or first in upstream_of(second, run.specialists):
            continue
        after = ",".join([*second.after, first.name])
        name = f"specialists.{second.name}"
        changed = " and ".join(sorted(kinds))
        raise ValueError(
            f"{name}: it and {first.name} both change {changed}, and what one of them adds would be"
            f" lost; set {name}.after=[{after}]"
        )


def _revises(entry: Entry) -> tuple[str, ...]:
    stage, _ = registry.load(entry.use)
    return revises_of(stage)


def _filters_before(entry: Entry, filters: Mapping[str, Entry]) -> list[Entry]:
    """The filters that run before `entry`: those it comes after, and those listed above it."""
    upstream = upstream_of(entry, filters)
    before = list(upstream)
    for other in filters.values():
        if other is entry:
            break
        if other not in upstream and entry not in upstream_of(other, filters):
            before.append(other)
    return before


def _missing(run: RunConfig, entry: Entry, before: Sequence[Entry]) -> list[str]:
    """What `entry` must read, but neither the source nor a stage of `before` gives."""
    stage, _ = registry.load(entry.use)
    return [need for need in needs_of(stage) if not _is_given(run, need, before)]


def _is_given(run: RunConfig, need: str, before: Sequence[Entry]) -> bool:
    """Whether the source or a stage of `before` gives `need`."""
    uses = [source.use for source in run.all_sources.values()]
    uses += [entry.use for entry in before]
    return any(_gives(use, need) for use in uses)


def _gives(use: str, need: str) -> bool:
    """Whether a stage or a source gives `need`; yes if it does not say what it gives."""
    stage, _ = registry.load(use)
    kinds = gives_of(stage)
    if kinds is None:
        return True
    return any(kind in kinds for kind in need.split(" or "))


def _advice(run: RunConfig, entry: Entry, need: str) -> str:
    """What a specialist misses, and which stage to add to its `after`."""
    problem = f"it reads {need}, and no stage in its `after` gives any"
    for other in run.specialists.values():
        comes_later = entry in upstream_of(other, run.specialists)
        if other is not entry and not comes_later and _gives(other.use, need):
            after = ",".join([*entry.after, other.name])
            return f"{problem}; set specialists.{entry.name}.after=[{after}]"
    return f"{problem}; {ADD_STAGE} and name it in `after`"
