"""Parquet tables with the images' bytes in a column: the layout of `datasets`, or a plain binary column.

A row group is a shard, streamed a row at a time. Names are FILE/ROW.
"""

from __future__ import annotations

from collections.abc import Iterator, Mapping, Sequence
from contextlib import contextmanager
from dataclasses import dataclass, field
from typing import TYPE_CHECKING, Any, ClassVar

from pipeline.schema import Annotations
from stages.base import UNIQUE, SampleError
from stages.ingest import FILE_TOO_LARGE, MAX_BYTES, NO_IMAGE, UNREADABLE, Item
from stages.sources.alt import alt_texts, strings
from stages.sources.files import Files, ahead, printable

if TYPE_CHECKING:
    import pyarrow as pa
    import pyarrow.parquet as pq

NOT_PARQUET = "not_parquet"
MAX_RATIO = 100  # of images, which are packed already
NO_GROUPS = "?"  # in place of a row group's number: a file without a readable footer


@dataclass(frozen=True, slots=True, kw_only=True)
class ParquetConfig:
    """`path` is a folder of Parquet files or one file, any fsspec URL.

    `image` is the column of the pictures: their bytes, or the struct {bytes, path} of `datasets`. `texts` are the
    columns of alt-texts (strings or lists of them), taken where they are there. `key` is a column of unique names
    (`image.path` is one of a struct) that the keys are made of, None for the file's name and the row's number.
    """

    path: str
    image: str = "image"
    texts: tuple[str, ...] = ("caption", "text", "alt")
    key: str | None = field(default=None, metadata=UNIQUE)


class ParquetSource:
    whole: ClassVar[bool] = True

    def __init__(self, config: ParquetConfig) -> None:
        self._files, self.config = Files(config.path, (".parquet",)), config

    def list(self) -> list[str]:
        """FILE#GROUP for every row group, in order."""
        files = self._files.list()
        known = zip(files, ahead(self._groups, files), strict=True)
        return [f"{file}#{group}" for file, groups in known for group in groups]

    def _groups(self, file: str) -> Sequence[int | str]:
        try:
            with opened(self._files, file) as parquet:
                return range(parquet.num_row_groups)
        except SampleError:
            return [NO_GROUPS]

    def revision(self, names: Sequence[str]) -> str:
        return ""

    def read(self, names: Sequence[str]) -> Iterator[Item]:
        for name in names:
            file, _, group = name.rpartition("#")
            try:
                with opened(self._files, file) as parquet:
                    if group != NO_GROUPS:
                        yield from self._items(file, parquet, int(group))
            except SampleError as error:
                yield Item(name, failed=error)

    def _items(self, file: str, parquet: pq.ParquetFile, group: int) -> Iterator[Item]:
        wanted = {self.config.image, *self.config.texts, (self.config.key or "").partition(".")[0]}
        columns = [name for name in parquet.schema_arrow.names if name in wanted]
        _check_unpacked(parquet, columns, group)
        number = sum(parquet.metadata.row_group(i).num_rows for i in range(group))
        if not columns:  # Arrow counts no rows of no columns
            columns = parquet.schema_arrow.names[:1]
        for row in rows_of(parquet, columns, [group]):
            yield self._item(f"{file}/{number}", row)
            number += 1

    def _item(self, name: str, row: Mapping[str, Any]) -> Item:
        image = row.get(self.config.image)
        data = image.get("bytes") if isinstance(image, dict) else image
        key = _entry(row, self.config.key)
        if not isinstance(data, bytes):
            known = (
                "holds no bytes" if self.config.image in row else "is not there; set source.image"
            )
            return Item(
                name, key=key, failed=SampleError(NO_IMAGE, f"column {self.config.image} {known}")
            )
        if len(data) > MAX_BYTES:
            problem = SampleError(FILE_TOO_LARGE, f"{len(data)} bytes, the most is {MAX_BYTES}")
            return Item(name, key=key, failed=problem)
        texts = alt_texts(text for column in self.config.texts for text in strings(row.get(column)))
        return Item(name, data, key=key, given=Annotations(texts=texts))


def _entry(row: Mapping[str, Any], column: str | None) -> str | None:
    """The value of a column or of `COLUMN.FIELD`, as a file name."""
    name, _, field = (column or "").partition(".")
    value = row.get(name)
    value = value.get(field) if field and isinstance(value, dict) else value
    return None if value is None else f"{printable(str(value)).removesuffix('.jpg')}.jpg"


def _check_unpacked(parquet: pq.ParquetFile, columns: Sequence[str], group: int) -> None:
    """Refuse what unpacks to far more than images would: Arrow holds whole pages.

    Raises:
        SampleError: it does.
    """
    packed = parquet.metadata.row_group(group)
    chunks = [packed.column(i) for i in range(packed.num_columns)]
    for chunk in chunks:
        size = chunk.total_uncompressed_size
        wanted = chunk.path_in_schema.partition(".")[0] in columns
        if wanted and size > MAX_BYTES and size > MAX_RATIO * chunk.total_compressed_size:
            detail = f"{chunk.path_in_schema}: {chunk.total_compressed_size} bytes unpack to {size}"
            raise SampleError(FILE_TOO_LARGE, detail)


def rows_of(
    parquet: pq.ParquetFile, columns: Sequence[str], groups: Sequence[int] | None = None
) -> Iterator[dict[str, Any]]:
    """Some columns of each row; only one row is in memory."""
    for batch in parquet.iter_batches(1, row_groups=groups, columns=columns, use_threads=False):
        yield {name: _value(batch.column(i)[0]) for i, name in enumerate(batch.schema.names)}


def _value(scalar: pa.Scalar) -> Any:
    """As Python has it; a string that is no UTF-8 with replacement characters, which Arrow would refuse."""
    import pyarrow as pa

    if not scalar.is_valid:
        return None
    if isinstance(scalar, pa.StringScalar):
        return scalar.as_buffer().to_pybytes().decode("utf-8", "replace")
    if isinstance(scalar, pa.DictionaryScalar):
        return _value(scalar.value)
    if isinstance(scalar, pa.ListScalar):
        return [_value(each) for each in scalar.values]
    if isinstance(scalar, pa.StructScalar):
        return {name: _value(each) for name, each in scalar.items()}
    return scalar.as_py()


@contextmanager
def opened(files: Files, name: str) -> Iterator[pq.ParquetFile]:
    """Raises:
    SampleError: it cannot be read, now or inside the block.
    """
    import pyarrow as pa
    import pyarrow.parquet as pq

    try:
        with files.open(name) as file:
            yield pq.ParquetFile(file, pre_buffer=False)
    except (pa.ArrowException, UnicodeDecodeError) as error:
        raise SampleError(NOT_PARQUET, str(error)[:200]) from None
    except OSError as error:  # of the store, or Arrow's for a file that is cut
        raise SampleError(UNREADABLE, f"{type(error).__name__}: {error}"[:200]) from None
