"""The ids that the sources of a work folder have given to their images and categories."""

from __future__ import annotations

from collections.abc import Iterable
from dataclasses import asdict

from pipeline.storage import layout
from pipeline.storage.layout import STEM
from pipeline.storage.sources import key_of, read_sources
from pipeline.storage.store import Store
from stages.source import SourceIds

Categories = list[dict[str, object]]
"""The categories of a source as they came, with `id` and `name`."""


def read_source_ids(store: Store, stem: str = STEM) -> SourceIds:
    """The ids of one source; empty if it has none, or has not been asked for them.

    `stem` is how its shards begin.
    """
    name = layout.source_ids(stem)
    return SourceIds(**store.read_json(name)) if store.exists(name) else SourceIds()


def read_all_ids(store: Store) -> SourceIds:
    """The ids of all sources of a work folder, with the images by their keys.

    Where sources disagree about the ids of categories, there are none.
    """
    images: dict[str, int | str] = {}
    lists = []
    for stem in read_sources(store).stems():
        own = read_source_ids(store, stem)
        shard = layout.shard_name(0, stem)
        for name, id_ in own.images.items():
            images[key_of(shard, name)] = id_
        lists.append(own.categories)
    return SourceIds(images, lists[0] if len(lists) == 1 else _agreed(lists))


def _agreed(lists: Iterable[Categories]) -> Categories:
    """The categories of several lists, each once; none if an id or a name means two of them."""
    by_name: dict[object, dict[str, object]] = {}
    ids: dict[object, object] = {}
    for categories in lists:
        for category in categories:
            id_, name = category["id"], category["name"]
            known = by_name.setdefault(name, category)
            if known["id"] != id_ or ids.setdefault(id_, name) != name:
                return []
    return list(by_name.values())


def publish_source_ids(store: Store, now: SourceIds, stem: str = STEM) -> None:
    """Keep what a source says now.

    The file of a source may be corrected. Its categories then replace the earlier ones. An image
    that it does not list any more stays in the work folder, and keeps its id as long as no other
    image has taken it.
    """
    earlier = read_source_ids(store, stem)
    images = dict(now.images)
    taken = set(now.images.values())
    for name, id_ in earlier.images.items():
        if name not in images and id_ not in taken:
            images[name] = id_
    ids = SourceIds(images, now.categories)
    if ids != earlier:
        store.publish_json(layout.source_ids(stem), asdict(ids))
