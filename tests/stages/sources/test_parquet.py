from pathlib import Path
from typing import Any

import pyarrow as pa
import pyarrow.parquet as pq
import pytest

from stages.sources import parquet
from stages.sources.parquet import ParquetConfig, ParquetSource
from tests.stages.sources.forms import broken_string, pictures, write_parquet


def source(path: Path, **settings: Any) -> ParquetSource:
    return ParquetSource(ParquetConfig(path=str(path), **settings))


def test_a_row_group_of_the_datasets_layout_is_read_by_itself(tmp_path: Path) -> None:
    images = pictures(5)
    texts = {"000000000002.jpg": ["A dog.", "A dog.", "One more."]}
    write_parquet(tmp_path / "train-0.parquet", images, 2, texts)
    found = source(tmp_path)
    assert found.whole and found.list() == [
        "train-0.parquet#0",
        "train-0.parquet#1",
        "train-0.parquet#2",
    ]
    first, second = found.read(["train-0.parquet#1"])
    assert [first.name, second.name] == ["train-0.parquet/2", "train-0.parquet/3"]
    assert first.data == images["000000000002.jpg"] and first.key is None
    assert [t.text for t in first.given.texts] == ["A dog.", "One more."]
    assert [item.data for item in found.read(found.list())] == list(images.values())


def test_keys_come_from_a_column_or_an_entry_of_one(tmp_path: Path) -> None:
    write_parquet(tmp_path / "a.parquet", pictures(1), 1)
    assert [item.key for item in source(tmp_path, key="image.path").read(["a.parquet#0"])] == [
        "000000000000.jpg"
    ]
    pq.write_table(pa.table({"jpg": [b"1"], "id": [17]}), tmp_path / "b.parquet")
    (item,) = source(tmp_path, key="id", image="jpg").read(["b.parquet#0"])
    assert (item.key, item.data) == ("17.jpg", b"1")


def test_rows_without_bytes_have_a_reason(tmp_path: Path) -> None:
    image = [{"bytes": None, "path": "a.jpg"}, None, {"bytes": b"i", "path": None}]
    pq.write_table(pa.table({"image": image}), tmp_path / "a.parquet")
    found = list(source(tmp_path).read(["a.parquet#0"]))
    assert [item.failed.reason if item.failed else None for item in found] == [
        "no_image",
        "no_image",
        None,
    ]
    pq.write_table(pa.table({"URL": ["http://x"] * 40, "TEXT": ["a"] * 40}), tmp_path / "b.parquet")
    urls = list(source(tmp_path, texts=["TEXT"]).read(["b.parquet#0"]))
    assert len(urls) == 40 and {item.failed.detail for item in urls if item.failed} == {
        "column image is not there; set source.image"
    }


def test_a_broken_file_is_a_row_beside_the_others(tmp_path: Path) -> None:
    write_parquet(tmp_path / "b.parquet", pictures(2), 2)
    data = (tmp_path / "b.parquet").read_bytes()
    (tmp_path / "a.parquet").write_bytes(data[:-200])
    (tmp_path / "c.parquet").write_bytes(b"")
    found = source(tmp_path)
    names = found.list()
    assert names == ["a.parquet#?", "b.parquet#0", "c.parquet#?"]
    told = [(item.name, item.failed.reason if item.failed else None) for item in found.read(names)]
    assert told == [
        ("a.parquet#?", "not_parquet"),
        ("b.parquet/0", None),
        ("b.parquet/1", None),
        ("c.parquet#?", "not_parquet"),
    ]


def test_a_page_that_is_destroyed_costs_its_row_group(tmp_path: Path) -> None:
    write_parquet(tmp_path / "a.parquet", pictures(4), 2)
    data = bytearray((tmp_path / "a.parquet").read_bytes())
    start = pq.ParquetFile(tmp_path / "a.parquet").metadata.row_group(0).column(0).data_page_offset
    data[start : start + 40] = b"\xff" * 40
    (tmp_path / "a.parquet").write_bytes(bytes(data))
    found = list(source(tmp_path).read(["a.parquet#0", "a.parquet#1"]))
    assert [item.failed is None for item in found] == [False, True, True]


def test_a_text_that_is_no_utf8_costs_its_letters_and_not_its_row_group(tmp_path: Path) -> None:
    table = pa.table({"image": [b"i"], "caption": broken_string(b"a dog \xff")})
    pq.write_table(table, tmp_path / "a.parquet")
    (item,) = source(tmp_path).read(["a.parquet#0"])
    assert item.data == b"i" and [text.text for text in item.given.texts] == ["a dog \ufffd"]


def test_texts_come_from_every_kind_of_string_column(tmp_path: Path) -> None:
    texts = pa.array(["one", None]).dictionary_encode()
    lists = pa.array([["two", "three"], None], pa.large_list(pa.large_string()))
    pq.write_table(
        pa.table({"image": [b"1", b"2"], "caption": texts, "alt": lists}), tmp_path / "a.parquet"
    )
    first, second = source(tmp_path).read(["a.parquet#0"])
    assert [text.text for text in first.given.texts] == ["one", "two", "three"]
    assert second.given.texts == []


def test_one_row_is_in_memory_at_once(tmp_path: Path) -> None:
    image = pa.array([bytes(8 << 20)] * 12)
    pages = {"use_dictionary": False, "write_batch_size": 1, "data_page_size": 1}
    pq.write_table(pa.table({"image": image}), tmp_path / "a.parquet", **pages)
    del image
    before, peak = pa.total_allocated_bytes(), 0
    for _ in source(tmp_path).read(["a.parquet#0"]):
        peak = max(peak, pa.total_allocated_bytes() - before)
    assert peak < 40 << 20


def test_a_row_group_that_unpacks_to_far_more_than_images_would_is_refused(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(parquet, "MAX_BYTES", 1 << 20)
    table = pa.table({"image": [bytes(600_000), bytes(600_000), b"x"]})
    pq.write_table(
        table, tmp_path / "a.parquet", row_group_size=2, compression="zstd", use_dictionary=False
    )
    first, second = source(tmp_path).read(["a.parquet#0", "a.parquet#1"])
    assert first.failed and first.failed.reason == "file_too_large" and second.data == b"x"


def texts(folder: Path, *names: str) -> list[list[str]]:
    found = source(folder, texts=names)
    return [[text.text for text in item.given.texts] for item in found.read(found.list())]


def write(file: Path, **columns: Any) -> None:
    pq.write_table(pa.table({"image": [b"1"], **columns}), file)


def test_texts_lie_in_structs_and_in_lists_of_them(tmp_path: Path) -> None:
    write(
        tmp_path / "a.parquet",
        meta=[{"caption": "one", "all": [{"raw": "two"}, {"raw": "three"}]}],
        **{"a.b": ["four"]},
    )
    assert texts(tmp_path, "meta.caption", "meta.all.raw", "a.b") == [
        ["one", "two", "three", "four"]
    ]


@pytest.mark.parametrize(
    ("settings", "message"),
    [
        ({"texts": ("promt",)}, "source.texts=promt: there is no such column; did you mean prompt"),
        ({"texts": ("Prompt",)}, "did you mean prompt"),
        ({"texts": ("meta.captoin",)}, "did you mean meta.caption"),
        ({"texts": ("prompt.x",)}, "there is no such column"),
        (
            {"texts": ("label",)},
            "source.texts=label: the column is of type int64 and gives no text; there are",
        ),
        ({"texts": ("bin",)}, "the column is of type binary and gives no text"),
        ({"texts": ("meta",)}, "the column is of type struct<caption: string> and gives no text"),
        ({"image": "img"}, "source.image=img: there is no such column; did you mean image"),
        ({"image": "prompt"}, "the column is of type string and holds no bytes"),
        ({"key": "id"}, "source.key=id: there is no such column"),
        ({"key": "meta"}, "the column is of type struct<caption: string> and is no name"),
    ],
)
def test_a_column_that_cannot_serve_is_refused_with_the_nearest_that_can(
    tmp_path: Path, settings: dict[str, Any], message: str
) -> None:
    write(
        tmp_path / "a.parquet",
        prompt=["a red box"],
        meta=[{"caption": "a red box"}],
        label=[0],
        bin=[b"a red box"],
    )
    with pytest.raises(ValueError, match=message):
        source(tmp_path, **settings).list()


def test_the_default_column_of_images_is_refused_too_but_not_those_of_texts(
    tmp_path: Path,
) -> None:
    pq.write_table(pa.table({"jpg": [b"1"], "url": ["a"]}), tmp_path / "a.parquet")
    with pytest.raises(ValueError, match=r"image=image: there is no such column; .* jpg"):
        source(tmp_path).list()
    assert source(tmp_path, image="jpg").list() == ["a.parquet#0"]


def test_what_only_some_files_lack_is_a_warning_with_their_number(
    tmp_path: Path, caplog: pytest.LogCaptureFixture
) -> None:
    write(tmp_path / "a.parquet", prompt=["one"], caption=["two"])
    write(tmp_path / "b.parquet", prompt=[7], caption=[1.5])
    pq.write_table(pa.table({"prompt": ["three"]}), tmp_path / "c.parquet")
    assert texts(tmp_path, "prompt") == [["one"], [], []]
    source(tmp_path).list()
    where = f"files of source.path={tmp_path}: "
    assert caplog.messages == [
        f"source.image=image: in 1 of 3 {where}there is no such column",
        f"source.texts=prompt: in 1 of 3 {where}the column is of type int64 and gives no text",
        f"source.image=image: in 1 of 3 {where}there is no such column",
        f"source.texts=caption: in 1 of 3 {where}the column is of type double and gives no text",
    ]


def test_a_time_that_python_cannot_hold_is_a_key_like_others(tmp_path: Path) -> None:
    write(tmp_path / "a.parquet", id=pa.array([10**17], pa.timestamp("ms")))
    (item,) = source(tmp_path, key="id").read(["a.parquet#0"])
    assert item.failed is None and item.key is not None


def test_rows_that_end_before_the_footer_says_so_are_told(tmp_path: Path) -> None:
    """A page of an unknown type ends the reading of its column, and Arrow says nothing."""
    options: dict[str, Any] = {"compression": "none", "use_dictionary": False}
    pq.write_table(pa.table({"image": [b"1", b"2"]}), tmp_path / "a.parquet", **options)
    data = bytearray((tmp_path / "a.parquet").read_bytes())
    data[5] = 1
    (tmp_path / "a.parquet").write_bytes(bytes(data))
    (item,) = source(tmp_path).read(["a.parquet#0"])
    assert item.failed is not None
    assert (item.failed.reason, item.failed.detail) == ("not_parquet", "0 of 2 rows could be read")
