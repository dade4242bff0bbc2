"""The words KEY=VALUE of a command line: which of them are text, and what a value says.

Text is taken as it stands, because people have folders that are called `photos (2)`, `Köln`,
`run[1]`, `1e3` or `what's new`. So the type of a setting decides how its value is read, and the
type is that of a field of a config dataclass. The rule for a user is `RULE`, which `fld run --help`
and every other command with KEY=VALUE shows.
"""

from __future__ import annotations

import dataclasses
from collections.abc import Iterable, Mapping
from dataclasses import dataclass
from typing import Annotated, get_args, get_origin, get_type_hints

from stages import registry

RULE = """\
A VALUE of a setting that is text, such as a path, a folder or a model, is taken as it stands:
spaces, commas, brackets and numbers have no meaning in it. One pair of quotes around it is taken
off, `~/` at its start is the home folder, ${a.b} in it is the value of the setting a.b, and null
means "none" where the setting may be null (write 'null' for a file of that name). Any other VALUE
is a number, true, false, null, a list [a,b] or a map {a: 1, b: 2}. `fld settings` tells each type.
Quote for the shell what it reads in its own way: 'source.path=photos (2)'."""
QUOTES = ("'", '"')
# The setting that says which class reads the settings beside it.
USE = "use"


@dataclass(frozen=True, slots=True)
class Word:
    """One word KEY=VALUE."""

    key: str
    """The name of the setting, with dots."""
    value: str
    """As it was typed."""

    @classmethod
    def of(cls, word: str) -> Word:
        """Split a word at its first `=`.

        Raises:
            ValueError: it has none.
        """
        key, equals, value = word.partition("=")
        if not equals:
            raise ValueError(f"{word}: not a setting; write key=value")
        return cls(key, value)

    def __str__(self) -> str:
        return f"{self.key}={self.value}"


def in_order(words: Iterable[str]) -> list[Word]:
    """The words to apply one after the other: `use` comes first, as it decides types of others."""
    split = [Word.of(word) for word in words]
    return sorted(split, key=_is_no_use)


def _is_no_use(word: Word) -> bool:
    return word.key.rpartition(".")[2] != USE


def setting_type(config: type, key: str, values: object) -> object:
    """The type hint of the setting `key` of the dataclass `config`; None if it is not known.

    `values` are the settings so far, as nested mappings. They say which stage or source an entry
    uses, and so which class has its settings.
    """
    hint: object = config
    for name in key.split("."):
        hint = _type_below(hint, name, values)
        values = values.get(name) if isinstance(values, Mapping) else None
    return hint


def _type_below(hint: object, name: str, values: object) -> object:
    """The type of what is called `name` in a value of type `hint`; None if it is not known."""
    for part in (hint, *get_args(hint)):
        if (
            isinstance(part, type)
            and dataclasses.is_dataclass(part)
            and get_origin(hint) is not dict
        ):
            return _field_type(part, name, values)
    if get_origin(hint) in (dict, Mapping):
        return get_args(hint)[1]
    return None


def _field_type(cls: type, name: str, values: object) -> object:
    """The type of a field of `cls`, or of the options class that an entry's `use` names."""
    hints = get_type_hints(cls)
    if name in hints or "options" not in hints or not isinstance(values, Mapping):
        return hints.get(name)
    use = values.get(USE)
    if use is None:
        return None
    return get_type_hints(registry.load(str(use))[1]).get(name)


def is_text(hint: object) -> bool:
    """Whether values of this type are text: `str`, or `str | None`."""
    if get_origin(hint) is Annotated:
        return is_text(get_args(hint)[0])
    return hint is str or _is_optional_text(hint)


def _is_optional_text(hint: object) -> bool:
    return set(get_args(hint)) == {str, type(None)}


def text_value(value: str, hint: object) -> str | None:
    """What a typed value of a text setting says; see `RULE`."""
    if _is_optional_text(hint) and value.lower() == "null":
        return None
    if len(value) > 1 and value[0] == value[-1] and value[0] in QUOTES:
        return value[1:-1]
    return value
