"""`fld gc`: which folders of a work folder its present chain of rounds does not use.

In use are the folders that `head.json` and the journal's graph name, and those that a run of the
saved config would read or write. Images and releases are never removed.
"""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass

from pipeline.config import saved
from pipeline.plan.journal import read_graph
from pipeline.report import plan
from pipeline.storage import layout
from pipeline.storage.rounds import read_head, read_round_state
from pipeline.storage.store import Store


@dataclass(frozen=True, slots=True)
class Unused:
    """A folder that nothing uses."""

    folder: str
    files: int
    size: int
    """Of all its files, in bytes."""


def unused(store: Store) -> list[Unused]:
    """The folders that can be removed."""
    return [Unused(folder, *store.usage(folder)) for folder in _unused(store, in_use(store))]


def remove(store: Store, garbage: list[Unused]) -> None:
    """Remove these folders."""
    for item in garbage:
        store.remove(item.folder)


def in_use(store: Store) -> set[str]:
    """The folders of the present chain."""
    used = set()
    for line in plan.plan(store, saved.load(store), []):
        if line["folder"]:
            used.add(line["folder"])
    used |= {node.folder for node in read_graph(store)}
    head = read_head(store)
    if head is not None:
        used |= {layout.named_round(attempt.round) for attempt in head.attempts}
    for folder in list(used):
        state = read_round_state(store, folder)
        if state is not None:
            used |= set(state.models)
    if store.exists(layout.DEDUP_LATEST):
        used.add(layout.DEDUP_LATEST)
        used |= set(store.read_json(layout.DEDUP_LATEST).values())
    return used


def _unused(store: Store, used: set[str]) -> Iterator[str]:
    for root in ("", *layout.JOURNALS_BY_FOLDER):
        for kind in layout.STAGED:
            for name in store.list(layout.within(root, kind)):
                folder = layout.within(kind, name)
                if folder not in used:
                    yield layout.within(root, folder)
    for work in store.list(layout.ATTEMPTS):
        if layout.named_signals(work) not in used:
            yield layout.attempts(work)
    if store.exists(layout.TEMPORARY):
        yield layout.TEMPORARY
