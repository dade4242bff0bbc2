"""`fld release verify` names the file and the sample of whatever somebody has changed."""

from __future__ import annotations

import hashlib
import io
import json
import re
import shutil
import tarfile
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pyarrow as pa
import pyarrow.parquet as pq
import pytest

from pipeline.cli import main
from pipeline.release.verify import _differences, verify
from tests.pipeline.release.rounds import released


@pytest.fixture(scope="module")
def whole(labelled: Path, tmp_path_factory: pytest.TempPathFactory) -> Path:
    work = shutil.copytree(labelled, tmp_path_factory.mktemp("whole") / "work")
    return released(Path(work), "splits.test=0.5")


@pytest.fixture
def release(whole: Path, tmp_path: Path) -> Path:
    """A release by itself, without its work folder."""
    return Path(shutil.copytree(whole, tmp_path / "release"))


def found(release: Path) -> list[str]:
    return [finding.line for finding in verify(str(release), lambda done, total: None).findings]


def sign(release: Path) -> None:
    """Write the checksums anew, as somebody would who wants to hide a change."""
    lines = []
    for path in sorted(release.rglob("*")):
        name = path.relative_to(release).as_posix()
        if path.is_file() and name != "SHA256SUMS":
            lines.append(f"{hashlib.sha256(path.read_bytes()).hexdigest()}  {name}\n")
    (release / "SHA256SUMS").write_text("".join(lines))


def first(release: Path, part: str, suffix: str = ".parquet") -> tuple[Path, str]:
    """(path, name in the release) of the first file of a part."""
    path = min(path for path in (release / part).rglob(f"*{suffix}"))
    return path, path.relative_to(release).as_posix()


def change_rows(path: Path, change: Callable[[list[dict[str, Any]]], object]) -> None:
    table = pq.read_table(path)
    rows = table.to_pylist()
    change(rows)
    pq.write_table(pa.Table.from_pylist(rows, schema=table.schema), path)


def rewrite_tar(path: Path, change: Callable[[str, bytes], bytes | None]) -> None:
    """Write a tar again with each member as `change` returns it; None leaves it out."""
    written = io.BytesIO()
    with tarfile.open(path) as old, tarfile.open(fileobj=written, mode="w") as new:
        for info in old:
            member = old.extractfile(info)
            assert member is not None
            data = change(info.name, member.read())
            if data is not None:
                info.size = len(data)
                new.addfile(info, io.BytesIO(data))
    path.write_bytes(written.getvalue())


def test_a_release_as_it_was_made_is_whole(
    release: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    assert main(["release", "verify", str(release)]) == 0
    assert capsys.readouterr().out == "no problems: 45 files, 18 samples, 90 annotations\n"


def test_a_byte_in_an_image_is_named_with_tar_and_key(
    release: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    path, name = first(release, "shards", ".tar")
    data = bytearray(path.read_bytes())
    data[5000] ^= 1
    path.write_bytes(data)
    with tarfile.open(path) as tar:
        key = tar.getnames()[0].partition(".")[0]
    assert main(["release", "verify", str(release)]) == 1
    assert capsys.readouterr().out.splitlines() == [
        f"{name}: its sha256 is not that of SHA256SUMS",
        f"{name}: {key}: the image has another sha256 than its record",
        "2 problems: 45 files, 18 samples, 90 annotations",
        f"damaged: {name}; get these files again from where the release came from, or build it "
        "again; other problems may follow from them",
    ]


def test_a_byte_in_a_header_of_a_tar_is_no_crash(release: Path) -> None:
    path, name = first(release, "shards", ".tar")
    data = bytearray(path.read_bytes())
    data[100] ^= 0xFF
    path.write_bytes(data)
    lines = found(release)
    assert lines[0] == f"{name}: its sha256 is not that of SHA256SUMS"
    assert any(line.startswith(f"{name}: cannot be read to its end") for line in lines)


def test_a_count_in_the_card_is_named_with_the_right_one(release: Path) -> None:
    card = release / "README.md"
    text = card.read_text()
    assert "| train | 9 | 9 | 18 | 9 | 9 |" in text
    card.write_text(text.replace("| train | 9 | 9 | 18 |", "| train | 9 | 9 | 19 |"))
    sign(release)
    assert found(release) == [
        "README.md: a recount gives `| train | 9 | 9 | 18 | 9 | 9 |`, "
        "not `| train | 9 | 9 | 19 | 9 | 9 |`"
    ]


def test_a_card_that_says_in_another_way_how_to_read_it_is_right(release: Path) -> None:
    card = release / "README.md"
    text = card.read_text()
    lines = text.partition("```python\n")[2].partition("```")[0]
    card.write_text(text.replace(lines, "import datasets\n"))
    sign(release)
    assert found(release) == []


def test_lines_that_somebody_adds_to_the_card_are_welcome(release: Path) -> None:
    card = release / "README.md"
    card.write_text(f"{card.read_text()}\n## Thanks\n\nTo all who helped.\n")
    sign(release)
    assert found(release) == []


@pytest.mark.parametrize("file", ["statistics.json", "croissant.json"])
def test_counts_in_the_metadata_are_named(release: Path, file: str) -> None:
    path = release / file
    value = json.loads(path.read_text())
    if file == "statistics.json":
        value["splits"]["test"]["samples"] += 1
    else:
        value["rai:annotationsPerItem"] = "7.0"
    path.write_text(json.dumps(value))
    sign(release)
    expected = {
        "statistics.json": "splits.test.samples is 10, a recount gives 9",
        "croissant.json": "rai:annotationsPerItem is 7.0, a recount gives 5.0",
    }
    assert found(release) == [f"{file}: {expected[file]}"]


def test_the_last_digits_of_a_mean_are_no_difference() -> None:
    # Two versions of this package counted these means of the same labels.
    earlier, later = {"mean": 2.9859649122807017}, {"mean": 2.9859649122807146}
    assert list(_differences(earlier, later, "")) == []
    assert list(_differences({"mean": 2.985}, later, "")) == [("mean", 2.985, later["mean"])]


def test_a_box_moved_outside_is_named_in_the_table(release: Path) -> None:
    path, name = first(release, "annotations")

    def move(rows: list[dict[str, Any]]) -> None:
        rows[1]["box"] = [150.0, 30.0, 250.0, 130.0]

    key = pq.read_table(path).to_pylist()[1]["key"]
    change_rows(path, move)
    sign(release)
    start = f"{name}: {key}: 0.detect.regions.0:"
    assert found(release) == [
        f"{start} its box (150, 30, 250, 130) is not inside the image of 192 x 192",
        f"{start} box is [150.0, 30.0, 250.0, 130.0], in the tar [20.0, 30.0, 120.0, 130.0]",
    ]


CIRCLE = '[20.0,30.0,120.0,%s],"phrase":"circle"'


@pytest.mark.parametrize(
    ("old", "new", "problem"),
    [
        (
            CIRCLE % "130.0",
            CIRCLE % "230.0",
            "0.detect.regions.0: its box (20, 30, 120, 230) is not inside the image of 192 x 192",
        ),
        ('"start":0', '"start":1', "0.ground.triplets.0: span not in text"),
        ('"counts":"', '"counts":"~', "0.detect.regions.0: bad mask"),
        (
            '"0.detect.regions.1"',
            '"0.detect.regions.0"',
            "0.detect.regions.0: another annotation has its id",
        ),
    ],
)
def test_labels_that_are_wrong_in_the_tar_are_named(
    release: Path, old: str, new: str, problem: str
) -> None:
    path, name = first(release, "shards", ".tar")
    keys = []

    def change(member: str, data: bytes) -> bytes:
        if not member.endswith(".json") or keys:
            return data
        keys.append(member.partition(".")[0])
        assert old.encode() in data
        return data.replace(old.encode(), new.encode(), 1)

    rewrite_tar(path, change)
    sign(release)
    assert f"{name}: {keys[0]}: {problem}" in found(release)


def lines_of(release: Path, capsys: pytest.CaptureFixture[str]) -> list[str]:
    """The lines of `fld release verify`."""
    assert main(["release", "verify", str(release)]) == 1
    return capsys.readouterr().out.splitlines()


NOT_RECOUNTED = (
    "not compared with a recount, as something that is counted cannot be read: card, statistics, "
    "croissant.json"
)


def test_a_record_that_cannot_be_read_is_named_once(
    release: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    path, name = first(release, "shards", ".tar")
    data = path.read_bytes()
    key = re.findall(rb'"key":"(\w+)"', data)[0].decode()
    path.write_bytes(data.replace(b'"key":', b'"k\xffy":', 1))
    sums, broken, count, recount, damaged = lines_of(release, capsys)
    assert sums == f"{name}: its sha256 is not that of SHA256SUMS"
    assert broken.startswith(f"{name}: {key}: its record is broken: ")
    assert (count.partition(":")[0], recount) == ("2 problems", NOT_RECOUNTED)
    assert damaged.startswith(f"damaged: {name}; get these files again")


@pytest.mark.parametrize("part", ["index", "annotations", "objects", "lineage", "flags", "removed"])
def test_a_table_that_cannot_be_read_is_named_once(
    release: Path, part: str, capsys: pytest.CaptureFixture[str]
) -> None:
    path, name = first(release, part)
    path.write_bytes(path.read_bytes()[:-9])
    sums, broken, count, recount, _ = lines_of(release, capsys)
    assert sums == f"{name}: its sha256 is not that of SHA256SUMS"
    assert broken.startswith(f"{name}: unreadable: ")
    assert (count.partition(":")[0], recount) == ("2 problems", NOT_RECOUNTED)


def test_a_tar_that_is_cut_short_is_named_once(
    release: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    path, name = first(release, "shards", ".tar")
    data = path.read_bytes()
    # The end of the first image is gone, and all samples behind it.
    path.write_bytes(data[:4000])
    sums, broken, count, recount, _ = lines_of(release, capsys)
    assert sums == f"{name}: its sha256 is not that of SHA256SUMS"
    assert f"{name}: " in broken and "cannot be read to its end" in broken
    assert (count.partition(":")[0], recount) == ("2 problems", NOT_RECOUNTED)


def test_facts_that_cannot_be_read_are_named_once(
    release: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    (release / "release.json").write_text('{"name": "x"}')
    sums, broken, count, recount, _ = lines_of(release, capsys)
    assert sums == "release.json: its sha256 is not that of SHA256SUMS"
    assert broken.startswith("release.json: unreadable: ")
    assert (count.partition(":")[0], recount) == ("2 problems", NOT_RECOUNTED)


def test_a_line_removed_from_the_checksums_is_named(release: Path) -> None:
    path = release / "SHA256SUMS"
    lines = path.read_text().splitlines(keepends=True)
    name = lines.pop(12).split()[1]
    path.write_text("".join(lines))
    assert found(release) == [f"SHA256SUMS: has no line for {name}"]


def test_files_that_are_gone_or_new_are_named(release: Path) -> None:
    path, name = first(release, "objects")
    path.unlink()
    (release / "index/train/shard-000009.parquet").write_bytes(b"PAR1")
    lines = found(release)
    assert f"{name}: is missing, but SHA256SUMS lists it" in lines
    assert "SHA256SUMS: has no line for index/train/shard-000009.parquet" in lines
    assert "shards/train/shard-000009.tar: cannot be read to its end" in " ".join(lines)


def test_a_sample_that_is_gone_from_a_tar_is_named(release: Path) -> None:
    path, name = first(release, "shards", ".tar")
    with tarfile.open(path) as tar:
        key = tar.getnames()[0].partition(".")[0]
    rewrite_tar(path, lambda member, data: None if member.startswith(f"{key}.") else data)
    sign(release)
    lines = found(release)
    assert f"{name}: {key}: the sample is missing" in lines
    assert any(line.startswith("README.md: a recount gives") for line in lines)


def test_a_sample_in_two_splits_is_named(release: Path) -> None:
    """Somebody copies a whole shard from one split to the other."""
    for part in ("shards", "index", "annotations", "objects", "lineage"):
        path, name = first(release, part, "")
        path = min(path for path in (release / part / "test").iterdir())
        target = release / part / "train" / f"shard-000007{path.suffix}"
        shutil.copy(path, target)
    sign(release)
    _, name = first(release, "index/test")
    lines = found(release)
    assert any(line.endswith(f"its key is in {name}, too") for line in lines)


def test_columns_of_another_type_are_named(release: Path) -> None:
    path, name = first(release, "annotations")
    table = pq.read_table(path)
    pq.write_table(table.drop_columns(["mask"]), path)
    sign(release)
    assert found(release)[0].startswith(f"{name}: has other columns than key, id, type")


def test_an_annotation_without_lineage_is_named(release: Path) -> None:
    path, name = first(release, "lineage")
    row = pq.read_table(path).to_pylist()[0]
    change_rows(path, lambda rows: rows.pop(0))
    sign(release)
    assert found(release) == [
        f"{name}: {row['key']}: {row['id']}: no row for this annotation",
    ]


def test_no_release_is_a_mistake_of_the_user(
    tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    assert main(["release", "verify", str(tmp_path)]) == 2
    assert capsys.readouterr().err == (
        f"fld: error: {tmp_path}: no release there; give the folder of `fld release build`\n"
    )
