"""What a work folder holds that its present chain does not use: `fld gc`.

In use is what `head.json` and the journal's graph name, and every folder that a run of the saved config would read or
write. Images and releases are never garbage.
"""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass

from pipeline.config import saved
from pipeline.report import plan
from pipeline.storage import layout
from pipeline.storage.store import Store


@dataclass(frozen=True, slots=True)
class Unused:
    """A folder that nothing uses."""

    folder: str
    files: int
    size: int  # bytes


def unused(store: Store) -> list[Unused]:
    """The folders that can go, with their sizes."""
    return [Unused(folder, *store.usage(folder)) for folder in _unused(store, in_use(store))]


def remove(store: Store, garbage: list[Unused]) -> None:
    for each in garbage:
        store.remove(each.folder)


def in_use(store: Store) -> set[str]:
    """The folders of the present chain."""
    used = {line["folder"] for line in plan.plan(store, saved.load(store), []) if line["folder"]}
    if store.exists(layout.GRAPH):
        used |= {node["folder"] for node in store.read_json(layout.GRAPH)}
    if store.exists(layout.HEAD):
        used |= {
            layout.named_round(attempt["round"])
            for attempt in store.read_json(layout.HEAD)["attempts"]
        }
    for folder in [folder for folder in used if store.exists(layout.round_state(folder))]:
        used |= set(store.read_json(layout.round_state(folder))["models"])
    if store.exists(layout.DEDUP_LATEST):
        used |= {layout.DEDUP_LATEST, *store.read_json(layout.DEDUP_LATEST).values()}
    return used


def _unused(store: Store, used: set[str]) -> Iterator[str]:
    for root in ("", *layout.JOURNALS_BY_FOLDER):
        for kind in layout.STAGED:
            for name in store.list(layout.within(root, kind)):
                folder = layout.within(kind, name)
                if folder not in used:
                    yield layout.within(root, folder)
    yield from (
        layout.attempts(work)
        for work in store.list(layout.ATTEMPTS)
        if layout.named_signals(work) not in used
    )
    if store.exists(layout.TEMPORARY):
        yield layout.TEMPORARY
