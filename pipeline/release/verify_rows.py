"""Checks of the rows of a release's tables by themselves."""

from __future__ import annotations

from collections.abc import Iterator, Mapping, Sequence
from typing import Any

import pyarrow as pa

from pipeline.release.content import is_box_inside, is_mask_good
from pipeline.release.findings import Findings
from pipeline.release.tables import AnnotationRow
from pipeline.schema import Mask
from pipeline.storage.arrow import T, arrow_schema, from_table
from pipeline.storage.parquet import parse_parquet
from pipeline.storage.store import Store

Size = tuple[int, int]
"""(width, height) in pixels."""


def read_rows(
    store: Store,
    name: str,
    cls: type[T],
    findings: Findings,
) -> list[T] | None:
    """The rows of a table of a release; if it is broken, None and a finding."""
    try:
        table = parse_parquet(store.read(name))
    except (OSError, pa.ArrowException) as error:
        problem = "is missing" if isinstance(error, FileNotFoundError) else f"unreadable: {error}"
        findings.add(name, problem)
        return None
    schema = arrow_schema(cls)
    if not table.schema.equals(schema):
        findings.add(name, f"has other columns than {', '.join(schema.names)}")
        return None
    try:
        return from_table(cls, table)
    except ValueError as error:
        findings.add(name, f"a row is broken: {error}")
        return None


def row_problems(
    row: AnnotationRow,
    size: Size | None,
    texts: Mapping[tuple[str, str], str],
) -> Iterator[str]:
    """What is wrong with a row of the table of annotations by itself.

    `texts` has the texts so far by (key, id); in the table, a text stands before its triplets.
    """
    if size is None:
        return
    width, height = size
    if row.box is not None and not _is_box_good(row.box, size):
        shown = _rounded(row.box)
        yield f"its box {shown} is not inside the image of {width} x {height}"
    if row.mask is not None:
        mask = Mask(size=(height, width), counts=row.mask)
        if not is_mask_good(mask, size):
            yield f"its mask does not decode to {width} x {height} pixels"
    if row.text_id is not None and row.phrase is not None:
        text = texts.get((row.key, row.text_id))
        if text is None:
            yield f"its text {row.text_id} is not there"
        elif text[row.start : row.end] != row.phrase:
            yield f"characters {row.start} to {row.end} of its text are not {row.phrase!r}"


def _is_box_good(numbers: Sequence[float], size: Size) -> bool:
    box: Any = tuple(numbers)
    return len(box) == 4 and is_box_inside(box, size)


def in_words(
    problem: str,
    annotation: Any,
    size: Size,
) -> str:
    """A problem of `problem_of` with the numbers."""
    width, height = size
    points = getattr(annotation, "box", None) or getattr(annotation, "quad", None)
    if problem == "outside_image" and points is not None:
        name = "quad" if hasattr(annotation, "quad") else "box"
        return f"its {name} {_rounded(points)} is not inside the image of {width} x {height}"
    return problem.replace("_", " ")


def _rounded(points: Sequence[float]) -> str:
    numbers = [f"{value:g}" for value in points]
    text = ", ".join(numbers)
    return f"({text})"
