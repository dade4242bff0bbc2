"""The ids and the categories of COCO files as they came, for the way back to COCO."""

from __future__ import annotations

from collections.abc import Mapping

from stages.ingest import SourceIds
from stages.sources.files import printable


def add_ids(ids: SourceIds, content: Mapping[str, object]) -> None:
    """Add what a COCO file lists. If two files differ about an image, the first one counts.

    Args:
        ids: what earlier files said; it is changed.
        content: the content of the file. Entries that make no sense are left out here, because the
            source tells of them.
    """
    for image in _entries(content.get("images")):
        name, id_ = image.get("file_name"), image.get("id")
        if isinstance(name, str) and isinstance(id_, int | str):
            ids.images.setdefault(printable(name), id_)
    categories = _entries(content.get("categories"))
    if not ids.categories:
        for category in categories:
            if isinstance(category.get("id"), int | str) and category.get("name") is not None:
                ids.categories.append(dict(category))


def _entries(entries: object) -> list[Mapping[str, object]]:
    """Those of a list that are objects of JSON."""
    if not isinstance(entries, list):
        return []
    return [entry for entry in entries if isinstance(entry, Mapping)]
