"""The JSON of records and their Arrow table, compared with what Python and Arrow make of them."""

import json
import math

import numpy as np
import pyarrow as pa
import pytest

from pipeline.rows import Failure, Record, Row
from pipeline.schema import Annotations, Candidate, Mask, NounPhrase, Parse, Region, Text, Triplet
from pipeline.storage.arrow import arrow_schema, from_dict, from_table, to_dict, to_table
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


def varied_records() -> list[Record]:
    """Records with every kind of value that a field may have: none, one, several, within others."""
    parse = Parse(
        tokens=2,
        objects=["cup"],
        attributes=[],
        actions=[],
        proper_nouns=[],
        object_complexity=1,
        action_complexity=0,
        object_complexity_mean=1.0,
        action_complexity_mean=0.0,
        noun_phrases=[NounPhrase(text="a cup", start=0, end=5)],
    )
    texts = [Text(granularity="brief", text="a cup", parse=parse), Text(granularity="alt", text="")]
    outlined = Mask(size=(4, 5), counts="abc", polygons=((1.0, 2.0, 3.0), (4.0,)))
    return [
        record("none"),
        record("mask", mask=outlined, candidates=[Candidate(text="a", kind="chunk")]),
        Record(key="bare", name="bare", width=1, height=1, sha256="", transform="rotated"),
        Record(
            key="texts",
            name="texts",
            width=1,
            height=1,
            sha256="",
            failures=[Failure(stage="detect", reason="error"), Failure(stage="ocr", reason="no")],
            annotations=Annotations(texts=texts),
        ),
        record("plain mask", mask=Mask(size=(4, 5), counts="abc"), parents=["a", "b"]),
    ]


def test_the_records_of_a_table_are_those_of_its_rows() -> None:
    records = varied_records()
    table = to_table(Record, records)
    found = from_table(Record, table)
    assert found == records
    assert found == [from_dict(Record, row) for row in table.to_pylist()]
    assert found[0].annotations.regions[0].box == BOX


def test_a_part_of_a_table_and_one_in_several_pieces_are_read_as_well() -> None:
    records = varied_records()
    table = to_table(Record, records)
    assert from_table(Record, table.slice(1, 3)) == records[1:4]
    assert from_table(Record, table.take([4, 1])) == [records[4], records[1]]
    assert from_table(Record, pa.concat_tables([table, table.slice(3)])) == records + records[3:]
    assert from_table(Record, table.slice(0, 0)) == []


def test_a_column_that_an_older_table_lacks_has_the_default() -> None:
    table = to_table(Record, [record("a")]).drop_columns(["transform", "failures"])
    first, second = from_table(Record, pa.concat_tables([table, table]))
    assert first == record("a")
    assert first.failures is not second.failures


@pytest.mark.parametrize(
    ("name", "value"),
    [("key", None), ("width", "x"), ("annotations", None), ("annotations", "x"), ("failures", "x")],
    ids=["no key", "no number", "no annotations", "no record", "no list"],
)
def test_a_value_of_another_type_is_refused(name: str, value: object) -> None:
    table = to_table(Record, [record("a")])
    place = table.schema.get_field_index(name)
    kind = pa.string() if value else table.schema.field(name).type
    broken = table.set_column(place, name, pa.array([value], kind))
    with pytest.raises(ValueError):
        from_table(Record, broken)


def test_a_column_that_must_be_there_and_a_word_that_no_field_takes_are_refused() -> None:
    with pytest.raises(ValueError, match="no column key"):
        from_table(Record, to_table(Record, [record("a")]).drop_columns(["key"]))
    odd = Text(granularity="poetic", text="")  # type: ignore[arg-type]
    rows = [Row(key="a", annotations=Annotations(texts=[odd]))]
    with pytest.raises(ValueError, match="poetic"):
        from_table(Row, to_table(Row, rows))
