"""Plain values checked against frozen dataclasses, by pydantic; each message is one line that says what to change."""

from __future__ import annotations

import dataclasses
import difflib
from collections.abc import Mapping
from typing import Any, get_args, get_type_hints


def build(cls: Any, values: Mapping[str, Any], where: str, more: set[str] | None = None) -> Any:
    """An instance of a frozen dataclass from plain values, checked by pydantic.

    `where` prefixes keys in messages, `more` are keys of the same mapping that another class takes.
    """
    from pydantic import TypeAdapter, ValidationError

    check_keys(values, cls, where, more)
    _check_nested(values, cls, where)
    try:
        return TypeAdapter(cls).validate_python(dict(values))
    except ValidationError as error:
        first = error.errors()[0]
        key = where + ".".join(str(part) for part in first["loc"])
        if not first["loc"]:  # a rule of the whole, which names the setting itself
            raise ValueError(where + first["msg"].removeprefix("Value error, ")) from None
        if first["type"] == "missing":
            raise ValueError(f"{key}: not set; give it a value ({key}=...)") from None
        raise ValueError(
            f"{key}={first['input']}: {first['msg'].removeprefix('Value error, ').lower()}"
        ) from None


def check_mapping(value: Any, key: str) -> None:
    if not isinstance(value, Mapping):
        raise ValueError(f"{key}={value}: give a mapping of settings")


def check_keys(values: Any, cls: Any, where: str, more: set[str] | None = None) -> None:
    """Raises:
    ValueError: a key of `values` is no field of `cls` and not in `more`.
    """
    known = [f.name for f in dataclasses.fields(cls)] + sorted(more or ())
    for key in values if isinstance(values, Mapping) else ():
        if key not in known:
            near = difflib.get_close_matches(str(key), known, n=1)
            hint = f"did you mean {near[0]}?" if near else f"known: {', '.join(known)}"
            raise ValueError(f"{where}{key}: no such setting; {hint}")


def _check_nested(values: Mapping[str, Any], cls: Any, where: str) -> None:
    """`check_keys` for the dataclasses in the fields of `cls`, and in the values of its mappings."""
    hints = get_type_hints(cls)
    for key, value in values.items():
        inner = next(
            (t for t in (hints[key], *get_args(hints[key])) if dataclasses.is_dataclass(t)), None
        )
        if inner is None or not isinstance(value, Mapping):
            continue
        if getattr(hints[key], "__origin__", None) is dict:
            for name, each in value.items():
                check_keys(each, inner, f"{where}{key}.{name}.")
        else:
            check_keys(value, inner, f"{where}{key}.")
            _check_nested(value, inner, f"{where}{key}.")
