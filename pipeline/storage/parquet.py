"""Tables of dataclass rows as Parquet files."""

from __future__ import annotations

from collections.abc import Sequence

import pyarrow as pa
import pyarrow.parquet as pq

from pipeline.storage.arrow import T, from_table, to_table
from pipeline.storage.checks import broken
from pipeline.storage.manifest import FileDigest
from pipeline.storage.store import Store


def read_table(store: Store, name: str, cls: type[T]) -> list[T]:
    """The rows of a published table, as records of `cls`."""
    return from_table(cls, read_parquet(store, name))


def read_parquet(store: Store, name: str) -> pa.Table:
    """A published table.

    Raises:
        BrokenFiles: it is broken; the checksums of its pages are compared.
    """
    data = store.read(name)
    try:
        return parse_parquet(data, verify=True)
    except (pa.ArrowException, OSError) as error:
        raise broken(store, name, str(error)) from error


def parse_table(data: bytes, cls: type[T]) -> list[T]:
    """The rows of a Parquet file, as records of `cls`."""
    return from_table(cls, parse_parquet(data))


def parse_parquet(data: bytes, verify: bool = False) -> pa.Table:
    """The table in a Parquet file. With `verify`, the checksums of its pages are compared.

    Raises:
        pyarrow.ArrowException, OSError: it is no Parquet file, or a broken one.
    """
    file = pq.ParquetFile(
        pa.BufferReader(data),
        pre_buffer=False,
        page_checksum_verification=verify,
    )
    # Only this thread reads. A thread of Arrow that still holds a Python object when the
    # interpreter ends would abort the process.
    return file.read(use_threads=False)


def publish_table(store: Store, name: str, cls: type[T], rows: Sequence[T]) -> FileDigest:
    """Publish records of `cls` as a table."""
    return publish_parquet(store, name, to_table(cls, rows))


def publish_parquet(store: Store, name: str, table: pa.Table) -> FileDigest:
    """Publish a table."""
    settings = {"compression": "zstd", "write_page_checksum": True}
    with (
        store.publishing(name) as sink,
        pq.ParquetWriter(sink, table.schema, **settings) as writer,
    ):
        # `datasets` reads no file whose first row group has no rows.
        if table.num_rows:
            writer.write_table(table)
    return sink.digest
