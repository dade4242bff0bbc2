"""`--categories FILE`: the categories that an export must use."""

from __future__ import annotations

from collections.abc import Mapping
from typing import cast

from pipeline.quality.coco import Category, ImageId, read
from pipeline.release.ids import class_name


def read_categories(file: str) -> list[Category]:
    """The categories in a COCO file, or in a JSON list of `{"id", "name"}`.

    Raises:
        ValueError: there are none, or an id or a name is missing or there twice.
    """
    content = read(file, "--categories")
    entries = content.get("categories") if isinstance(content, Mapping) else content
    if not isinstance(entries, list) or not entries:
        raise ValueError(
            f'--categories {file}: no categories; give a COCO file, or [{{"id": 1, "name": ..}}]'
        )
    ids = set[ImageId]()
    names = set[str]()
    for entry in entries:
        if not _is_category(entry):
            shown = str(entry)[:100]
            raise ValueError(f"--categories {file}: a category needs a number and a name: {shown}")
        category = cast(Category, entry)
        name = class_name(category)
        if name in names or category["id"] in ids:
            raise ValueError(
                f"--categories {file}: {name} or its id {category['id']} is there twice"
            )
        ids.add(category["id"])
        names.add(name)
    return entries


def _is_category(entry: object) -> bool:
    if not isinstance(entry, Mapping):
        return False
    id_, name = entry.get("id"), entry.get("name")
    return isinstance(id_, int) and not isinstance(id_, bool) and isinstance(name, str)
