"""Images that a list of the user names do not come in."""

from __future__ import annotations

import hashlib
from pathlib import Path

import imagehash
import pytest
from PIL import Image

from pipeline.config.compose import compose
from pipeline.config.parse import parse, with_absolute_paths
from pipeline.config.run import SourceConfig
from pipeline.ingest.assignment import assign, list_source
from pipeline.ingest.failures import in_ingest
from pipeline.ingest.refused import Refused
from pipeline.ingest.shard import Ingest
from pipeline.plan.shard_state import ShardState
from pipeline.rows import ImageRow
from pipeline.storage.layout import images_tar
from pipeline.storage.lists import read_entries
from pipeline.storage.parquet import read_table
from pipeline.storage.store import Store
from stages.source import make_key
from stages.sources.folder import FolderConfig
from tests.stages.test_dedup import data, photo

SHARD = "shard-000000"


def brought_in(tmp_path: Path, lines: list[str], distance: int = 6) -> dict[str, ImageRow]:
    """The rows of a shard by name, brought in with a list of these lines."""
    listed = tmp_path / "hashes.txt"
    listed.write_text("\n".join(["# given by the hotline", "", *lines]))
    config = SourceConfig(
        use="folder",
        options=FolderConfig(path=str(tmp_path / "images")),
        refuse=(str(listed),),
        refuse_distance=distance,
    )
    store = Store(str(tmp_path / "work"))
    shards = assign(store, config, list_source(config))
    Ingest(store.url, config, shards, Refused.of(config))(SHARD, ShardState())
    rows = read_table(store, f"images/{SHARD}.parquet", ImageRow)
    return {row.name: row for row in rows}


def write(tmp_path: Path, **images: bytes) -> None:
    (tmp_path / "images").mkdir()
    for name, content in images.items():
        (tmp_path / "images" / f"{name}.png").write_bytes(content)


def sha256(content: bytes) -> str:
    return hashlib.sha256(content).hexdigest()


def test_listed_bytes_and_resized_copies_are_failed_rows_and_are_not_stored(tmp_path: Path) -> None:
    resized = data(photo(3).resize((160, 130)))
    write(
        tmp_path, equal=data(photo(1)), other=data(photo(2)), resized=resized, more=data(photo(4))
    )
    phash = str(imagehash.phash(photo(3)))
    rows = brought_in(tmp_path, [sha256(data(photo(1))).upper(), f"phash:{phash}"])
    assert {name: row.failed for name, row in rows.items()} == {
        "equal.png": "listed_hash",
        "other.png": None,
        "resized.png": "listed_hash",
        "more.png": None,
    }
    assert rows["equal.png"].detail == f"source.refuse names {sha256(data(photo(1)))}"
    assert f"source.refuse names phash:{phash}, differs in" in str(rows["resized.png"].detail)
    stored = (tmp_path / "work" / images_tar(SHARD)).read_bytes()
    assert data(photo(2)) in stored and resized not in stored
    failed = in_ingest(Store(str(tmp_path / "work")), 1)
    assert failed is not None and failed.counts["samples"]["failed"] == {"listed_hash": 2}


def test_the_sum_of_the_file_and_that_of_the_upright_picture_are_both_refused(
    tmp_path: Path,
) -> None:
    exif = Image.Exif()
    exif[0x0112] = 6
    turned = data(photo(1), "JPEG", exif=exif)
    write(tmp_path, turned=turned)
    first = brought_in(tmp_path, ["0" * 64])["turned.png"]
    assert first.failed is None and first.sha256 != first.source_sha256
    for number, checksum in enumerate((first.sha256, first.source_sha256)):
        again = tmp_path / f"again{number}"
        again.mkdir()
        write(again, turned=turned)
        assert brought_in(again, [str(checksum)])["turned.png"].failed == "listed_hash"


def test_a_name_or_key_is_refused_and_a_page_without_structure_is_not(tmp_path: Path) -> None:
    white = data(Image.new("RGB", (64, 64), "white"))
    write(tmp_path, white=white, named=data(photo(1)), keyed=data(photo(2)))
    lines = ["named.png", make_key("keyed.png"), "phash:8000000000000000"]
    rows = brought_in(tmp_path, lines)
    assert rows["named.png"].failed == rows["keyed.png"].failed == "listed_name"
    assert rows["white.png"].failed is None


def test_no_distance_refuses_the_same_hash_only(tmp_path: Path) -> None:
    bits = int(str(imagehash.phash(photo(3))), 16)
    near = f"phash:{bits ^ 0b101:016x}"
    write(tmp_path, image=data(photo(3)))
    assert brought_in(tmp_path, [near], distance=1)["image.png"].failed is None
    again = tmp_path / "again"
    again.mkdir()
    write(again, image=data(photo(3)))
    row = brought_in(again, [near], distance=2)["image.png"]
    assert row.failed == "listed_hash" and str(row.detail).endswith("differs in 2 bits")


@pytest.mark.parametrize("line", ["phash:12", "PHASH:0011223344556677", "phash:00112233445566zz"])
def test_a_broken_perceptual_hash_is_no_name(tmp_path: Path, line: str) -> None:
    (tmp_path / "list.txt").write_text(line)
    with pytest.raises(ValueError, match=f"{line}: no perceptual hash; give phash: and 16"):
        read_entries("source.refuse", [str(tmp_path / "list.txt")])


def test_one_list_may_be_given_by_its_path_which_is_saved_as_an_absolute_one(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.chdir(tmp_path)
    for name in ("a.txt", "b.txt"):
        (tmp_path / name).write_text("some key\n")
    for word, expected in (("a.txt", ["a.txt"]), ("[a.txt,b.txt]", ["a.txt", "b.txt"])):
        values = compose([f"source.refuse={word}"])
        run = parse(values)
        assert list(run.source.refuse) == expected
        saved = parse(with_absolute_paths(values, run)).source.refuse
        assert list(saved) == [str(tmp_path / name) for name in expected]
