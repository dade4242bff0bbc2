"""Records as plain values and as Arrow tables: the Arrow schema is that of the dataclasses in pipeline/schema.py."""

from __future__ import annotations

import dataclasses
import types
import typing
from collections.abc import Callable, Mapping
from dataclasses import fields
from functools import cache
from typing import Any, Literal, get_args, get_origin, get_type_hints

import pyarrow as pa

from pipeline.schema import SCHEMA_VERSION


def to_dict(record: Any) -> Any:
    """Plain lists and dicts of a record, fields in their order. (`dataclasses.asdict` deep-copies; this does not.)"""
    if dataclasses.is_dataclass(record):
        return {f.name: to_dict(getattr(record, f.name)) for f in fields(record)}
    if isinstance(record, list | tuple):
        return [to_dict(item) for item in record]
    return record


def from_dict(cls: Any, value: Any) -> Any:
    """The record of type `cls` that `to_dict` made `value` from; absent fields take their defaults."""
    read = _reader(cls)
    return read(value) if read else value


@cache
def _reader(cls: Any) -> Callable[[Any], Any] | None:
    """What makes a record of type `cls` from plain values; None when those are it already."""
    cls = _without_none(cls)
    if get_origin(cls) is tuple:
        return lambda value: None if value is None else tuple(value)
    if get_origin(cls) is list:
        read = _reader(get_args(cls)[0])
        return (
            (lambda value: None if value is None else [read(item) for item in value])
            if read
            else None
        )
    if not (isinstance(cls, type) and dataclasses.is_dataclass(cls)):
        return None
    readers = {name: _reader(hint) for name, hint in _hints(cls).items()}

    def record(value: Any) -> Any:
        if value is None:
            return None
        return cls(
            **{
                name: r(value[name]) if r else value[name]
                for name, r in readers.items()
                if name in value
            }
        )

    return record


def arrow_type(cls: Any) -> pa.DataType:
    """The Arrow type of a field annotation or of a whole record class."""
    cls = _without_none(cls)
    if isinstance(cls, type) and dataclasses.is_dataclass(cls):
        return pa.struct([pa.field(name, arrow_type(hint)) for name, hint in _hints(cls).items()])
    origin, args = get_origin(cls), get_args(cls)
    if origin is list:
        return pa.list_(arrow_type(args[0]))
    if origin is tuple:
        return pa.list_(arrow_type(args[0]), len(args))
    if origin is Literal:
        return pa.string()
    return {str: pa.string(), int: pa.int64(), float: pa.float64(), bool: pa.bool_()}[cls]


def arrow_schema(cls: Any) -> pa.Schema:
    """The Arrow schema of a table whose rows are records of `cls`."""
    return pa.schema(list(arrow_type(cls)), metadata={"schema_version": str(SCHEMA_VERSION)})


def to_table(cls: Any, rows: list[Any]) -> pa.Table:
    return pa.Table.from_pylist([to_dict(row) for row in rows], schema=arrow_schema(cls))


def from_table(cls: Any, table: pa.Table) -> list[Any]:
    read = _reader(cls)
    assert read is not None
    return [read(row) for row in table.to_pylist()]


@cache
def _hints(cls: Any) -> Mapping[str, Any]:
    hints = get_type_hints(cls)
    return {f.name: hints[f.name] for f in fields(cls)}


@cache
def _without_none(cls: Any) -> Any:
    if get_origin(cls) in (types.UnionType, typing.Union):
        return next(a for a in get_args(cls) if a is not type(None))
    return cls
