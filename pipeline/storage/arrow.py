"""Records as plain values and as Arrow tables.

The Arrow schema of a table is derived from the dataclass of its rows (`pipeline/schema.py`).
"""

from __future__ import annotations

import dataclasses
import types
import typing
from collections.abc import Callable, Mapping, Sequence
from dataclasses import fields
from functools import cache
from typing import (
    TYPE_CHECKING,
    Any,
    Literal,
    TypeGuard,
    TypeVar,
    cast,
    get_args,
    get_origin,
    get_type_hints,
)

import pyarrow as pa

from pipeline.schema import SCHEMA_VERSION
from pipeline.storage.json_types import Json

if TYPE_CHECKING:
    from _typeshed import DataclassInstance

# A value of a table: pyarrow has no types, so nothing is known of it before it is read.
Plain = Any
Reader = Callable[[Plain], Plain]
T = TypeVar("T", bound="DataclassInstance")
PRIMITIVES: Mapping[object, pa.DataType] = {
    str: pa.string(),
    int: pa.int64(),
    float: pa.float64(),
    bool: pa.bool_(),
}


def to_dict(record: DataclassInstance) -> Json:
    """The plain lists and dicts of a record; fields keep their order.

    Unlike `dataclasses.asdict` this does not copy the values, so it is several times faster.
    """
    return {field.name: _plain(getattr(record, field.name)) for field in fields(record)}


def _plain(value: object) -> object:
    """The plain lists and dicts of a field's value."""
    if dataclasses.is_dataclass(value) and not isinstance(value, type):
        return to_dict(value)
    if isinstance(value, list | tuple):
        return [_plain(item) for item in value]
    return value


def from_dict(cls: type[T], value: Json) -> T:
    """The record of type `cls` that `to_dict` made `value` from.

    Fields that are absent get their defaults.
    """
    return cast(T, _record_reader(cls)(value))


def arrow_type(hint: object) -> pa.DataType:
    """The Arrow type of a field annotation or of a whole record class."""
    hint = _without_none(hint)
    if _is_record(hint):
        members = []
        for name, member in _hints(hint).items():
            members.append(pa.field(name, arrow_type(member)))
        return pa.struct(members)
    origin = get_origin(hint)
    args = get_args(hint)
    if origin is list:
        return pa.list_(arrow_type(args[0]))
    if origin is tuple:
        # Boxes and quads: all members of a tuple have the same type.
        return pa.list_(arrow_type(args[0]), len(args))
    if origin is Literal:
        return pa.string()
    return PRIMITIVES[hint]


def arrow_schema(cls: type[DataclassInstance]) -> pa.Schema:
    """The Arrow schema of a table whose rows are records of `cls`."""
    metadata = {"schema_version": str(SCHEMA_VERSION)}
    return pa.schema(list(arrow_type(cls)), metadata=metadata)


def to_table(cls: type[T], rows: Sequence[T]) -> pa.Table:
    """The Arrow table of records of `cls`."""
    values = [to_dict(row) for row in rows]
    return pa.Table.from_pylist(values, schema=arrow_schema(cls))


def from_table(cls: type[T], table: pa.Table) -> list[T]:
    """The records of `cls` in an Arrow table."""
    reader = _record_reader(cls)
    return [reader(row) for row in table.to_pylist()]


def _reader(hint: object) -> Reader | None:
    """A function from plain values to values of type `hint`, None if they are the same."""
    hint = _without_none(hint)
    if get_origin(hint) is tuple:
        return _read_tuple
    if get_origin(hint) is list:
        return _list_reader(_reader(get_args(hint)[0]))
    if _is_record(hint):
        return _record_reader(hint)
    return None


def _read_tuple(value: Plain) -> Plain:
    return None if value is None else tuple(value)


def _list_reader(reader: Reader | None) -> Reader | None:
    if reader is None:
        return None

    def read(value: Plain) -> Plain:
        if value is None:
            return None
        return [reader(item) for item in value]

    return read


@cache
def _record_reader(cls: type[DataclassInstance]) -> Reader:
    readers = {name: _reader(hint) for name, hint in _hints(cls).items()}

    def read(value: Plain) -> Plain:
        if value is None:
            return None
        values = {}
        for name, reader in readers.items():
            if name not in value:
                continue
            values[name] = value[name] if reader is None else reader(value[name])
        return cls(**values)

    return read


def _is_record(hint: object) -> TypeGuard[type[DataclassInstance]]:
    return isinstance(hint, type) and dataclasses.is_dataclass(hint)


@cache
def _hints(cls: type[DataclassInstance]) -> Mapping[str, object]:
    """The types of a dataclass's fields, in the order of the fields."""
    hints = get_type_hints(cls)
    return {field.name: hints[field.name] for field in fields(cls)}


def _without_none(hint: object) -> object:
    """`X` for `X | None`."""
    if get_origin(hint) not in (types.UnionType, typing.Union):
        return hint
    for member in get_args(hint):
        if member is not type(None):
            return cast(object, member)
    raise TypeError(f"{hint}: a union of nothing but None")
