"""The type of a setting in words: `int > 0`, `list of str`, `auto | cpu | cuda`."""

from __future__ import annotations

from collections.abc import Mapping
from types import NoneType, UnionType
from typing import Annotated, Any, Literal, Union, get_args, get_origin

_LIMITS = {"gt": ">", "ge": ">=", "lt": "<", "le": "<="}


def type_text(hint: Any) -> str:
    """What a value of this type may be."""
    origin, args = get_origin(hint), get_args(hint)
    if origin is Annotated:
        return type_text(args[0]) + _limits(args[1:])
    if origin is Literal:
        return " | ".join(str(choice) for choice in args)
    if origin in (Union, UnionType):
        return " or ".join(type_text(choice) for choice in args)
    if origin is tuple and args[-1] is Ellipsis:
        return f"list of {type_text(args[0])}"
    if origin is tuple:
        items = ", ".join(type_text(item) for item in args)
        return f"[{items}]"
    if origin in (dict, Mapping):
        return f"map of {type_text(args[0])} to {type_text(args[1])}"
    if hint in (None, NoneType):
        return "null"
    if hint is Any:
        return "any"
    return str(getattr(hint, "__name__", hint))


def _limits(metadata: tuple[Any, ...]) -> str:
    """The bounds that pydantic's `Field(gt=0, le=1)` sets."""
    text = ""
    for info in metadata:
        for limit in getattr(info, "metadata", ()):
            for name, sign in _LIMITS.items():
                if hasattr(limit, name):
                    bound = getattr(limit, name)
                    text += f" {sign} {bound}" if not text else f", {sign} {bound}"
    return text
