"""Checks of the table of flags against the records of a part of a release."""

from __future__ import annotations

from collections.abc import Iterator, Sequence

from pipeline.release.content import is_box_inside
from pipeline.release.personal import PersonalData
from pipeline.release.safety import Safety
from pipeline.release.tables import BLURRED, FlagRow
from pipeline.schema import Record


def flag_problems(
    flags: Sequence[FlagRow], records: Sequence[Record], safety: Safety
) -> Iterator[tuple[str, str]]:
    """(key, problem) of everything that the flags say otherwise than the records."""
    by_key = {record.key: record for record in records}
    blurred = [row for row in flags if row.flag == BLURRED]
    yield from _personal_problems(flags, records, safety)
    for row in blurred:
        record = by_key.get(row.key)
        if record is None:
            yield row.key, f"{row.id}: no sample has this key"
        elif row.phrase not in safety.blur:
            yield row.key, f"{row.id}: blurred as {row.phrase}, which the release does not blur"
        elif not _is_inside(row, record):
            yield row.key, f"{row.id}: its box is not inside the image"
    named = {row.key for row in blurred}
    marked = {record.key for record in records if is_blurred(record)}
    for key in sorted(marked - named):
        yield key, "its record says that it is blurred, and no row says where"
    for key in sorted(named & by_key.keys() - marked):
        yield key, "a row says that it is blurred, and its record does not"


def is_blurred(record: Record) -> bool:
    """Whether a record says that pixels of its image are blurred."""
    return BLURRED in (record.transform or "").split(",")


def _is_inside(row: FlagRow, record: Record) -> bool:
    if row.box is None or len(row.box) != 4:
        return False
    left, top, right, bottom = row.box
    return is_box_inside((left, top, right, bottom), (record.width, record.height))


def _personal_problems(
    flags: Sequence[FlagRow], records: Sequence[Record], safety: Safety
) -> Iterator[tuple[str, str]]:
    """What differs from the personal data that the texts of the records have."""
    said = {(row.key, row.id, row.flag) for row in flags if row.flag != BLURRED}
    found = set()
    if safety.personal_data != "ignore":
        personal = PersonalData(tuple(safety.phone_regions))
        for record in records:
            found |= {(row.key, row.id, row.flag) for row in personal.flags(record)}
    for key, id_, flag in sorted(found - said):
        yield key, f"{id_}: its text has a {flag}, and no row says so"
    for key, id_, flag in sorted(said - found):
        yield key, f"{id_}: no text with a {flag}"
