"""Which name of one list stands for which name of another: files of images, and classes.

A file is looked for by its whole name first, then with forward slashes in place of backslashes and
without a leading `./`. Its name without folders counts only where one file alone has it on each
side. Classes are compared as they are written, and without regard to capital letters where that
leaves one class alone.
"""

from __future__ import annotations

from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass, field
from typing import Generic, TypeVar

Id = TypeVar("Id")


@dataclass(slots=True)
class Matches:
    """What was found for some names."""

    found: dict[str, str] = field(default_factory=dict)
    """The name that each of them stands for; a name without any is absent."""

    ambiguous: dict[str, tuple[str, str]] = field(default_factory=dict)
    """Names that could stand for several others or share another one: two of these names."""

    by_base: dict[str, str] = field(default_factory=dict)
    """Those of `found` whose folders differ."""

    there: Sequence[str] = ()
    """The names among which they were looked for."""


def plain(name: str) -> str:
    """A name of a file with forward slashes and without a leading `./`."""
    name = name.replace("\\", "/")
    while name.startswith("./"):
        name = name[2:].lstrip("/")
    return name


def base_name(name: str) -> str:
    """A file's name without its folders."""
    return plain(name).rsplit("/", 1)[-1]


def matched(wanted: Iterable[str], names: Iterable[str]) -> Matches:
    """Which of `names` each of the `wanted` stands for."""
    wanted = list(dict.fromkeys(wanted))
    names = list(dict.fromkeys(names))
    whole = set(names)
    by_plain: dict[str, str] = {}
    for name in names:
        by_plain.setdefault(plain(name), name)
    result = Matches(there=names)
    for name in wanted:
        if name in whole:
            result.found[name] = name
        elif plain(name) in by_plain:
            result.found[name] = by_plain[plain(name)]
    left = [name for name in wanted if name not in result.found]
    if left:
        _match_bases(left, names, result)
    return result


def _match_bases(left: list[str], names: list[str], result: Matches) -> None:
    """Add the matches of names without their folders to `result`."""
    ours = _by_base(left)
    theirs = _by_base(names)
    # Where one file was found by its whole name, folders matter for the others of that name.
    settled = {base_name(name) for name in result.found}
    for base, group in ours.items():
        others = theirs.get(base, [])
        if not others or base in settled:
            continue
        if len(group) == len(others) == 1:
            result.found[group[0]] = others[0]
            result.by_base[group[0]] = others[0]
            continue
        several = group if len(group) > 1 else others
        for name in group:
            result.ambiguous[name] = (several[0], several[1])


def _by_base(names: Iterable[str]) -> dict[str, list[str]]:
    """Names by what they are without their folders."""
    groups: dict[str, list[str]] = {}
    for name in names:
        groups.setdefault(base_name(name), []).append(name)
    return groups


class Classes(Generic[Id]):
    """Finds the id of a class by its name."""

    def __init__(self, ids: Mapping[str, Id]) -> None:
        self._ids = {name.strip(): id_ for name, id_ in ids.items()}
        self._folded: dict[str, list[str]] = {}
        for name in self._ids:
            self._folded.setdefault(name.casefold(), []).append(name)

    def find(self, name: str) -> Id | None:
        """The id of a class; None if there is none of that name, or several fit as well."""
        name = name.strip()
        if name in self._ids:
            return self._ids[name]
        alike = self._folded.get(name.casefold(), [])
        return self._ids[alike[0]] if len(alike) == 1 else None
