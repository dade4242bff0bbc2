"""The type of a setting in words: `int > 0`, `list of str`, `auto | cpu | cuda`."""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from types import NoneType, UnionType
from typing import Annotated, Any, Literal, Union, get_args, get_origin

_SIGNS = {"gt": ">", "ge": ">=", "lt": "<", "le": "<="}
_WORDS: dict[object, str] = {None: "null", NoneType: "null", Any: "any"}


def type_text(hint: object) -> str:
    """What a value of this type may be."""
    origin = get_origin(hint)
    args = get_args(hint)
    if origin is None:
        return _WORDS.get(hint) or str(getattr(hint, "__name__", hint))
    if origin is Literal:
        return " | ".join(map(str, args))
    if origin is Annotated:
        base, *metadata = args
        limits = ", ".join(_limits(metadata))
        return f"{type_text(base)} {limits}".strip()
    if origin is tuple and args[-1] is Ellipsis:
        return f"list of {type_text(args[0])}"
    parts = [type_text(part) for part in args]
    if origin in (Union, UnionType):
        return " or ".join(parts)
    if origin in (dict, Mapping):
        key, value = parts
        return f"map of {key} to {value}"
    assert origin is tuple, f"no words for {hint}"
    items = ", ".join(parts)
    return f"[{items}]"


def _limits(metadata: list[object]) -> Iterator[str]:
    """The bounds that pydantic's `Field(gt=0, le=1)` sets."""
    for info in metadata:
        for limit in getattr(info, "metadata", ()):
            for name, sign in _SIGNS.items():
                if hasattr(limit, name):
                    yield f"{sign} {getattr(limit, name)}"
