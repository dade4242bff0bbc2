"""Generated Parquet tables: no traceback, no row lost, pictures and texts where they were put.

scripts/test --slow tests/stages/sources/test_fuzz_parquet.py
"""

import logging
from dataclasses import dataclass
from decimal import Decimal
from pathlib import Path
from typing import Any

import pyarrow as pa
import pyarrow.parquet as pq
import pytest
from hypothesis import HealthCheck, event, given, settings
from hypothesis import strategies as st

from stages.source import Item
from stages.sources.parquet import ParquetConfig, ParquetSource

pytestmark = pytest.mark.slow
FUZZ = settings(
    max_examples=300,
    deadline=None,
    database=None,
    suppress_health_check=[HealthCheck.function_scoped_fixture, HealthCheck.too_slow],
)
WORDS = st.none() | st.sampled_from(["one", "two ", "", " ", "drei\u2028", "x" * 300])
FEW = st.lists(WORDS, max_size=3)
STRUCT = pa.struct([("bytes", pa.binary()), ("path", pa.string())])
META = pa.struct([("caption", pa.string()), ("n", pa.int64())])

# Columns of texts: the type, its values, and how a value is read as texts.
TEXTS: list[tuple[pa.DataType, st.SearchStrategy[Any]]] = [
    (pa.string(), WORDS),
    (pa.large_string(), WORDS),
    (pa.string_view(), WORDS),
    (pa.dictionary(pa.int32(), pa.string()), WORDS),
    (pa.list_(pa.string()), st.none() | FEW),
    (pa.large_list(pa.large_string()), st.none() | FEW),
    (pa.list_(pa.list_(pa.string())), st.none() | st.lists(st.none() | FEW, max_size=2)),
    (pa.null(), st.none()),
]
META_VALUES = st.none() | st.fixed_dictionaries({"caption": WORDS, "n": st.integers(0, 9)})
NESTED: list[tuple[pa.DataType, st.SearchStrategy[Any]]] = [
    (META, META_VALUES),
    (pa.list_(META), st.none() | st.lists(META_VALUES, max_size=2)),
]
# Columns that give no text.
OTHERS: list[tuple[pa.DataType, st.SearchStrategy[Any]]] = [
    (pa.int64(), st.none() | st.integers(-5, 5)),
    (pa.float32(), st.none() | st.just(0.5)),
    (pa.bool_(), st.none() | st.booleans()),
    (pa.binary(), st.none() | st.binary(max_size=4)),
    (pa.timestamp("ms"), st.none() | st.integers(-(10**15), 10**15)),
    (pa.decimal128(5, 2), st.none() | st.just(Decimal("1.25"))),
    (pa.map_(pa.string(), pa.int64()), st.none() | st.just([("a", 1)])),
    (META, META_VALUES),
]
IMAGES = (
    pa.binary(),
    pa.large_binary(),
    pa.binary_view(),
    STRUCT,
    pa.dictionary(pa.int8(), pa.binary()),
)


@dataclass(frozen=True)
class Table:
    """One file, and what must come out of it."""

    columns: dict[str, pa.Array]
    rows: int
    images: list[bytes | None]
    texts: list[list[str]]
    """By row, as `caption` and `meta.caption` give them."""

    def write(self, file: Path, per_group: int) -> int:
        """Write it; returns how many row groups it has."""
        pq.write_table(pa.table(self.columns), file, row_group_size=per_group)
        return -(-self.rows // per_group)


def flat(value: Any) -> list[str]:
    if isinstance(value, list):
        return [text for member in value for text in flat(member)]
    return [value] if isinstance(value, str) else []


def expected(*values: Any) -> list[str]:
    found = [text.strip() for value in values for text in flat(value)]
    return list(dict.fromkeys(text for text in found if text))


def captions(meta: Any) -> Any:
    if isinstance(meta, list):
        return [captions(member) for member in meta]
    return None if meta is None else meta["caption"]


@st.composite
def tables(draw: st.DrawFn) -> Table:
    rows = draw(st.integers(1, 9))
    image_type = draw(st.sampled_from(IMAGES))
    images = [draw(st.none() | st.just(b"image %d" % number)) for number in range(rows)]
    values: list[Any] = list(images)
    if image_type == STRUCT:
        values = [None if image is None else {"bytes": image, "path": "p"} for image in images]
    columns = {"image": _array(values, image_type)}
    type_, one = draw(st.sampled_from(TEXTS))
    caption = draw(st.lists(one, min_size=rows, max_size=rows))
    columns["caption"] = _array(caption, type_)
    type_, one = draw(st.sampled_from(NESTED))
    meta = draw(st.lists(one, min_size=rows, max_size=rows))
    columns["meta"] = _array(meta, type_)
    for name in draw(st.lists(st.sampled_from(["x", "y.z", "id"]), unique=True)):
        type_, one = draw(st.sampled_from(OTHERS + TEXTS))
        columns[name] = _array(draw(st.lists(one, min_size=rows, max_size=rows)), type_)
    for name in draw(st.lists(st.sampled_from(["caption", "meta"]), unique=True)):
        if draw(st.integers(0, 3)) == 0:
            del columns[name]
    order = draw(st.permutations(list(columns)))
    texts = []
    for number in range(rows):
        one_caption = caption[number] if "caption" in columns else None
        one_meta = captions(meta[number]) if "meta" in columns else None
        texts.append(expected(one_caption, one_meta))
    return Table({name: columns[name] for name in order}, rows, images, texts)


def _array(values: list[Any], type_: pa.DataType) -> pa.Array:
    if isinstance(type_, pa.DictionaryType):
        return pa.array(values, type_.value_type).dictionary_encode().cast(type_)
    return pa.array(values, type_)


def read(folder: Path, **more: Any) -> list[Item]:
    config = ParquetConfig(path=str(folder), texts=("caption", "meta.caption"), **more)
    source = ParquetSource(config)
    return list(source.read(source.list()))


def emptied(folder: Path) -> Path:
    folder.mkdir(exist_ok=True)
    for file in folder.iterdir():
        file.unlink()
    return folder


@pytest.fixture(autouse=True)
def _quiet(caplog: pytest.LogCaptureFixture) -> None:
    caplog.set_level(logging.CRITICAL, logger="fld")


@FUZZ
@given(made=st.lists(tables(), min_size=1, max_size=3), per_group=st.integers(1, 5))
def test_every_row_comes_with_its_picture_and_texts(
    made: list[Table], per_group: int, tmp_path: Path
) -> None:
    folder = emptied(tmp_path / "d")
    for number, table in enumerate(made):
        table.write(folder / f"{number}.parquet", per_group)
    columns = [set(table.columns) for table in made]
    try:
        found = read(folder)
    except ValueError as error:
        # No file has one of the columns.
        assert not all(any(name in own for own in columns) for name in ("caption", "meta"))
        assert str(error).startswith("source.texts=") and "\n" not in str(error)
        event("refused")
        return
    names = [f"{i}.parquet/{row}" for i, table in enumerate(made) for row in range(table.rows)]
    assert [item.name for item in found] == names
    assert [item.data for item in found] == [image for table in made for image in table.images]
    assert [item.failed is None for item in found] == [item.data is not None for item in found]
    wanted = [texts for table in made for texts in table.texts]
    for item, texts in zip(found, wanted, strict=True):
        if item.failed:
            assert item.failed.reason == "no_image"
        else:
            assert [text.text for text in item.given.texts] == [text[:10_000] for text in texts]


@FUZZ
@given(
    table=tables(), name=st.sampled_from(["x", "y.z", "id", "caption", "meta", "meta.n", "imag"])
)
def test_any_column_serves_as_a_key_or_as_a_picture_or_is_refused_in_one_line(
    table: Table, name: str, tmp_path: Path
) -> None:
    folder = emptied(tmp_path / "d")
    table.write(folder / "a.parquet", 4)
    for setting in ("key", "image", "texts"):
        more: dict[str, Any] = {setting: (name,) if setting == "texts" else name}
        config = ParquetConfig(path=str(folder), **more)
        source = ParquetSource(config)
        try:
            names = source.list()
        except ValueError as error:
            assert str(error).startswith(f"source.{setting}={name}: "), error
            assert "\n" not in str(error)
            event(f"{setting}: refused")
            continue
        found = list(source.read(names))
        assert len(found) == table.rows
        assert all(item.failed is None or item.failed.reason == "no_image" for item in found)
        event(f"{setting}: read")


@FUZZ
@given(table=tables(), data=st.data())
def test_a_file_cut_anywhere_is_one_row_with_a_reason(
    table: Table, data: st.DataObject, tmp_path: Path
) -> None:
    folder = emptied(tmp_path / "d")
    table.write(folder / "a.parquet", 4)
    content = (folder / "a.parquet").read_bytes()
    (folder / "a.parquet").write_bytes(content[: data.draw(st.integers(0, len(content) - 1))])
    (item,) = read(folder)
    assert item.failed is not None and item.failed.reason in ("not_parquet", "unreadable")


@FUZZ
@given(table=tables(), data=st.data())
def test_a_file_with_broken_bytes_raises_nothing_and_loses_no_row_group(
    table: Table, data: st.DataObject, tmp_path: Path
) -> None:
    folder = emptied(tmp_path / "d")
    groups = table.write(folder / "a.parquet", 4)
    content = bytearray((folder / "a.parquet").read_bytes())
    # The footer says how long everything is; only its reader can refuse what is wrong there.
    footer = int.from_bytes(content[-8:-4], "little") + 8
    for _ in range(data.draw(st.integers(1, 6))):
        place = data.draw(st.integers(4, len(content) - footer - 1))
        content[place] = data.draw(st.integers(0, 255))
    (folder / "a.parquet").write_bytes(bytes(content))
    try:
        found = read(folder)
    except ValueError as error:
        assert str(error).startswith("source.")
        return
    failed = [item for item in found if item.failed and item.failed.reason != "no_image"]
    assert len(found) == table.rows or failed
    assert len(found) >= groups
