"""Personal data in texts: e-mail addresses and telephone numbers.

Telephone numbers are found by `phonenumbers` (Google's libphonenumber) where they are valid numbers
of a region, so that years, prices and book numbers are none. Names and postal addresses are not
looked for.
"""

from __future__ import annotations

import re

from pipeline.release.tables import TYPES, FlagRow
from pipeline.rows import Record
from pipeline.schema import Annotation, Region, Text, TextRegion

EMAIL, PHONE = "email_address", "telephone_number"
"""What a text is flagged for."""
PERSONAL_DATA = "personal_data"
"""Why a text is not released."""
# The form of RFC 5321 without quotes, comments and addresses of hosts by number.
_EMAIL = re.compile(
    r"(?<![\w.+-])[\w.+-]{1,64}@(?:[^\W_](?:[\w-]{0,61}[^\W_])?\.)+[^\W\d_]{2,24}(?![\w@])"
)
LEAST_DIGITS = 7
"""Shorter strings are no telephone numbers that one can call from elsewhere."""


class PersonalData:
    """Finds personal data in the strings of annotations."""

    def __init__(self, phone_regions: tuple[str, ...]) -> None:
        self._regions = phone_regions

    def kinds(self, annotation: Annotation) -> list[str]:
        """What of `EMAIL` and `PHONE` the strings of an annotation have.

        A phrase of a text is part of the text, so triplets have none of their own.
        """
        found = []
        for text in strings_of(annotation):
            found += self._kinds_of(text)
        return sorted(set(found))

    def flags(self, record: Record) -> list[FlagRow]:
        """A row for each annotation of a record and each kind of personal data in it."""
        rows = []
        for kind, type_ in TYPES.items():
            for annotation in getattr(record.annotations, kind):
                for flag in self.kinds(annotation):
                    rows.append(
                        FlagRow(
                            key=record.key,
                            type=type_,
                            id=annotation.id,
                            flag=flag,
                        )
                    )
        return rows

    def _kinds_of(self, text: str) -> list[str]:
        found = []
        if "@" in text and _EMAIL.search(text):
            found.append(EMAIL)
        if sum(map(str.isdigit, text)) >= LEAST_DIGITS and self._has_phone(text):
            found.append(PHONE)
        return found

    def _has_phone(self, text: str) -> bool:
        from phonenumbers import PhoneNumberMatcher

        # Without a region, numbers with their country code (+49 ...) are found only.
        for region in self._regions or (None,):
            if PhoneNumberMatcher(text, region).has_next():
                return True
        return False


def strings_of(annotation: Annotation) -> list[str]:
    """The strings of an annotation that are released with it."""
    if isinstance(annotation, Text | TextRegion):
        return [annotation.text]
    if isinstance(annotation, Region):
        texts = [annotation.phrase, annotation.brief or ""]
        return texts + [candidate.text for candidate in annotation.candidates]
    return []


def check_regions(regions: tuple[str, ...]) -> None:
    """Check the names of regions.

    Raises:
        ValueError: one is unknown.
    """
    from phonenumbers import SUPPORTED_REGIONS

    for region in regions:
        if region not in SUPPORTED_REGIONS:
            raise ValueError(
                f"phone_regions={region}: no region whose telephone numbers are known; give "
                "ISO 3166 codes in capitals, such as [US,DE]"
            )
