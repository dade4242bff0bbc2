import io
import json
from pathlib import Path

import pyarrow as pa
import pyarrow.parquet as pq
import pytest

from pipeline.cli import main

TEXTS = ["A small dog runs on the green grass.", "IMG 0042", ""]


@pytest.fixture
def table(tmp_path: Path) -> str:
    pq.write_table(pa.table({"TEXT": [*TEXTS[:2], None]}), tmp_path / "alt.parquet")
    return str(tmp_path / "alt.parquet")


def test_each_text_has_the_reason_why_the_filter_drops_it(
    table: str, capsys: pytest.CaptureFixture[str]
) -> None:
    assert main(["parse", table, "--column", "TEXT", "--filter", "alt"]) == 0
    out, err = capsys.readouterr()
    lines = [json.loads(line) for line in out.splitlines()]
    assert [(line["text"], line["dropped"]) for line in lines] == [
        (TEXTS[0], None),
        (TEXTS[1], "low_object_complexity"),
        ("", "empty_text"),
    ]
    assert (
        "objects" in lines[0] and err == "3 texts: kept 1, low_object_complexity 1, empty_text 1\n"
    )


def test_limits_are_settings(table: str, capsys: pytest.CaptureFixture[str]) -> None:
    loose = ["alt.min_object_complexity=0", "alt.min_action_complexity=0"]
    assert main(["parse", table, "--column", "TEXT", "--filter", "alt", *loose]) == 0
    assert [json.loads(line)["dropped"] for line in capsys.readouterr().out.splitlines()] == [
        None,
        None,
        "empty_text",
    ]


def test_a_mistake_is_refused(table: str, capsys: pytest.CaptureFixture[str]) -> None:
    assert main(["parse", table]) == 2 and "--column caption" in capsys.readouterr().err
    assert main(["parse", table, "--column", "TEXT", "--filter", "long"]) == 2
    assert "no such granularity" in capsys.readouterr().err


def test_each_line_is_one_text_whatever_is_in_it(
    tmp_path: Path, capsys: pytest.CaptureFixture[str], monkeypatch: pytest.MonkeyPatch
) -> None:
    texts = ["a dog runs\u2028on the beach", "a red car\x0cparked", "a cat\rsleeps", "", "end"]
    data = ("\n".join(texts) + "\n").encode()
    (tmp_path / "c.txt").write_bytes(data)
    monkeypatch.setattr("sys.stdin", io.TextIOWrapper(io.BytesIO(data)))
    for file in (str(tmp_path / "c.txt"), "-"):
        assert main(["parse", file]) == 0
        lines = capsys.readouterr().out.split("\n")[:-1]
        assert [json.loads(line)["text"] for line in lines] == texts


def test_a_file_that_is_no_utf8_is_refused_with_its_line(
    tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    (tmp_path / "c.txt").write_bytes(b"one\ncaf\xe9\n")
    assert main(["parse", str(tmp_path / "c.txt")]) == 2
    assert "c.txt: line 2 is not UTF-8; convert the file" in capsys.readouterr().err
