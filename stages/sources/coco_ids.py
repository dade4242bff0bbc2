"""The ids and the categories of COCO files as they came, for the way back to COCO."""

from __future__ import annotations

from collections.abc import Mapping

from stages.source import SourceIds
from stages.sources.coco_file import id_of
from stages.sources.files import printable


def add_ids(ids: SourceIds, content: Mapping[str, object]) -> None:
    """Add what a COCO file lists. If two files differ about an image, the first one counts.

    Args:
        ids: what earlier files said; it is changed.
        content: the content of the file. Entries that make no sense are left out here, because the
            source tells of them.
    """
    for image in _entries(content.get("images")):
        name = image.get("file_name")
        id_ = _plain_id(image.get("id"))
        if isinstance(name, str) and id_ is not None:
            ids.images.setdefault(printable(name), id_)
    categories = _entries(content.get("categories"))
    if not ids.categories:
        for category in categories:
            id_ = _plain_id(category.get("id"))
            if id_ is not None and category.get("name") is not None:
                ids.categories.append({**category, "id": id_})


def _plain_id(value: object) -> int | str | None:
    """An id as it came, 1.0 as 1; None if it is of no use as one."""
    if isinstance(value, float) and id_of(value) is not None:
        return int(value)
    return value if isinstance(value, int | str) and id_of(value) is not None else None


def _entries(entries: object) -> list[Mapping[str, object]]:
    """Those of a list that are objects of JSON."""
    if not isinstance(entries, list):
        return []
    return [entry for entry in entries if isinstance(entry, Mapping)]
