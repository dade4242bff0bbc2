"""Check plain values against frozen dataclasses, with pydantic.

Every mistake raises a `ValueError` of one line that names the setting and says what to change.
"""

from __future__ import annotations

import dataclasses
import difflib
from collections.abc import Collection, Mapping
from functools import cache
from typing import (
    TYPE_CHECKING,
    Any,
    ClassVar,
    Protocol,
    TypeVar,
    cast,
    get_args,
    get_origin,
    get_type_hints,
    runtime_checkable,
)

from pipeline.storage.json_types import Json

if TYPE_CHECKING:
    from pydantic import TypeAdapter
    from pydantic_core import ErrorDetails


T = TypeVar("T")
# What to say for the mistakes of pydantic whose own message speaks of parsers.
PLAIN = {
    "float_parsing": "it must be a number",
    "int_parsing": "it must be a whole number",
    "int_from_float": "it must be a whole number",
    "bool_parsing": "it must be true or false",
}


@runtime_checkable
class Settings(Protocol):
    """Any dataclass, such as the config of a stage: each stage has a config class of its own."""

    __dataclass_fields__: ClassVar[dict[str, dataclasses.Field[object]]]


class MissingSettings(ValueError):
    """Settings that must have a value have none. It names all of them."""

    def __init__(self, examples: Mapping[str, str]) -> None:
        """`examples` are values for the message, by setting; `...` where none is known."""
        names = list(examples)
        typed = " ".join(f"{name}={example}" for name, example in examples.items())
        if len(names) == 1:
            super().__init__(f"{names[0]}: not set; give it a value ({typed})")
        else:
            listed = f"{', '.join(names[:-1])} and {names[-1]}"
            super().__init__(f"{listed}: not set; give them values ({typed})")
        self.examples = dict(examples)


class Unset:
    """The settings that have no value so far.

    They are told last, and together, because a user who has to look for a value shall do so once,
    and not before another setting turns out to be misspelt.
    """

    def __init__(self) -> None:
        self.names: list[str] = []

    def check(self) -> None:
        """Check that every setting has a value.

        Raises:
            MissingSettings: some have none.
        """
        if self.names:
            raise MissingSettings(dict.fromkeys(self.names, "..."))


def build(
    cls: type[T],
    values: Json,
    where: str,
    more: Collection[str] = (),
    unset: Unset | None = None,
) -> T:
    """Build an instance of the dataclass `cls` from plain values.

    Args:
        cls: the dataclass.
        values: of its fields.
        where: the path of these values in the whole config, such as `refine.gate.`; it begins each
            key of an error message.
        more: keys of the same mapping that another class reads; they are suggested when a key is
            misspelt.
        unset: takes the settings that have no value, if the caller checks them later. Until then
            they have an empty one.

    Raises:
        MissingSettings: settings have no value, and everything else is right.
        ValueError: a key is unknown, or a value has the wrong type or range.
    """
    from pydantic import ValidationError

    check_keys(values, cls, where, more)
    _check_nested_keys(values, cls, where)
    try:
        # mypy does not know that every class has a hash.
        built: T = _adapter(cast("type", cls)).validate_python(dict(values))
    except ValidationError as error:
        mistakes = [mistake for mistake in error.errors() if mistake["type"] != "missing"]
        if mistakes:
            raise ValueError(_in_one_line(mistakes[0], where)) from None
        missing = [mistake["loc"] for mistake in error.errors()]
    else:
        return built
    names = [_key(where, place) for place in missing]
    if unset is None or any(len(place) > 1 for place in missing):
        raise MissingSettings(dict.fromkeys(names, "..."))
    hints = get_type_hints(cls)
    empty = {str(name): _empty(hints[str(name)]) for (name,) in missing}
    unset.names += names
    return build(cls, {**values, **empty}, where, more)


@cache
def _adapter(cls: type) -> TypeAdapter[Any]:
    """What checks the values of a dataclass; to make it takes longer than to use it."""
    from pydantic import TypeAdapter

    return TypeAdapter(cls)


def _empty(hint: Any) -> object:
    """An empty value of a type."""
    base = get_origin(hint) or hint
    assert base in (str, int, float, bool, tuple, list, dict), f"{hint}: no empty value"
    empty: object = base()
    return empty


def _key(where: str, place: tuple[int | str, ...]) -> str:
    """The name of a setting from its place below `where`."""
    return where + ".".join(str(part) for part in place)


def _in_one_line(mistake: ErrorDetails, where: str) -> str:
    """Describe a mistake that pydantic found in one line."""
    message = mistake["msg"].removeprefix("Value error, ")
    if not mistake["loc"]:
        # The mistake was raised by `__post_init__`, whose message names the setting itself.
        return where + message
    key = _key(where, mistake["loc"])
    if mistake["type"] == "string_type" and isinstance(mistake["input"], (int, float)):
        message += "; put it in quotes"
    message = PLAIN.get(mistake["type"], message.lower().replace("input should be", "it must be"))
    return f"{key}={mistake['input']}: {message}"


def check_mapping(value: object, key: str) -> None:
    """Check that setting `key` is a mapping.

    Raises:
        ValueError: it is a single value or a list.
    """
    if not isinstance(value, Mapping):
        raise ValueError(f"{key}={value}: give a mapping of settings")


def check_keys(values: object, cls: type, where: str, more: Collection[str] = ()) -> None:
    """Check that each key of a mapping is a field of the dataclass `cls` or one of `more`.

    Raises:
        ValueError: a key is unknown; the message suggests the nearest known one.
    """
    if not isinstance(values, Mapping):
        return
    fields = [field.name for field in dataclasses.fields(cls)]
    allowed = fields + sorted(more)
    for key in values:
        if key in allowed:
            continue
        near = difflib.get_close_matches(str(key), allowed, n=1)
        hint = f"did you mean {near[0]}?" if near else f"known: {', '.join(allowed)}"
        raise ValueError(f"{where}{key}: no such setting; {hint}")


def _check_nested_keys(values: Mapping[str, object], cls: type, where: str) -> None:
    """Check the keys of dataclasses that are fields of `cls`, or values of a dict field of it."""
    hints = get_type_hints(cls)
    for key, value in values.items():
        nested = _nested_dataclass(hints[key])
        if nested is None or not isinstance(value, Mapping):
            continue
        path = f"{where}{key}."
        if get_origin(hints[key]) in (dict, Mapping):
            for name, item in value.items():
                check_keys(item, nested, f"{path}{name}.")
        else:
            check_keys(value, nested, path)
            _check_nested_keys(value, nested, path)


def _nested_dataclass(hint: object) -> type | None:
    """Find the dataclass in a type hint: itself or an argument, as in `dict[str, Config]`."""
    for candidate in (hint, *get_args(hint)):
        if isinstance(candidate, type) and dataclasses.is_dataclass(candidate):
            return candidate
    return None
