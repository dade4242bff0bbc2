"""What the texts of a file say, and why the text filter drops them: `fld parse`."""

from __future__ import annotations

import sys
from collections import Counter
from collections.abc import Callable, Sequence
from pathlib import Path
from typing import cast, get_args

from pipeline.schema import Annotations, Granularity, Parse, Text
from pipeline.storage.arrow import to_dict
from pipeline.storage.json_types import Json
from stages import registry
from stages.base import Sample
from stages.lines import lines_of

TextFilter = Callable[[Sequence[Sample]], Sequence[Annotations]]
"""A stage of filters."""


def read_texts(file: str, column: str) -> list[str]:
    """The texts of a file.

    Args:
        file: a text file with one text on each line, a Parquet file, or `-` for standard input.
        column: of a Parquet file, the column with the texts.

    Raises:
        ValueError: there is no such file or column.
    """
    if file == "-":
        return _lines(file, sys.stdin.buffer.read())
    if not Path(file).is_file():
        raise ValueError(
            f"{file}: no such file; give a file with one text a line, a Parquet file, or -"
        )
    if not file.endswith(".parquet"):
        return _lines(file, Path(file).read_bytes())
    from pipeline.storage.parquet import parse_parquet

    table = parse_parquet(Path(file).read_bytes())
    if column not in table.column_names:
        raise ValueError(f"--column {column}: {file} has {', '.join(table.column_names)}")
    return [str(text or "") for text in table[column].to_pylist()]


def _lines(file: str, data: bytes) -> list[str]:
    """The lines of a text file.

    Raises:
        ValueError: it is not UTF-8.
    """
    try:
        return lines_of(data)
    except UnicodeDecodeError as error:
        number = data.count(b"\n", 0, error.start) + 1
        raise ValueError(f"{file}: line {number} is not UTF-8; convert the file") from None


def parse_texts(
    texts: Sequence[str], granularity: str | None = None, text_filter: TextFilter | None = None
) -> list[Json]:
    """Objects, attributes, actions, noun phrases and complexities of each text, as plain values.

    Args:
        texts: the texts.
        granularity: of all texts, for the filter.
        text_filter: a text filter; without one, no text has a `dropped`.

    Returns:
        For each text, `text`, `dropped` (the reason why the filter drops it, or None), and the
        fields of its parse.

    Raises:
        ValueError: there is no such granularity.
    """
    choices = [choice for choice in get_args(Granularity) if choice != "label"]
    if text_filter and granularity not in choices:
        raise ValueError(
            f"--filter {granularity}: no such granularity; choose from {', '.join(choices)}"
        )
    parses = registry.resolve(registry.PARSE)(texts)
    rows: list[Json] = [{"text": text} for text in texts]
    if text_filter:
        reasons = _drop_reasons(texts, parses, cast(Granularity, granularity), text_filter)
        for row, reason in zip(rows, reasons, strict=True):
            row["dropped"] = reason
    for row, parse in zip(rows, parses, strict=True):
        row.update(to_dict(parse))
    return rows


def count_line(rows: Sequence[Json]) -> str:
    """How many texts the filter kept, and how many it dropped for each reason.

    Args:
        rows: what `parse_texts` returns with a filter.
    """
    counts = Counter(row["dropped"] for row in rows)
    kept = counts.pop(None, 0)
    parts = [f"kept {kept}"]
    for reason, count in counts.most_common():
        parts.append(f"{reason} {count}")
    summary = ", ".join(parts)
    return f"{len(rows)} texts: {summary}"


def _drop_reasons(
    texts: Sequence[str],
    parses: Sequence[Parse],
    granularity: Granularity,
    text_filter: TextFilter,
) -> list[str | None]:
    """Why the text filter drops each text, None for those that it keeps."""
    annotations = Annotations()
    for i, (text, parse) in enumerate(zip(texts, parses, strict=True)):
        # A filter need not return what it leaves as it is, so each text has an id to find it by.
        entry = Text(
            id=str(i),
            granularity=granularity,
            text=text,
            parse=parse,
        )
        annotations.texts.append(entry)
    sample = Sample("texts", (0, 0), annotations=annotations)
    (result,) = text_filter([sample])
    reasons = {text.id: text.dropped for text in result.texts}
    return [reasons.get(text.id) for text in annotations.texts]
