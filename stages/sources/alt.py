"""Texts that came with an image, as annotations of granularity `alt`; the filters judge them."""

from __future__ import annotations

import json
from collections.abc import Iterable

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
    """The strings of a value of JSON or Parquet: the value itself, or those of a list."""
    if isinstance(value, list):
        return [text for text in value if isinstance(text, str)]
    return [value] if isinstance(value, str) else []


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
