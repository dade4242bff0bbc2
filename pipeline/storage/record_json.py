"""Records of a round as compact JSON: the members `KEY.json` of its tars."""

from __future__ import annotations

import json
from collections.abc import Iterator, Sequence

import msgspec
import numpy as np
import pyarrow as pa
import pyarrow.compute as pc

from pipeline.rows import Record
from pipeline.storage.arrow import number_of, to_dict

SMALLEST = 1e-4
LARGEST = 1e16
"""Both libraries write numbers of this range, and 0, in the same way: without an exponent."""


def encode_records(records: Sequence[Record], table: pa.Table) -> Iterator[bytes]:
    """Each record as JSON, with the bytes that Python's `json` writes.

    msgspec is five times as fast, but it writes an unusual number (1e-05, NaN) in another way. So
    only records without such numbers are left to it.

    Args:
        records: the rows of `table`.
        table: is searched for unusual numbers, a column at a time.
    """
    encoder = msgspec.json.Encoder(enc_hook=number_of)
    columns = [_is_unusual(column.combine_chunks()) for column in table.columns]
    for record, is_unusual in zip(records, np.any(columns, axis=0), strict=True):
        if is_unusual:
            text = json.dumps(to_dict(record), ensure_ascii=False, separators=(",", ":"))
            yield text.encode()
        else:
            yield encoder.encode(record)


def _is_unusual(values: pa.Array) -> np.ndarray:
    """Which values are or hold a number outside of `SMALLEST` to `LARGEST`: (n,) bool."""
    kind = values.type
    if pa.types.is_floating(kind):
        sizes = np.abs(values.fill_null(0.0).to_numpy(zero_copy_only=False))
        is_usual = (sizes == 0) | ((sizes >= SMALLEST) & (sizes < LARGEST))
        # NaN is not usual.
        return np.logical_not(is_usual)
    if pa.types.is_struct(kind):
        return np.any([_is_unusual(member) for member in values.flatten()], axis=0)
    if pa.types.is_list(kind) or pa.types.is_fixed_size_list(kind):
        holders = pc.list_parent_indices(values).to_numpy()
        is_unusual = np.zeros(len(values), bool)
        is_unusual[holders[_is_unusual(values.flatten())]] = True
        return is_unusual
    return np.zeros(len(values), bool)
