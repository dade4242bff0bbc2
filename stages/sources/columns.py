"""Which columns of Parquet tables can serve as pictures, texts or keys."""

from __future__ import annotations

import logging
from collections import Counter
from collections.abc import Callable, Iterator, Sequence
from dataclasses import dataclass, field
from typing import TYPE_CHECKING

from stages.sources.alt import split_path
from stages.sources.named import NamedField, hint

if TYPE_CHECKING:
    import pyarrow as pa

# Stands for the type of a column that is not there.
ABSENT = ""


@dataclass(slots=True)
class ColumnCheck:
    """What the files of a source say about the columns that its settings name.

    Of each file only a few words are kept, because there may be a hundred thousand of them.
    """

    where: str
    """The source, for messages: `source.path=DIR`."""
    named: Sequence[NamedField]
    """The columns that settings name."""
    files: int = 0
    """How many files were looked at."""
    misfits: dict[NamedField, Counter[str]] = field(default_factory=dict)
    """For each column: by the type that it has there, how many files it cannot serve in."""
    paths: dict[str, pa.DataType] = field(default_factory=dict)
    """The columns of the first file, and the fields of its structs."""

    def add(self, schema: pa.Schema) -> None:
        """Look at one more file."""
        self.files += 1
        if not self.paths:
            self.paths = dict(_paths(schema))
        for column in self.named:
            type_ = type_at(schema, column.name)
            if type_ is None:
                self._misfit(column, ABSENT)
            elif not _serves(column, type_):
                self._misfit(column, str(type_))

    def finish(self) -> None:
        """Refuse what no file has; warn of what some files lack.

        Raises:
            ValueError: a column that a setting names can serve in no file.
        """
        for column in self.named:
            types = self.misfits.get(column, Counter())
            is_needed = column.typed or column.setting == "image"
            is_nowhere = types.total() == self.files > 0
            if is_nowhere and is_needed:
                raise ValueError(f"{column.shown}: {self._problem(column, types)}")
            present = [type_ for type_ in types if type_ != ABSENT]
            if present or (types and is_needed):
                logging.getLogger("fld").warning(
                    "%s: in %d of %d files of %s: %s",
                    column.shown,
                    types.total() if is_needed else types.total() - types[ABSENT],
                    self.files,
                    self.where,
                    _reason(column, types),
                )

    def _misfit(self, column: NamedField, type_: str) -> None:
        self.misfits.setdefault(column, Counter())[type_] += 1

    def _problem(self, column: NamedField, types: Counter[str]) -> str:
        able = [path for path, type_ in self.paths.items() if _serves(column, type_)]
        return f"{_reason(column, types)}; {hint(column.name, able)}"


def _reason(column: NamedField, types: Counter[str]) -> str:
    """Why a column cannot serve, by its commonest type."""
    present = [type_ for type_, _ in types.most_common() if type_ != ABSENT]
    if not present:
        return "there is no such column"
    lacks = {"texts": "gives no text", "image": "holds no bytes", "key": "is no name"}
    shown = present[0] if len(present[0]) <= 60 else f"{present[0][:57]}..."
    return f"the column is of type {shown} and {lacks[column.setting]}"


def _serves(column: NamedField, type_: pa.DataType) -> bool:
    serves: dict[str, Callable[[pa.DataType], bool]] = {
        "image": holds_bytes,
        "texts": holds_text,
        "key": holds_names,
    }
    return serves[column.setting](type_)


def type_at(schema: pa.Schema, path: str) -> pa.DataType | None:
    """The type of a column or of COLUMN.FIELD; None if there is none."""
    found = split_path(path, schema.names)
    if found is None:
        return None
    column, rest = found
    # A name that comes twice has no index of its own; the last column is the one that is read.
    index = schema.get_all_field_indices(column)[-1]
    return _type_within(schema.types[index], rest)


def _type_within(type_: pa.DataType, path: str) -> pa.DataType | None:
    """The type of a field of a struct, or of the structs in a list."""
    import pyarrow as pa

    if not path:
        return type_
    type_ = _plain(type_)
    if _is_list(type_):
        return _type_within(type_.value_type, path)
    if not pa.types.is_struct(type_):
        return None
    names = [type_.field(i).name for i in range(type_.num_fields)]
    if path in names:
        return type_.field(names.index(path)).type
    name, _, rest = path.partition(".")
    return _type_within(type_.field(names.index(name)).type, rest) if name in names else None


def _paths(schema: pa.Schema) -> Iterator[tuple[str, pa.DataType]]:
    """The columns and the fields of structs in them, with their types."""
    import pyarrow as pa

    for column in schema:
        yield column.name, column.type
        type_ = _plain(column.type)
        if _is_list(type_):
            type_ = _plain(type_.value_type)
        if pa.types.is_struct(type_):
            for i in range(type_.num_fields):
                yield f"{column.name}.{type_.field(i).name}", type_.field(i).type


def _plain(type_: pa.DataType) -> pa.DataType:
    """The type of the values of a dictionary or an extension type."""
    import pyarrow as pa

    while isinstance(type_, pa.DictionaryType | pa.BaseExtensionType):
        is_dictionary = isinstance(type_, pa.DictionaryType)
        type_ = type_.value_type if is_dictionary else type_.storage_type
    return type_


def _is_list(type_: pa.DataType) -> bool:
    kinds = ("is_list", "is_large_list", "is_fixed_size_list", "is_list_view", "is_large_list_view")
    return _is_any(type_, kinds)


def _is_any(type_: pa.DataType, kinds: Sequence[str]) -> bool:
    import pyarrow as pa

    return any(getattr(pa.types, kind)(type_) for kind in kinds)


# A column without any value has the type null: it may be there in some files only.


def holds_bytes(type_: pa.DataType) -> bool:
    """Whether values are bytes, or structs {bytes, ...} as `datasets` writes pictures."""
    import pyarrow as pa

    type_ = _plain(type_)
    if pa.types.is_struct(type_):
        index = type_.get_field_index("bytes")
        return index >= 0 and holds_bytes(type_.field(index).type)
    kinds = ("is_binary", "is_large_binary", "is_fixed_size_binary", "is_binary_view", "is_null")
    return _is_any(type_, kinds)


def holds_text(type_: pa.DataType) -> bool:
    """Whether values are strings, or lists of strings of any depth."""
    type_ = _plain(type_)
    while _is_list(type_):
        type_ = _plain(type_.value_type)
    return _is_any(type_, ("is_string", "is_large_string", "is_string_view", "is_null"))


def holds_names(type_: pa.DataType) -> bool:
    """Whether values can be file names: anything but a struct, a list or a map."""
    import pyarrow as pa

    return not pa.types.is_nested(_plain(type_))
