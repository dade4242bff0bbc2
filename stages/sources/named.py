"""Settings that name a field of a tar or a column of a table: is there one of that name?

A field that a source does not have would cost all texts, or all samples, without a word. So a name
that nothing has is refused before anything runs, with the nearest names that there are.
"""

from __future__ import annotations

import difflib
from collections.abc import Iterable, Sequence
from dataclasses import Field, dataclass, fields
from typing import TYPE_CHECKING

from stages.base import default_of

if TYPE_CHECKING:
    from _typeshed import DataclassInstance

# So many names are listed if none of them is near.
MAX_NAMES = 10


@dataclass(frozen=True, slots=True)
class NamedField:
    """One field or column that a setting names."""

    setting: str
    """The name of the setting in the source's config."""
    name: str
    """The field or column, as it was given."""
    typed: bool
    """Whether the setting has another value than its default, so that somebody asked for it."""

    @property
    def shown(self) -> str:
        """The setting as it stands on the command line, with this name alone."""
        return f"source.{self.setting}={self.name}"


def named_fields(config: DataclassInstance, settings: Iterable[str]) -> list[NamedField]:
    """What some settings of a source's config name; each is a name, several names, or None."""
    found = []
    by_name: dict[str, Field[object]] = {field.name: field for field in fields(config)}
    for setting in settings:
        value = getattr(config, setting)
        typed = value != default_of(by_name[setting])
        names = (value,) if isinstance(value, str) else value or ()
        found += [NamedField(setting, name, typed) for name in names]
    return found


def near_names(name: str, known: Sequence[str]) -> list[str]:
    """The names among `known` that are most like `name`, in upper or lower case."""
    by_lower = {other.lower(): other for other in known}
    near = difflib.get_close_matches(name.lower(), by_lower, n=1)
    return [by_lower[other] for other in near]


def hint(name: str, known: Sequence[str]) -> str:
    """What to give instead of a name that nothing has."""
    near = near_names(name, known)
    if near:
        return f"did you mean {near[0]}?"
    if not known:
        return "there is none that could serve"
    more = ", ..." if len(known) > MAX_NAMES else ""
    return f"there are {', '.join(known[:MAX_NAMES])}{more}"
