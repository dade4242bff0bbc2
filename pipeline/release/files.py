"""The files of a release as they lie in a folder."""

from __future__ import annotations

from collections.abc import Iterable

from pipeline.storage import layout
from pipeline.storage.store import Store


def files_in(store: Store, folder: str) -> list[str]:
    """All files of a release by their names in it, sorted."""
    root = store.path(folder) if folder else store.root
    start = f"{root}/"
    names = []
    for path in store.fs.find(root):
        names.append(path.removeprefix(start))
    return sorted(names)


def remove_strays(
    store: Store,
    folder: str,
    names: Iterable[str],
) -> None:
    """Remove the files of a release that are not named: an unfinished build left them."""
    wanted = set(names)
    for name in files_in(store, folder):
        if name not in wanted:
            store.remove(layout.within(folder, name))
