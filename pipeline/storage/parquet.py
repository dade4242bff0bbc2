"""Tables of dataclass rows as Parquet files."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

import pyarrow as pa
import pyarrow.parquet as pq

from pipeline.storage.arrow import from_table, to_table
from pipeline.storage.manifest import FileDigest
from pipeline.storage.store import Store


def read_table(store: Store, name: str, cls: Any) -> list[Any]:
    return from_table(cls, read_parquet(store, name))


def read_parquet(store: Store, name: str) -> pa.Table:
    return parse_parquet(store.read(name))


def parse_table(data: bytes, cls: Any) -> list[Any]:
    return from_table(cls, parse_parquet(data))


def parse_parquet(data: bytes, verify: bool = False) -> pa.Table:
    """The table in a Parquet file; `verify` compares the checksums of its pages."""
    # In this thread only: one of Arrow's own that still holds a Python object while the interpreter ends aborts it.
    file = pq.ParquetFile(
        pa.BufferReader(data), pre_buffer=False, page_checksum_verification=verify
    )
    return file.read(use_threads=False)


def publish_table(store: Store, name: str, cls: Any, rows: Sequence[Any]) -> FileDigest:
    with store.publishing(name) as sink:
        pq.write_table(
            to_table(cls, list(rows)), sink, compression="zstd", write_page_checksum=True
        )
    return sink.digest
