"""Records as plain values and as Arrow tables.

The Arrow schema of a table is derived from the dataclass of its rows (`pipeline/schema.py`).
"""

from __future__ import annotations

import dataclasses
import itertools
import types
import typing
from collections.abc import Mapping, Sequence
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

import msgspec
import numpy as np
import pyarrow as pa

from pipeline.schema import SCHEMA_VERSION
from pipeline.storage.garbage import collection_paused
from pipeline.storage.json_types import Json

if TYPE_CHECKING:
    from _typeshed import DataclassInstance

T = TypeVar("T", bound="DataclassInstance")
PRIMITIVES: Mapping[object, pa.DataType] = {
    str: pa.string(),
    int: pa.int64(),
    float: pa.float64(),
    bool: pa.bool_(),
}


def to_dict(record: DataclassInstance) -> Json:
    """The plain dicts, lists and tuples of a record; fields keep their order. Library: msgspec."""
    # Bytes stay as they are; by default msgspec makes Base64 of them.
    plain: Json = msgspec.to_builtins(record, builtin_types=(bytes,), enc_hook=number_of)
    return plain


def number_of(value: object) -> object:
    """The number that a NumPy scalar holds; stages may leave some in their records."""
    if isinstance(value, np.generic):
        return value.item()
    raise TypeError(f"{type(value).__name__}: no record holds such a value")


def from_dict(cls: type[T], value: Json) -> T:
    """The record of type `cls` that `to_dict` made `value` from.

    Fields that are absent get their defaults.

    Raises:
        ValueError: a value has another type than its field.
    """
    return msgspec.convert(value, cls)


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
    if origin is list or args[1:] == (Ellipsis,):
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


@collection_paused()
def to_table(cls: type[T], rows: Sequence[T]) -> pa.Table:
    """The Arrow table of records of `cls`."""
    columns = []
    for name, hint in _hints(cls).items():
        columns.append(_column([getattr(row, name) for row in rows], hint))
    return pa.Table.from_arrays(columns, schema=arrow_schema(cls))


def _column(values: Sequence[Any], hint: object) -> pa.Array:
    """The Arrow array of the values of one field, whose annotation is `hint`.

    Records are taken apart into a column for each of their fields; this is twice as fast as giving
    them to Arrow as dicts.
    """
    hint = _without_none(hint)
    if _is_record(hint):
        return _struct_column(values, hint)
    if get_origin(hint) is list and _is_record(get_args(hint)[0]):
        offsets = [0, *itertools.accumulate(map(len, values))]
        members = _column(list(itertools.chain.from_iterable(values)), get_args(hint)[0])
        return pa.ListArray.from_arrays(pa.array(offsets, pa.int32()), members)
    return pa.array(values, arrow_type(hint))


def _struct_column(values: Sequence[Any], cls: type[DataclassInstance]) -> pa.Array:
    """The Arrow array of records of `cls`, or None where there is none."""
    records = [value for value in values if value is not None]
    columns = []
    for name, hint in _hints(cls).items():
        columns.append(_column([getattr(record, name) for record in records], hint))
    array = pa.StructArray.from_arrays(columns, fields=list(arrow_type(cls)))
    if len(records) == len(values):
        return array
    # Arrow makes a null where the index is one.
    numbers = itertools.count()
    indices = [None if value is None else next(numbers) for value in values]
    return array.take(pa.array(indices, pa.int64()))


@collection_paused()
def from_table(cls: type[T], table: pa.Table) -> list[T]:
    """The records of `cls` in an Arrow table."""
    return [msgspec.convert(row, cls) for row in table.to_pylist()]


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
