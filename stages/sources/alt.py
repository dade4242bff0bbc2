"""Texts that came with an image, as annotations of granularity `alt`; the filters judge them."""

from __future__ import annotations

import json
from collections.abc import Container, Iterable, Mapping

from pipeline.schema import Text

SOURCE = "alt"
TOO_LONG, MALFORMED_JSON = "too_long", "malformed_json"
# In characters.
MAX_TEXT = 10_000


def alt_texts(texts: Iterable[str]) -> list[Text]:
    """One annotation for each distinct text that is not blank.

    A text of more than `MAX_TEXT` characters is cut and dropped.
    """
    distinct = dict.fromkeys(encodable(text.strip()) for text in texts)
    annotations = []
    for text in distinct:
        if text:
            dropped = TOO_LONG if len(text) > MAX_TEXT else None
            annotations.append(
                Text(source=SOURCE, granularity="alt", text=text[:MAX_TEXT], dropped=dropped)
            )
    return annotations


def encodable(text: str) -> str:
    """The text with its lone surrogates, which no file can hold, replaced by question marks."""
    return text.encode("utf-8", "replace").decode()


def strings(value: object) -> list[str]:
    """The strings of a value of JSON or Parquet: the value itself, or those of a list of any
    depth."""
    found = []
    todo = [value]
    while todo:
        value = todo.pop()
        if isinstance(value, str):
            found.append(value)
        elif isinstance(value, list):
            todo.extend(reversed(value))
    return found


def entry_of(value: object, path: str) -> object:
    """What an object holds at a path of names with dots between; of a list, what each object in it
    holds. None if nothing is there."""
    if not path:
        return value
    if isinstance(value, list):
        return [entry_of(member, path) for member in value if isinstance(member, Mapping)]
    if not isinstance(value, Mapping):
        return None
    # A name may itself have a dot.
    if path in value:
        return value[path]
    name, _, rest = path.partition(".")
    return entry_of(value.get(name), rest)


def split_path(path: str, names: Container[str], lower: bool = False) -> tuple[str, str] | None:
    """(name, path within it) of a path with dots, for the longest of `names` that begins it.

    None if none of them does. With `lower`, the names are in lower case, and the path's name may
    be in upper case.
    """
    parts = path.split(".")
    for count in range(len(parts), 0, -1):
        name = ".".join(parts[:count])
        if lower:
            name = name.lower()
        if name in names:
            return name, ".".join(parts[count:])
    return None


def unreadable_json() -> Text:
    """A dropped text for a JSON member that could not be read."""
    return Text(source=SOURCE, granularity="alt", text="", dropped=MALFORMED_JSON)


def parse_json(data: bytes) -> dict[str, object] | None:
    """The object in a JSON member; None if there is no object in it."""
    try:
        value = json.loads(data)
    except (ValueError, RecursionError):
        return None
    return value if isinstance(value, dict) else None
