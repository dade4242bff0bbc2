"""The ids that the source of a work folder has given to its images and categories."""

from __future__ import annotations

from dataclasses import asdict

from pipeline.storage import layout
from pipeline.storage.store import Store
from stages.ingest import SourceIds


def read_source_ids(store: Store) -> SourceIds:
    """The ids of a work folder's source; empty if it has none, or has not been asked for them."""
    if not store.exists(layout.SOURCE_IDS):
        return SourceIds()
    return SourceIds(**store.read_json(layout.SOURCE_IDS))


def publish_source_ids(store: Store, now: SourceIds) -> None:
    """Keep what the source says now.

    The file of a source may be corrected. Its categories then replace the earlier ones. An image
    that it does not list any more stays in the work folder, and keeps its id as long as no other
    image has taken it.
    """
    earlier = read_source_ids(store)
    images = dict(now.images)
    taken = set(now.images.values())
    for name, id_ in earlier.images.items():
        if name not in images and id_ not in taken:
            images[name] = id_
    ids = SourceIds(images, now.categories)
    if ids != earlier:
        store.publish_json(layout.SOURCE_IDS, asdict(ids))
