"""Texts that came with an image: annotations of granularity `alt`, which the filters may keep or drop."""

from __future__ import annotations

import json
from collections.abc import Iterable
from typing import Any

from pipeline.schema import Text

SOURCE = "alt"
TOO_LONG, MALFORMED_JSON = "too_long", "malformed_json"
MAX_TEXT = 10_000  # characters


def alt_texts(texts: Iterable[str]) -> list[Text]:
    """One annotation for each distinct text that is not blank; one that is too long to be a text is cut and dropped."""
    distinct = dict.fromkeys(encodable(text.strip()) for text in texts)
    return [
        Text(
            source=SOURCE,
            granularity="alt",
            text=text[:MAX_TEXT],
            dropped=TOO_LONG if len(text) > MAX_TEXT else None,
        )
        for text in distinct
        if text
    ]


def encodable(text: str) -> str:
    """Without lone surrogates, which no file can hold."""
    return text.encode("utf-8", "replace").decode()


def strings(value: Any) -> list[str]:
    """The texts in a value of JSON or Parquet: itself, or those of a list."""
    values = value if isinstance(value, list) else [value]
    return [text for text in values if isinstance(text, str)]


def unreadable_json() -> Text:
    return Text(source=SOURCE, granularity="alt", text="", dropped=MALFORMED_JSON)


def parse_json(data: bytes) -> dict[str, Any] | None:
    """The object in a JSON member, None when it is none."""
    try:
        value = json.loads(data)
    except (ValueError, RecursionError):
        return None
    return value if isinstance(value, dict) else None
