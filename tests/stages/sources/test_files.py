import os
import threading
from pathlib import Path

import fsspec
import pytest

from pipeline.storage import layout, layout_journal
from stages.base import SampleError
from stages.sources import files
from stages.sources.files import Files, ahead, printable, unprintable
from stages.sources.folder import FolderConfig, FolderSource


def test_a_folder_lists_images_at_any_depth_and_no_hidden_files(tmp_path: Path) -> None:
    for name in (
        "b.JPG",
        "a/c/d.png",
        "a/.hidden.jpg",
        ".git/x.jpg",
        "notes.txt",
        "a, b\u00e9.jpg",
    ):
        (tmp_path / name).parent.mkdir(parents=True, exist_ok=True)
        (tmp_path / name).write_bytes(name.encode())
    source = FolderSource(FolderConfig(path=str(tmp_path)))
    assert source.list() == ["a, b\u00e9.jpg", "a/c/d.png", "b.JPG"]
    assert [(item.name, item.data) for item in source.read(["b.JPG"])] == [("b.JPG", b"b.JPG")]


def test_any_fsspec_url_is_a_folder() -> None:
    store = fsspec.filesystem("memory")
    store.pipe({"/bucket/b.jpg": b"2", "/bucket/a/c.png": b"1"})
    source = FolderSource(FolderConfig(path="memory://bucket"))
    assert source.list() == ["a/c.png", "b.jpg"]
    items = list(source.read(["b.jpg", "gone.jpg", "a/c.png"]))
    assert [item.data for item in items] == [b"2", None, b"1"]
    assert items[1].failed and items[1].failed.reason == "unreadable"
    store.rm("/bucket", recursive=True)


def test_a_single_file_is_a_source_of_one(tmp_path: Path) -> None:
    (tmp_path / "a.tar").write_bytes(b"1")
    (tmp_path / "b.tar").write_bytes(b"2")
    one = Files(str(tmp_path / "b.tar"), (".tar",))
    assert one.list() == ["b.tar"] and one.fetch("b.tar") == b"2"


def test_a_name_that_is_no_utf8_is_spelled_out_and_found_again(tmp_path: Path) -> None:
    path = os.fsencode(tmp_path) + b"/caf\xe9.jpg"
    Path(os.fsdecode(path)).write_bytes(b"coffee")
    found = Files(str(tmp_path), (".jpg",))
    (name,) = found.list()
    assert name == "caf\\udce9.jpg" == printable(unprintable(name))
    assert found.fetch(name) == b"coffee"


def test_what_is_no_file_is_refused_and_never_waited_for(tmp_path: Path) -> None:
    os.mkfifo(tmp_path / "pipe.jpg")
    (tmp_path / "link.jpg").symlink_to(tmp_path / "nowhere")
    found = Files(str(tmp_path), (".jpg",))
    reasons = {name: found.fetch(name) for name in found.list()}
    assert {n: r.reason for n, r in reasons.items() if isinstance(r, SampleError)} == {
        "link.jpg": "unreadable",
        "pipe.jpg": "not_a_file",
    }


def test_a_file_that_is_too_large_is_not_read(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(files, "MAX_BYTES", 10)
    (tmp_path / "a.jpg").write_bytes(b"x" * 11)
    (tmp_path / "b.jpg").write_bytes(b"x" * 10)
    large, fits = Files(str(tmp_path), (".jpg",)).read(["a.jpg", "b.jpg"])
    assert isinstance(large, SampleError) and large.reason == "file_too_large"
    assert fits == b"x" * 10


def test_reading_ahead_keeps_the_order_and_a_bounded_number_of_results() -> None:
    taken: list[int] = []
    running = threading.Semaphore(0)

    def slow(number: int) -> int:
        taken.append(number)
        if number == 0:
            running.acquire(timeout=5)
        running.release()
        return number

    results = ahead(slow, range(20), workers=4)
    assert next(results) == 0
    assert len(taken) <= 4
    assert list(results) == list(range(1, 20))


@pytest.mark.parametrize("name", ["../secret.jpg", "a/../../secret.jpg", "{tmp}/secret.jpg"])
def test_a_name_that_leads_out_of_the_folder_is_refused(tmp_path: Path, name: str) -> None:
    (tmp_path / "in").mkdir()
    (tmp_path / "secret.jpg").write_bytes(b"secret")
    found = Files(str(tmp_path / "in"), (".jpg",)).fetch(name.format(tmp=tmp_path))
    assert isinstance(found, SampleError) and found.reason == "unsafe_name"


def test_a_name_that_no_file_can_have_is_unreadable(tmp_path: Path) -> None:
    for name in ("a\0.jpg", "a" * 5000 + ".jpg"):
        found = Files(str(tmp_path), (".jpg",)).fetch(name)
        assert isinstance(found, SampleError) and found.reason == "unreadable"


def test_what_is_left_out_of_a_folder_is_counted_by_kind(
    tmp_path: Path, caplog: pytest.LogCaptureFixture
) -> None:
    for name in (
        "in/a.jpg",
        "in/b.jfif",
        "in/c.RAF",
        "in/d.raf",
        "in/README",
        "in/.DS_Store",
        "other/e.jpg",
    ):
        (tmp_path / name).parent.mkdir(exist_ok=True)
        (tmp_path / name).write_bytes(b"")
    (tmp_path / "in" / "link").symlink_to(tmp_path / "other")
    assert FolderSource(FolderConfig(path=str(tmp_path / "in"))).list() == ["a.jpg", "b.jfif"]
    assert "4 files are no images by their names and left out: 2 .raf" in caplog.text
    assert "1 links to folders" in caplog.text and "1 without a suffix" in caplog.text


def write_files(root: Path, *names: str) -> Path:
    for name in names:
        (root / name).parent.mkdir(parents=True, exist_ok=True)
        (root / name).write_bytes(b"1")
    return root


OWN = ("images/source.json", "images/shard-000000.tar", "journal/lease.json", "rounds/0/a.jpg")


@pytest.mark.parametrize("work", ["work", "a/b/work", "work-2"])
def test_no_listing_holds_the_files_of_a_work_folder(tmp_path: Path, work: str) -> None:
    write_files(tmp_path, "a.tar", "work.tar", "images/b.tar", *(f"{work}/{name}" for name in OWN))
    found = Files(f"{tmp_path}/", (".tar", ".jpg"))
    assert found.list() == ["a.tar", "images/b.tar", "work.tar"]
    assert found.left_out.total() == 0
    (tmp_path.parent / f"{tmp_path.name}-link").symlink_to(tmp_path)
    assert len(Files(f"{tmp_path}-link", (".tar", ".jpg")).list()) == 3


def test_folders_of_trainings_and_studies_are_work_folders(tmp_path: Path) -> None:
    write_files(tmp_path, "a.tar", "study/journal/lease.json", "study/scenes/7/shard-000000.tar")
    assert Files(str(tmp_path), (".tar",)).list() == ["a.tar"]


def test_a_remote_listing_leaves_work_folders_out_too() -> None:
    store = fsspec.filesystem("memory")
    store.pipe({f"/data/run/{name}": b"1" for name in OWN} | {"/data/a.tar": b"1"})
    assert Files("memory://data/", (".tar",)).list() == ["a.tar"]
    store.rm("/data", recursive=True)


def test_a_work_folder_is_no_source_but_a_round_in_it_is(tmp_path: Path) -> None:
    write_files(tmp_path, *OWN, "rounds/00-a/shards/shard-000000.tar")
    with pytest.raises(ValueError, match=r"it is a work folder; give a folder of data, or"):
        Files(str(tmp_path), (".tar",)).list()
    assert len(Files(str(tmp_path / "rounds/00-a/shards"), (".tar",)).list()) == 1


def test_the_marks_of_a_work_folder_are_those_of_its_layout() -> None:
    assert set(files.WORK_MARKS) == {layout.SOURCE, layout_journal.LEASE}


def test_what_macos_adds_is_hidden(tmp_path: Path) -> None:
    write_files(tmp_path, "a.jpg", "._a.jpg", "d/._b.jpg", "__MACOSX/a.jpg", "x__MACOSX/c.jpg")
    assert Files(str(tmp_path), (".jpg",)).list() == ["a.jpg", "x__MACOSX/c.jpg"]


def test_a_stamp_changes_with_the_file(tmp_path: Path) -> None:
    write_files(tmp_path, "a.jpg", "b.jpg")
    before = Files(str(tmp_path), (".jpg",)).stamps()
    assert Files(str(tmp_path), (".jpg",)).stamps() == before
    (tmp_path / "a.jpg").write_bytes(b"22")
    os.utime(tmp_path / "b.jpg", (1, 1))
    after = Files(str(tmp_path), (".jpg",)).stamps()
    assert [after[name] != before[name] for name in ("a.jpg", "b.jpg")] == [True, True]
