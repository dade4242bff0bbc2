"""Checks of the table of flags against the records of a part of a release."""

from __future__ import annotations

from collections.abc import Collection, Iterable, Iterator, Sequence
from dataclasses import dataclass

from pipeline.release.content import is_box_inside
from pipeline.release.personal import PersonalData
from pipeline.release.safety import Safety
from pipeline.release.tables import BLURRED, FlagRow
from pipeline.rows import Record


@dataclass(frozen=True, slots=True)
class FlagProblem:
    """What the flags say otherwise than the records."""

    key: str
    """The sample."""
    problem: str


@dataclass(frozen=True, slots=True, order=True)
class _Finding:
    """Personal data in a text."""

    key: str
    id: str
    """The text."""
    flag: str
    """The kind of the data."""


def flag_problems(
    flags: Sequence[FlagRow],
    records: Sequence[Record],
    safety: Safety,
) -> Iterator[FlagProblem]:
    """Everything that the flags say otherwise than the records."""
    blurred = []
    said = set()
    for row in flags:
        if row.flag == BLURRED:
            blurred.append(row)
        else:
            said.add(_finding(row))
    yield from _personal_problems(said, records, safety)
    yield from _row_problems(blurred, records, safety.blur)
    yield from _mark_problems(blurred, records)


def is_blurred(record: Record) -> bool:
    """Whether a record says that pixels of its image are blurred."""
    transform = record.transform or ""
    return BLURRED in transform.split(",")


def _row_problems(
    blurred: Iterable[FlagRow],
    records: Iterable[Record],
    categories: Collection[str],
) -> Iterator[FlagProblem]:
    """What is wrong with the rows of blurred regions, each by itself."""
    by_key = {record.key: record for record in records}
    for row in blurred:
        record = by_key.get(row.key)
        problem = ""
        if record is None:
            problem = "no sample has this key"
        elif row.phrase not in categories:
            problem = f"blurred as {row.phrase}, which the release does not blur"
        elif not _is_inside(row, record):
            problem = "its box is not inside the image"
        if problem:
            yield FlagProblem(row.key, f"{row.id}: {problem}")


def _mark_problems(blurred: Iterable[FlagRow], records: Iterable[Record]) -> Iterator[FlagProblem]:
    """Where the rows and the records name other images as blurred."""
    named = {row.key for row in blurred}
    marked = set()
    unmarked = set()
    for record in records:
        if is_blurred(record):
            marked.add(record.key)
        else:
            unmarked.add(record.key)
    for key in sorted(marked - named):
        yield FlagProblem(key, "its record says that it is blurred, and no row says where")
    for key in sorted(named & unmarked):
        yield FlagProblem(key, "a row says that it is blurred, and its record does not")


def _is_inside(row: FlagRow, record: Record) -> bool:
    if row.box is None or len(row.box) != 4:
        return False
    left, top, right, bottom = row.box
    return is_box_inside((left, top, right, bottom), (record.width, record.height))


def _personal_problems(
    said: Collection[_Finding],
    records: Sequence[Record],
    safety: Safety,
) -> Iterator[FlagProblem]:
    """What differs from the personal data that the texts of the records have."""
    found = set[_Finding]()
    if safety.personal_data != "ignore":
        regions = tuple(safety.phone_regions)
        personal = PersonalData(regions)
        for record in records:
            found.update(map(_finding, personal.flags(record)))
    for finding in sorted(found.difference(said)):
        problem = f"{finding.id}: its text has a {finding.flag}, and no row says so"
        yield FlagProblem(finding.key, problem)
    for finding in sorted(set(said) - found):
        problem = f"{finding.id}: no text with a {finding.flag}"
        yield FlagProblem(finding.key, problem)


def _finding(row: FlagRow) -> _Finding:
    return _Finding(row.key, row.id, row.flag)
