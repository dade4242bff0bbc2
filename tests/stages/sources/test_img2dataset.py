from pathlib import Path

import pyarrow as pa
import pyarrow.parquet as pq
import pytest

from stages.sources.img2dataset import Img2DatasetConfig, Img2DatasetSource
from tests.stages.sources.forms import broken_string, pictures, write_img2dataset

FAILED = {"000000000900": "HTTP Error 404: Not Found"}


def told(folder: Path, names: list[str]) -> list[tuple[str, str | None, str | None]]:
    found = Img2DatasetSource(Img2DatasetConfig(path=str(folder))).read(names)
    return [
        (i.name, i.failed.reason if i.failed else None, i.failed.detail if i.failed else None)
        for i in found
    ]


def test_rows_that_failed_there_fail_here_with_their_message_and_keys_are_kept(
    tmp_path: Path,
) -> None:
    folder = write_img2dataset(tmp_path / "d", pictures(3), 2, FAILED)
    source = Img2DatasetSource(Img2DatasetConfig(path=str(folder)))
    assert source.list() == ["00000.tar", "00001.tar"]
    assert told(folder, ["00000.tar"])[2] == (
        "00000.tar/000000000900",
        "download_failed",
        "failed_to_download: HTTP Error 404: Not Found",
    )
    assert [item.key for item in source.read(["00000.tar"])] == [
        "000000000000.jpg",
        "000000000001.jpg",
        "000000000900.jpg",
    ]
    assert [reason for _, reason, _ in told(folder, ["00001.tar"])] == [None]


def test_a_row_that_counts_as_done_and_is_not_there_fails(tmp_path: Path) -> None:
    folder = write_img2dataset(tmp_path / "d", pictures(1), 2)
    rows = pq.read_table(folder / "00000.parquet").to_pylist()
    rows.append({**rows[0], "key": "000000000777"})
    rows.append(
        {
            **rows[0],
            "key": "000000000778",
            "status": "failed_to_resize",
            "error_message": "too wide",
        }
    )
    pq.write_table(pa.Table.from_pylist(rows), folder / "00000.parquet")
    assert [(name, reason) for name, reason, _ in told(folder, ["00000.tar"])] == [
        ("00000.tar/000000000000.jpg", None),
        ("00000.tar/000000000777", "not_in_tar"),
        ("00000.tar/000000000778", "resize_failed"),
    ]


def test_a_missing_table_is_no_fault_and_a_broken_one_a_row(tmp_path: Path) -> None:
    folder = write_img2dataset(tmp_path / "d", pictures(2), 1)
    (folder / "00000.parquet").unlink()
    (folder / "00001.parquet").write_bytes(b"PAR1 broken")
    assert [(name, reason) for name, reason, _ in told(folder, ["00000.tar", "00001.tar"])] == [
        ("00000.tar/000000000000.jpg", None),
        ("00001.tar/000000000001.jpg", None),
        ("00001.parquet", "not_parquet"),
    ]


def test_two_runs_beneath_one_folder_keep_their_keys_apart(tmp_path: Path) -> None:
    for run in ("a", "b"):
        write_img2dataset(tmp_path / "d" / run, pictures(1), 1, FAILED)
    found = list(
        Img2DatasetSource(Img2DatasetConfig(path=str(tmp_path / "d"))).read(
            ["a/00000.tar", "b/00000.tar"]
        )
    )
    assert [item.key for item in found] == [
        "a/000000000000.jpg",
        "a/000000000900.jpg",
        "b/000000000000.jpg",
        "b/000000000900.jpg",
    ]


def test_a_message_that_is_no_utf8_is_told_all_the_same(tmp_path: Path) -> None:
    folder = write_img2dataset(tmp_path / "d", pictures(1), 1)
    message = broken_string(b"HTTP \xff")
    row = {
        "key": pa.array(["9"]),
        "status": pa.array(["failed_to_download"]),
        "error_message": message,
    }
    pq.write_table(pa.table(row), folder / "00000.parquet")
    assert told(folder, ["00000.tar"])[1][2] == "failed_to_download: HTTP \ufffd"


def test_rows_of_a_table_without_a_tar_fail_each_by_itself(tmp_path: Path) -> None:
    folder = write_img2dataset(tmp_path / "d", pictures(4), 2, FAILED)
    (folder / "00000.tar").unlink()
    (folder / "._00001.tar").write_bytes(b"AppleDouble")
    pq.write_table(pa.table({"url": ["a"]}), folder / "urls.parquet")
    names = Img2DatasetSource(Img2DatasetConfig(path=str(folder))).list()
    assert names == ["00000.tar", "00001.tar"]
    assert [(name, reason) for name, reason, _ in told(folder, names)] == [
        ("00000.tar/000000000000", "not_in_tar"),
        ("00000.tar/000000000001", "not_in_tar"),
        ("00000.tar/000000000900", "download_failed"),
        ("00001.tar/000000000002.jpg", None),
        ("00001.tar/000000000003.jpg", None),
    ]


def test_a_tar_that_comes_later_is_the_same_shard(tmp_path: Path) -> None:
    folder = write_img2dataset(tmp_path / "d", pictures(4), 2)
    data = (folder / "00000.tar").read_bytes()
    (folder / "00000.tar").unlink()
    before = Img2DatasetSource(Img2DatasetConfig(path=str(folder))).list()
    (folder / "00000.tar").write_bytes(data)
    assert Img2DatasetSource(Img2DatasetConfig(path=str(folder))).list() == before
    assert [reason for _, reason, _ in told(folder, ["00000.tar"])] == [None, None]


def test_tars_without_a_table_among_others_are_a_warning(
    tmp_path: Path, caplog: pytest.LogCaptureFixture
) -> None:
    folder = write_img2dataset(tmp_path / "d", pictures(3), 1)
    (folder / "00001.parquet").unlink()
    Img2DatasetSource(Img2DatasetConfig(path=str(folder))).list()
    assert "1 of 3 tars have no table beside them" in caplog.text and "00001.tar" in caplog.text


def test_tables_alone_are_refused(tmp_path: Path) -> None:
    folder = write_img2dataset(tmp_path / "d", pictures(1), 1)
    (folder / "00000.tar").unlink()
    with pytest.raises(ValueError, match="only tables are in it, and no tars; use source=parquet"):
        Img2DatasetSource(Img2DatasetConfig(path=str(folder))).list()


def test_a_row_without_a_key_or_a_status_is_told(tmp_path: Path) -> None:
    folder = write_img2dataset(tmp_path / "d", pictures(1), 1)
    pq.write_table(pa.table({"key": [None, "8", "000000000000"]}), folder / "00000.parquet")
    assert [(name, reason) for name, reason, _ in told(folder, ["00000.tar"])][1:] == [
        ("00000.parquet/0", "no_key"),
        ("00000.tar/8", "not_in_tar"),
    ]
    pq.write_table(pa.table({"url": ["a"]}), folder / "00000.parquet")
    assert told(folder, ["00000.tar"])[1][:2] == ("00000.parquet", "no_key")
