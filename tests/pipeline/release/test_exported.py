"""What an export reads: a round or a release, and what it says of mistakes and broken files."""

from __future__ import annotations

import io
import shutil
import tarfile
from collections.abc import Callable
from pathlib import Path

import pytest

from pipeline.cli import main
from tests.pipeline.release.rounds import released


@pytest.fixture(scope="module")
def release(labelled: Path, tmp_path_factory: pytest.TempPathFactory) -> Path:
    work = tmp_path_factory.mktemp("released") / "work"
    shutil.copytree(labelled, work)
    return released(work, "splits.validation=0.3")


def export(format_: str, source: Path, out: Path) -> Path:
    assert main(["export", format_, str(source), str(out)]) == 0
    return out


def test_a_release_goes_to_coco_as_its_round_does(
    labelled: Path, release: Path, tmp_path: Path
) -> None:
    from pycocotools.coco import COCO

    round_ = export("coco", labelled, tmp_path / "round")
    other = export("coco", release, tmp_path / "release")
    annotations = []
    for folder in (round_, other):
        coco = COCO(str(folder / "instances.json"))
        annotations.append(
            {entry["id"]: entry["category_id"] for entry in coco.dataset["annotations"]}
        )
    assert annotations[0] == annotations[1]


@pytest.mark.parametrize(
    ("words", "problem"),
    [
        (["yolo", "WORK", "FULL"], "is not empty; give a new folder"),
        (["yolo", "WORK", "NEW", "--link", "/nowhere"], "--link /nowhere: no such folder"),
        (["florence", "WORK", "NEW", "--task", "<ODD>"], "--task: <ODD>: no such task; did you"),
        (["yolo", "WORK", "NEW", "--source", "detekt"], "--source detekt: the round has no label"),
        (["yolo", "WORK", "NEW", "--categories", "FILE"], "the categories do not have circle"),
        (["parquet", "NEW", "NEW"], "no round there"),
    ],
)
def test_mistakes_are_one_line(
    words: list[str],
    problem: str,
    labelled: Path,
    tmp_path: Path,
    capsys: pytest.CaptureFixture[str],
) -> None:
    file = tmp_path / "categories.json"
    file.write_text('[{"id": 1, "name": "square"}]')
    places = {"WORK": labelled, "FULL": tmp_path, "NEW": tmp_path / "new", "FILE": file}
    assert main(["export", *[str(places.get(word, word)) for word in words]]) == 2
    error = capsys.readouterr().err
    assert problem in error and len(error.splitlines()) == 1
    assert not (tmp_path / "new").exists()


def test_a_release_of_references_says_what_to_give_instead(
    labelled: Path, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    shutil.copytree(labelled, tmp_path / "work")
    folder = released(tmp_path / "work", "images=reference")
    assert main(["export", "yolo", str(folder), str(tmp_path / "out")]) == 2
    assert "has references to its images only" in capsys.readouterr().err


def flipped(data: bytes) -> bytes:
    """One bit of the first image is another one; a tar's header has 512 bytes."""
    at = data.index(b"\xff\xd8") + 200
    return data[:at] + bytes([data[at] ^ 1]) + data[at + 1 :]


def cut(data: bytes) -> bytes:
    """The tar without its second half, cut between two samples."""
    with tarfile.open(fileobj=io.BytesIO(data)) as tar:
        members = tar.getmembers()
    later = [member.offset for member in members if member.name.endswith(".jpg")]
    return data[: later[len(later) // 2]]


@pytest.mark.parametrize(
    ("change", "problem"),
    [
        (flipped, "scene_000"),
        (cut, "its end is cut off"),
        (lambda data: b"no tar" * 200, "invalid header"),
        (lambda data: data.replace(b'"key"', b'"key', 1), "Expecting"),
    ],
    ids=["image", "cut", "no tar", "record"],
)
def test_a_broken_tar_of_a_release_is_named_in_one_line(
    change: Callable[[bytes], bytes],
    problem: str,
    release: Path,
    tmp_path: Path,
    capsys: pytest.CaptureFixture[str],
) -> None:
    folder = tmp_path / release.name
    shutil.copytree(release, folder)
    tar = sorted(folder.glob("shards/*/*.tar"))[0]
    tar.write_bytes(change(tar.read_bytes()))
    assert main(["export", "yolo", str(folder), str(tmp_path / "out")]) == 2
    error = capsys.readouterr().err
    assert tar.name in error and problem in error and len(error.splitlines()) == 1
    assert f"`fld release verify {folder}`" in error
