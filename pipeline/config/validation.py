"""Check plain values against frozen dataclasses, with pydantic.

Every mistake raises a `ValueError` of one line that names the setting and says what to change.
"""

from __future__ import annotations

import dataclasses
import difflib
from collections.abc import Collection, Mapping
from typing import (
    TYPE_CHECKING,
    ClassVar,
    Protocol,
    TypeVar,
    get_args,
    get_origin,
    get_type_hints,
    runtime_checkable,
)

from pipeline.storage.json_types import Json

if TYPE_CHECKING:
    from pydantic import ValidationError


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


def build(cls: type[T], values: Json, where: str, more: Collection[str] = ()) -> T:
    """Build an instance of the dataclass `cls` from plain values.

    `where` is the path of these values in the whole config, such as `refine.gate.`, and begins
    each key of an error message. `more` are keys of the same mapping that another class reads;
    they are suggested when a key is misspelt.

    Raises:
        ValueError: a key is unknown or missing, or a value has the wrong type or range.
    """
    from pydantic import TypeAdapter, ValidationError

    check_keys(values, cls, where, more)
    _check_nested_keys(values, cls, where)
    try:
        return TypeAdapter(cls).validate_python(dict(values))
    except ValidationError as error:
        raise ValueError(_first_mistake(error, where)) from None


def _first_mistake(error: ValidationError, where: str) -> str:
    """Describe the first mistake that pydantic found in one line."""
    first = error.errors()[0]
    message = first["msg"].removeprefix("Value error, ")
    if not first["loc"]:
        # The mistake was raised by `__post_init__`, whose message names the setting itself.
        return where + message
    key = where + ".".join(str(part) for part in first["loc"])
    if first["type"] == "missing":
        return f"{key}: not set; give it a value ({key}=...)"
    if first["type"] == "string_type" and isinstance(first["input"], (int, float)):
        message += "; put it in quotes"
    message = PLAIN.get(first["type"], message.lower().replace("input should be", "it must be"))
    return f"{key}={first['input']}: {message}"


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
