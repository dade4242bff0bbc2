"""The JSON of records and their Arrow table, compared with what Python and Arrow make of them."""

import json
import math

import numpy as np
import pyarrow as pa
import pytest

from pipeline.schema import Annotations, Candidate, Mask, Record, Region, Text, Triplet
from pipeline.storage.arrow import arrow_schema, from_table, to_dict, to_table
from pipeline.storage.record_json import encode_records

BOX = (0.0, 1.5, 10.25, 480.0)


def record(key: str, **fields: object) -> Record:
    """A record with one region of these fields."""
    region = Region(**{"id": "r", "box": BOX, "phrase": "cup", **fields})
    labels = Annotations(regions=[region])
    return Record(key=key, name=key, width=640, height=480, sha256="", annotations=labels)


def by_python(value: Record) -> bytes:
    text = json.dumps(to_dict(value), ensure_ascii=False, separators=(",", ":"))
    return text.encode()


@pytest.mark.parametrize(
    "number",
    [0.0, -0.0, 1e-4, 9.9e-5, -1e-5, 1.5e-7, 5e-324, 0.1 + 0.2, 1e15, 1e16, -1e22, math.inf],
)
def test_every_number_is_written_as_python_writes_it(number: float) -> None:
    records = [
        record("plain", score=0.5),
        record("score", score=number),
        record("box", box=(0.0, 0.0, number, 1.0)),
        record("candidate", candidates=[Candidate(text="a", kind="phrase", score=number)]),
        record("outline", mask=Mask(size=(1, 1), counts="0", polygons=((1.0, number, 2.0),))),
        record("none"),
    ]
    table = to_table(Record, records)
    assert list(encode_records(records, table)) == [by_python(value) for value in records]


def test_what_is_not_a_number_is_written_as_python_writes_it() -> None:
    records = [record("a", support=math.nan), record("b", support=-0.5)]
    encoded = list(encode_records(records, to_table(Record, records)))
    assert encoded == [by_python(value) for value in records]
    assert b'"support":NaN' in encoded[0]


def test_words_are_written_as_python_writes_them() -> None:
    words = "".join(map(chr, range(0x20))) + '"\\/\x7f caf\u00e9 \u2028 \U0001f600'
    records = [record("a", phrase=words)]
    assert list(encode_records(records, to_table(Record, records))) == [by_python(records[0])]


def test_a_table_is_that_which_arrow_makes_of_dicts() -> None:
    triplet = Triplet(id="t", text_id="x", phrase="a cup", start=0, end=5, box=BOX)
    text = Text(id="x", granularity="brief", text="a cup", parents=["r", "s"])
    records = [
        record("a", mask=Mask(size=(4, 5), counts="abc"), score=np.float32(0.1)),
        record("b", score=1, candidates=[Candidate(text="a", kind="chunk")]),
        Record(
            key="c",
            name="c",
            width=1,
            height=1,
            sha256="",
            annotations=Annotations(texts=[text], triplets=[triplet, triplet]),
        ),
        Record(key="d", name="d", width=1, height=1, sha256=""),
    ]
    table = to_table(Record, records)
    dicts = [to_dict(value) for value in records]
    assert table.equals(pa.Table.from_pylist(dicts, schema=arrow_schema(Record)))
    assert table.schema.metadata == arrow_schema(Record).metadata
    assert from_table(Record, table)[2:] == records[2:]
    assert to_table(Record, []).num_rows == 0
