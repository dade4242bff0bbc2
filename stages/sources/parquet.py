"""Parquet tables with the images' bytes in a column, as `datasets` writes them or plain binary.

A row group is a shard, read a row at a time. Names of items are FILE/ROW.
"""

from __future__ import annotations

from collections.abc import Iterator, Mapping, Sequence
from contextlib import contextmanager
from dataclasses import dataclass, field
from typing import TYPE_CHECKING, ClassVar

from pipeline.schema import Annotations
from stages.base import UNIQUE, SampleError
from stages.source import FILE_TOO_LARGE, MAX_BYTES, MAX_DETAIL, NO_IMAGE, Item
from stages.sources.alt import alt_texts, entry_of, split_path, strings
from stages.sources.columns import ColumnCheck
from stages.sources.files import Files, ahead, printable, unreadable
from stages.sources.named import named_fields

if TYPE_CHECKING:
    import pyarrow as pa
    import pyarrow.parquet as pq

NOT_PARQUET = "not_parquet"
# Images are packed already, so that a column chunk that unpacks to more than this many times its
# size is no column of images.
MAX_RATIO = 100
# Stands for the number of a row group if the file has no readable footer.
NO_GROUPS = "?"


@dataclass(frozen=True, slots=True)
class Footer:
    """What a file says of itself before a row is read."""

    groups: Sequence[int | str]
    """The numbers of its row groups; `NO_GROUPS` if it cannot be read."""
    schema: pa.Schema | None
    """Its columns; None if it cannot be read."""


@dataclass(frozen=True, slots=True, kw_only=True)
class ParquetConfig:
    path: str
    """A folder of Parquet files or one file, any fsspec URL."""

    image: str = "image"
    """The column of the images: their bytes, or the struct {bytes, path} of `datasets`; or
    COLUMN.FIELD of a struct."""

    texts: tuple[str, ...] = ("caption", "text", "alt")
    """Columns of alt-texts, strings or lists of strings, or COLUMN.FIELD of structs; a file need
    not have them."""

    key: str | None = field(default=None, metadata=UNIQUE)
    """A column of unique names of which keys are made, or COLUMN.FIELD of a struct.

    Null for the file's name and the row's number.
    """


class ParquetSource:
    """The rows of the tables."""

    whole: ClassVar[bool] = True
    gives: ClassVar[tuple[str, ...]] = ("texts",)

    def __init__(self, config: ParquetConfig) -> None:
        self.config = config
        self._files = Files(config.path, (".parquet",))

    def list(self) -> list[str]:
        """FILE#GROUP for every row group, in order.

        Raises:
            ValueError: there are no files, or none has a column that a setting names.
        """
        files = self._files.list()
        named = named_fields(self.config, ("image", "texts", "key"))
        check = ColumnCheck(f"source.path={self.config.path}", named)
        names = []
        for file, footer in zip(files, ahead(self._footer, files), strict=True):
            names += [f"{file}#{group}" for group in footer.groups]
            if footer.schema is not None:
                check.add(footer.schema)
        check.finish()
        return names

    def _footer(self, file: str) -> Footer:
        try:
            with opened(self._files, file) as parquet:
                return Footer(range(parquet.num_row_groups), parquet.schema_arrow)
        except SampleError:
            return Footer([NO_GROUPS], None)

    def files_of(self, name: str) -> tuple[str, ...]:
        return (name.rpartition("#")[0],)

    def stamps(self) -> Mapping[str, str]:
        return self._files.stamps()

    def revision(self, names: Sequence[str]) -> str:
        return ""

    def read(self, names: Sequence[str]) -> Iterator[Item]:
        for name in names:
            file, _, group = name.rpartition("#")
            try:
                # Opened even if its groups are unknown, because the error is the reason.
                with opened(self._files, file) as parquet:
                    if group != NO_GROUPS:
                        yield from self._items(file, parquet, int(group))
            except SampleError as error:
                yield Item(name, failed=error)

    def _items(self, file: str, parquet: pq.ParquetFile, group: int) -> Iterator[Item]:
        names = parquet.schema_arrow.names
        wanted = set()
        for column in named_fields(self.config, ("image", "texts", "key")):
            found = split_path(column.name, names)
            if found is not None:
                wanted.add(found[0])
        columns = [name for name in dict.fromkeys(names) if name in wanted]
        _check_unpacked_size(parquet, columns, group)
        number = 0
        for i in range(group):
            number += parquet.metadata.row_group(i).num_rows
        if not columns:
            # Without any column Arrow would give no rows at all.
            columns = names[:1]
        for row in rows_of(parquet, columns, [group]):
            yield self._item(f"{file}/{number}", row)
            number += 1

    def _item(self, name: str, row: Mapping[str, object]) -> Item:
        key = _key(row, self.config.key)
        try:
            data = self._image_bytes(row)
        except SampleError as error:
            return Item(name, key=key, failed=error)
        texts: list[str] = []
        for column in self.config.texts:
            texts += strings(_at(row, column))
        return Item(name, data, key=key, given=Annotations(texts=alt_texts(texts)))

    def _image_bytes(self, row: Mapping[str, object]) -> bytes:
        """The bytes of the image in a row.

        Raises:
            SampleError: there are none, or too many.
        """
        column = self.config.image
        value = _at(row, column)
        data = value.get("bytes") if isinstance(value, dict) else value
        if isinstance(data, bytes):
            if len(data) > MAX_BYTES:
                raise SampleError(FILE_TOO_LARGE, f"{len(data)} bytes, the most is {MAX_BYTES}")
            return data
        if split_path(column, row) is not None:
            raise SampleError(NO_IMAGE, f"column {column} holds no bytes")
        raise SampleError(NO_IMAGE, f"column {column} is not there; set source.image")


def _key(row: Mapping[str, object], setting: str | None) -> str | None:
    """The value of a column or of `COLUMN.FIELD`, as a file name; None if there is none."""
    value = _at(row, setting or "")
    if value is None:
        return None
    name = printable(str(value)).removesuffix(".jpg")
    return f"{name}.jpg"


def _at(row: Mapping[str, object], path: str) -> object:
    """The value of a column, or of COLUMN.FIELD; None if there is none."""
    found = split_path(path, row)
    if found is None:
        return None
    column, rest = found
    return entry_of(row[column], rest)


def _check_unpacked_size(parquet: pq.ParquetFile, columns: Sequence[str], group: int) -> None:
    """Refuse a row group that unpacks to far more than images would: Arrow holds whole pages.

    Raises:
        SampleError: it does.
    """
    metadata = parquet.metadata.row_group(group)
    for i in range(metadata.num_columns):
        chunk = metadata.column(i)
        if split_path(chunk.path_in_schema, columns) is None:
            continue
        packed = chunk.total_compressed_size
        unpacked = chunk.total_uncompressed_size
        if unpacked > MAX_BYTES and unpacked > MAX_RATIO * packed:
            detail = f"{chunk.path_in_schema}: {packed} bytes unpack to {unpacked}"
            raise SampleError(FILE_TOO_LARGE, detail)


def rows_of(
    parquet: pq.ParquetFile, columns: Sequence[str], groups: Sequence[int] | None = None
) -> Iterator[dict[str, object]]:
    """Some columns of each row, of all or some row groups; only one row is in memory.

    Raises:
        SampleError: there are fewer rows than the file's footer says. Arrow ends without a word
            when a page is broken in some ways.
    """
    numbers = range(parquet.num_row_groups) if groups is None else groups
    promised = sum(parquet.metadata.row_group(number).num_rows for number in numbers)
    count = 0
    for batch in parquet.iter_batches(1, row_groups=groups, columns=columns, use_threads=False):
        row = {}
        for i, name in enumerate(batch.schema.names):
            row[name] = _value(batch.column(i)[0])
        yield row
        count += 1
    if count < promised:
        raise SampleError(NOT_PARQUET, f"{count} of {promised} rows could be read")


def _value(scalar: pa.Scalar) -> object:
    """The value as Python has it.

    A string that is not UTF-8, which Arrow would refuse, gets replacement characters.
    """
    import pyarrow as pa

    if not scalar.is_valid:
        return None
    if isinstance(scalar, pa.StringScalar):
        return scalar.as_buffer().to_pybytes().decode("utf-8", "replace")
    if isinstance(scalar, pa.DictionaryScalar):
        return _value(scalar.value)
    if isinstance(scalar, pa.ExtensionScalar):
        return _value(scalar.value)
    if isinstance(scalar, pa.ListScalar):
        return [_value(member) for member in scalar.values]
    if isinstance(scalar, pa.StructScalar):
        return {name: _value(member) for name, member in scalar.items()}
    try:
        return scalar.as_py()
    except (ValueError, OverflowError):
        # A time that Python cannot hold.
        return str(scalar.cast(pa.string()))


@contextmanager
def opened(files: Files, name: str) -> Iterator[pq.ParquetFile]:
    """A Parquet file, open for reading.

    Raises:
        SampleError: it cannot be read, now or inside the block.
    """
    import pyarrow as pa
    import pyarrow.parquet as pq

    try:
        with files.open(name) as file:
            yield pq.ParquetFile(file, pre_buffer=False)
    except (pa.ArrowException, UnicodeDecodeError) as error:
        raise SampleError(NOT_PARQUET, str(error)[:MAX_DETAIL]) from None
    except OSError as error:
        # The store's error, or Arrow's for a file that is cut.
        raise unreadable(error) from None
