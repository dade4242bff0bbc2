"""What a work folder holds that its present chain does not use: `fld gc`.

In use is what `head.json` and the journal's graph name, and every folder that a run of the saved config would read or
write. Images and releases are never garbage.
"""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass

from pipeline.config import saved
from pipeline.execution.attempts import ATTEMPTS
from pipeline.execution.reuse import CHANGES
from pipeline.maintenance.dedup import LATEST
from pipeline.refinement import loop
from pipeline.refinement.round_metrics import MEASURED
from pipeline.report import plan
from pipeline.storage.store import TEMPORARY, WITHDRAWN, Store

MADE = ("signals", "rounds", "models", "dedup")
JOURNALS = (WITHDRAWN, CHANGES, MEASURED, "journal/train")  # each mirrors the folders of `MADE`


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
    if store.exists(loop.GRAPH):
        used |= {node["folder"] for node in store.read_json(loop.GRAPH)}
    if store.exists("head.json"):
        used |= {
            f"rounds/{attempt['round']}" for attempt in store.read_json("head.json")["attempts"]
        }
    for folder in [folder for folder in used if store.exists(f"{folder}/round.json")]:
        used |= set(store.read_json(f"{folder}/round.json")["models"])
    if store.exists(LATEST):
        used |= {LATEST, *store.read_json(LATEST).values()}
    return used


def _unused(store: Store, used: set[str]) -> Iterator[str]:
    for root in ("", *(f"{journal}/" for journal in JOURNALS)):
        for kind in MADE:
            yield from (
                f"{root}{kind}/{name}"
                for name in store.list(f"{root}{kind}")
                if f"{kind}/{name}" not in used
            )
    yield from (
        f"{ATTEMPTS}/{work}" for work in store.list(ATTEMPTS) if f"signals/{work}" not in used
    )
    if store.exists(TEMPORARY):
        yield TEMPORARY
