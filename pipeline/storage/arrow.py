"""Records as plain values and as Arrow tables.

The Arrow schema of a table is derived from the dataclass of its rows (`pipeline/schema.py`).
"""

from __future__ import annotations

import dataclasses
import itertools
import types
import typing
from collections import deque
from collections.abc import Mapping, Sequence
from dataclasses import MISSING, fields
from functools import cache
from operator import attrgetter
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
import pyarrow.compute as pc

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
    return pa.Table.from_arrays(_columns(rows, cls), schema=arrow_schema(cls))


def _columns(records: Sequence[Any], cls: type[DataclassInstance]) -> list[pa.Array]:
    """The Arrow array of each field of records of `cls`."""
    columns = []
    for name, hint in _hints(cls).items():
        values = list(map(attrgetter(name), records))
        columns.append(_column(values, hint))
    return columns


def _column(values: Sequence[Any], hint: object) -> pa.Array:
    """The Arrow array of the values of one field, whose annotation is `hint`.

    Records are taken apart into a column for each of their fields; this is twice as fast as giving
    them to Arrow as dicts.
    """
    hint = _without_none(hint)
    if _is_record(hint):
        return _struct_column(values, hint)
    member = _listed_record(hint)
    if member is not None:
        offsets = [0, *itertools.accumulate(map(len, values))]
        members = _column(list(itertools.chain.from_iterable(values)), member)
        return pa.ListArray.from_arrays(pa.array(offsets, pa.int32()), members)
    return pa.array(values, arrow_type(hint))


def _struct_column(values: Sequence[Any], cls: type[DataclassInstance]) -> pa.Array:
    """The Arrow array of records of `cls`, or None where there is none."""
    records = [value for value in values if value is not None]
    array = pa.StructArray.from_arrays(_columns(records, cls), fields=list(arrow_type(cls)))
    if len(records) == len(values):
        return array
    # Arrow makes a null where the index is one.
    numbers = itertools.count()
    indices = [None if value is None else next(numbers) for value in values]
    return array.take(pa.array(indices, pa.int64()))


@collection_paused()
def from_table(cls: type[T], table: pa.Table) -> list[T]:
    """The records of `cls` in an Arrow table.

    A column that is absent gives the defaults of its field.

    Raises:
        ValueError: a value has another type than its field.
    """
    return _records(table.to_struct_array().combine_chunks(), cls)


def _records(structs: pa.StructArray, cls: type[T]) -> list[T]:
    """The records of `cls` in an Arrow array without nulls.

    Each field is filled in for all records at once. This takes about two thirds of the time of
    making a dict of each record and converting that.
    """
    records = [object.__new__(cls) for _ in range(len(structs))]
    for field in fields(cls):
        index = structs.type.get_field_index(field.name)
        if index >= 0:
            values = _values(structs.field(index), _hints(cls)[field.name])
        else:
            values = _defaults(cls, field, len(records))
        # A frozen record allows no assignment, but its slots have no values yet.
        put = getattr(cls, field.name).__set__
        deque(map(put, records, values), maxlen=0)
    return records


def _values(array: pa.Array, hint: object) -> list[Any]:
    """The values of a field, whose annotation is `hint`, in an Arrow array; see `_column`."""
    kind = _without_none(hint)
    is_complete = array.null_count == 0
    may_lack_some = kind is not hint
    is_fit = pa.types.is_struct(array.type) and (is_complete or may_lack_some)
    if _is_record(kind) and is_fit:
        present = iter(_records(array.drop_null(), kind))
        is_valid = array.is_valid().to_pylist()
        return [next(present) if valid else None for valid in is_valid]
    member = _listed_record(kind)
    if member is not None and pa.types.is_list(array.type) and is_complete:
        members = iter(_values(array.flatten(), member))
        lengths = pc.list_value_length(array).to_pylist()
        return [list(itertools.islice(members, length)) for length in lengths]
    # This also refuses what does not fit, in msgspec's words.
    return msgspec.convert(array.to_pylist(), types.GenericAlias(list, (hint,)))


def _defaults(cls: type, field: dataclasses.Field[Any], count: int) -> list[Any]:
    """The default of a field for each of some records."""
    if field.default_factory is not MISSING:
        return [field.default_factory() for _ in range(count)]
    if field.default is MISSING and count:
        raise ValueError(f"{cls.__name__}: there is no column {field.name}")
    return [field.default] * count


def _listed_record(hint: object) -> type[DataclassInstance] | None:
    """The class of the members of a list of records; None for any other annotation."""
    if get_origin(hint) is not list:
        return None
    member = get_args(hint)[0]
    return member if _is_record(member) else None


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
