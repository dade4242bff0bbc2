"""`fld gc`: which folders of a work folder its present chain of rounds does not use.

In use are the folders that `head.json` and the journal's graph name, and those that a run of the
saved config would read or write. Images and releases are never removed.
"""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass

from pipeline.config import saved
from pipeline.plan.journal import read_graph
from pipeline.refinement.planning import plan_run
from pipeline.storage import layout, layout_dedup, layout_journal
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
    found = []
    for folder in _unused(store, in_use(store)):
        files, size = store.usage(folder)
        found.append(Unused(folder, files, size))
    return found


def remove(store: Store, garbage: list[Unused]) -> None:
    """Remove these folders."""
    for item in garbage:
        store.remove(item.folder)


def in_use(store: Store) -> set[str]:
    """The folders of the present chain."""
    used = set()
    run = saved.load(store)
    for stage in plan_run(store, run, {}):
        if stage.folder:
            used.add(stage.folder)
    used |= {node.folder for node in read_graph(store)}
    head = read_head(store)
    if head is not None:
        used |= {layout.named_round(attempt.round) for attempt in head.attempts}
    for folder in list(used):
        state = read_round_state(store, folder)
        if state is not None:
            used |= set(state.models)
    if store.exists(layout_dedup.DEDUP_LATEST):
        used.add(layout_dedup.DEDUP_LATEST)
        used |= set(store.read_json(layout_dedup.DEDUP_LATEST).values())
    return used


def _unused(store: Store, used: set[str]) -> Iterator[str]:
    """The folders that are not in `used`, and their parts of the journal."""
    for root in ("", *layout_journal.JOURNALS_BY_FOLDER):
        for kind in layout.STAGED:
            for name in store.list(layout.within(root, kind)):
                folder = layout.within(kind, name)
                if folder not in used:
                    yield layout.within(root, folder)
    for work in store.list(layout_journal.ATTEMPTS):
        if layout.named_signals(work) not in used:
            yield layout_journal.attempts(work)
    if store.exists(layout_journal.TEMPORARY):
        yield layout_journal.TEMPORARY
