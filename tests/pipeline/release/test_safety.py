"""What a release is checked for: scores of images, blurred regions, personal data in texts."""

from __future__ import annotations

import hashlib
import io
import json
import tarfile
from dataclasses import replace
from pathlib import Path

import numpy as np
import pyarrow as pa
import pyarrow.parquet as pq
import pytest
from PIL import Image

from pipeline.release.config import parse
from pipeline.release.verify import verify
from pipeline.schema import (
    FINDING,
    IMAGE_SCORE,
    Annotations,
    Region,
    Text,
)
from stages.base import Sample
from tests.pipeline.release import rounds
from tests.pipeline.release.rounds import make_round, released, tars_by_the_card, write_scenes

FACE_BOX = (40.0, 50.0, 100.0, 120.0)
SCORES = {"scene_000000": 0.95, "scene_000001": 0.8, "scene_000002": 0.79}
MAIL = "Write to anna.b@mail.example.org for a picture of a red circle."
NUMBER = "CALL 650-253-0000"


def detect(sample: Sample) -> Annotations:
    """The regions of all tests, a score of nudity, and faces with and without a score."""
    width, height = sample.size
    found = rounds.detect(sample)
    if sample.key != "scene_000005":
        found.regions.append(
            Region(
                box=(0, 0, width, height),
                phrase="nudity",
                score=SCORES.get(sample.key, 0.01),
                dropped=IMAGE_SCORE,
            )
        )
    if sample.key in ("scene_000002", "scene_000003"):
        score = {"scene_000002": 0.6, "scene_000003": None}[sample.key]
        face = Region(box=FACE_BOX, phrase="face", score=score, dropped=FINDING)
        found.regions.append(face)
    return found


def caption(sample: Sample) -> Annotations:
    found = rounds.caption(sample)
    if sample.key == "scene_000003":
        found.texts.append(Text(granularity="alt", text=MAIL))
    return found


def ocr(sample: Sample) -> Annotations:
    found = rounds.ocr(sample)
    if sample.key == "scene_000004":
        found.text_regions.append(replace(found.text_regions[0], text=NUMBER))
    return found


@pytest.fixture(scope="module")
def noted(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """6 scenes in 2 shards with scores, faces and personal data, labelled."""
    top = tmp_path_factory.mktemp("noted")
    write_scenes(top / "images", 6)
    with pytest.MonkeyPatch.context() as patch:
        for stage in (detect, caption, ocr):
            patch.setitem(rounds.STAGES, stage.__name__, stage)
        make_round(top / "work", top / "images", shard_size=3)
    return top / "work"


def release(noted: Path, tmp_path: Path, *settings: str) -> Path:
    """A release of its own for each test."""
    return released(noted, f"name={tmp_path.name}", *settings)


def table(folder: Path, part: str) -> list[dict]:
    rows = []
    for path in sorted((folder / part).rglob("*.parquet")):
        rows += pq.read_table(path).to_pylist()
    return rows


def members(folder: Path, key: str) -> dict[str, bytes]:
    """The files of a sample by their extension."""
    found = {}
    for path in (folder / "shards").rglob("*.tar"):
        with tarfile.open(path) as tar:
            for info in tar:
                if info.name.partition(".")[0] == key:
                    found[info.name.partition(".")[2]] = tar.extractfile(info).read()
    return found


def problems(folder: Path) -> list[str]:
    return [finding.line for finding in verify(str(folder), lambda done, total: None).findings]


def card(folder: Path) -> str:
    return (folder / "README.md").read_text()


def test_images_are_left_out_by_a_score_and_where_it_is_missing(
    noted: Path, tmp_path: Path
) -> None:
    folder = release(noted, tmp_path, "exclude.nudity=0.8")
    gone = {row["key"]: row["reason"] for row in table(folder, "removed") if row["id"] is None}
    assert gone == {
        "scene_000000": "excluded_by_score",
        "scene_000001": "excluded_by_score",
        "scene_000005": "not_scored",
    }
    text = card(folder)
    assert "5 images of the round scored, the highest 0.9500. Images with 0.8 or more" in text
    assert "Left out by their scores: 2 images (`excluded_by_score`), and 1 that have no" in text
    assert problems(folder) == []


def test_a_score_that_no_stage_gave_is_refused(noted: Path, tmp_path: Path) -> None:
    with pytest.raises(ValueError, match=r"exclude.gore: no image .* \(scores there: nudity\)"):
        release(noted, tmp_path, "exclude.gore=0.8")


def test_without_exclude_a_score_is_told_and_is_no_label(noted: Path, tmp_path: Path) -> None:
    folder = release(noted, tmp_path)
    assert len(table(folder, "index")) == 6
    assert "nudity" not in {row["phrase"] for row in table(folder, "annotations")}
    assert "No image is left out for it. A score is a flag for review" in card(folder)


def test_faces_are_blurred_in_pixels_record_and_tables(noted: Path, tmp_path: Path) -> None:
    plain = release(noted, tmp_path, "version=0")
    folder = release(noted, tmp_path, "blur.face=0.5")
    rows = [row for row in table(folder, "flags") if row["flag"] == "blurred"]
    assert {(row["key"], row["phrase"], tuple(row["box"])) for row in rows} == {
        ("scene_000002", "face", FACE_BOX),
        ("scene_000003", "face", FACE_BOX),
    }
    assert {row["id"] for row in rows} == {"0.detect.regions.4"}
    before, after = (members(each, "scene_000002") for each in (plain, folder))
    assert set(before) == {"jpg", "json"} and set(after) == {"png", "json"}
    record = json.loads(after["json"])
    assert record["transform"] == "blurred"
    assert record["sha256"] == hashlib.sha256(after["png"]).hexdigest()
    old, new = (
        np.asarray(Image.open(io.BytesIO(each)), int) for each in (before["jpg"], after["png"])
    )
    changed = np.argwhere((old != new).any(-1))
    # A tenth of 60 x 70 pixels is added at each side.
    assert changed.min(0).tolist() >= [43, 34] and changed.max(0).tolist() <= [126, 105]
    assert members(folder, "scene_000004")["jpg"] == members(plain, "scene_000004")["jpg"]
    assert "Blurred: 2 regions of `face` with a score of at least 0.5" in card(folder)
    assert problems(folder) == []


def test_datasets_loads_tars_with_images_of_several_formats(
    noted: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """What is missing in the first samples of a tar, such as a transform, is no difficulty."""
    folder = release(noted, tmp_path, "blur.face=0.5")
    loaded = tars_by_the_card(folder, tmp_path / "cache", monkeypatch)
    rows = {row["__key__"]: row for row in loaded}
    assert len(rows) == 6
    for key, row in rows.items():
        is_blurred = key in ("scene_000002", "scene_000003")
        assert (row["jpg"] is None, row["png"] is not None) == (is_blurred, is_blurred)
        assert row["json"]["transform"] == ("blurred" if is_blurred else None)
        assert (row["jpg"] or row["png"]).size == (192, 192)


def test_a_score_below_the_least_is_not_blurred_and_none_is(noted: Path, tmp_path: Path) -> None:
    folder = release(noted, tmp_path, "blur.face=0.61")
    rows = [row for row in table(folder, "flags") if row["flag"] == "blurred"]
    assert [row["key"] for row in rows] == ["scene_000003"]


def test_labels_are_blurred_only_while_they_are_kept(
    noted: Path, tmp_path: Path, caplog: pytest.LogCaptureFixture
) -> None:
    folder = release(noted, tmp_path, "blur.circle=0", "blur.ghost=0")
    rows = [row for row in table(folder, "flags") if row["flag"] == "blurred"]
    assert len(rows) == 6 and {row["phrase"] for row in rows} == {"circle"}
    assert "blur.ghost: nothing is blurred: the released images have no region" in caplog.text


def test_a_blurred_release_has_the_same_bytes_when_it_is_built_again(
    noted: Path, tmp_path: Path
) -> None:
    settings = ("blur.face=0.5", "blur.circle=0.2")
    first = release(noted, tmp_path, *settings)
    sums = (first / "SHA256SUMS").read_text()
    again = released(noted, f"name={tmp_path.name}", "version=2.0.0", *settings)
    differing = [
        line for line in (again / "SHA256SUMS").read_text().splitlines() if line not in sums
    ]
    # They hold the version.
    assert [line.split("  ")[1] for line in differing] == [
        "README.md",
        "config.yaml",
        "croissant.json",
        "release.json",
    ]


def test_references_cannot_be_blurred() -> None:
    with pytest.raises(ValueError, match=r"^blur: images=reference releases no pixels"):
        parse(["name=a", "version=1", "images=reference", "blur.face=0.5"])


def test_personal_data_is_flagged_and_stays(noted: Path, tmp_path: Path) -> None:
    folder = release(noted, tmp_path)
    rows = [(row["key"], row["type"], row["id"], row["flag"]) for row in table(folder, "flags")]
    assert rows == [
        ("scene_000003", "text", "0.caption.texts.1", "email_address"),
        ("scene_000004", "text_region", "0.ocr.text_regions.1", "telephone_number"),
    ]
    assert MAIL in {row["text"] for row in table(folder, "annotations")}
    text = "1 annotations with an e-mail address and 1 with a telephone number are flagged"
    assert text in card(folder)
    assert problems(folder) == []


def test_datasets_loads_the_flags_of_the_splits_that_have_some(noted: Path, tmp_path: Path) -> None:
    import datasets

    listed = tmp_path / "test.txt"
    listed.write_text("scene_000000\n")
    folder = release(noted, tmp_path, f"split_lists.test={listed}")
    assert len(list((folder / "flags/train").iterdir())) > 1
    loaded = datasets.load_dataset(str(folder), "flags", cache_dir=str(tmp_path / "cache"))
    keys = {name: sorted(split["key"]) for name, split in loaded.items()}
    assert keys == {"train": ["scene_000003", "scene_000004"]}
    assert problems(folder) == []


def test_personal_data_is_left_out_where_that_is_asked_for(noted: Path, tmp_path: Path) -> None:
    folder = release(noted, tmp_path, "personal_data=remove")
    gone = {
        (row["key"], row["id"])
        for row in table(folder, "removed")
        if row["reason"] == "personal_data"
    }
    assert gone == {
        ("scene_000003", "0.caption.texts.1"),
        ("scene_000004", "0.ocr.text_regions.1"),
    }
    assert {MAIL, NUMBER}.isdisjoint({row["text"] for row in table(folder, "annotations")})
    assert "2 annotations with some are left out (`personal_data`)" in card(folder)
    assert problems(folder) == []


def test_what_is_not_looked_for_is_told(noted: Path, tmp_path: Path) -> None:
    folder = release(noted, tmp_path, "personal_data=ignore")
    assert table(folder, "flags") == []
    assert "* Not checked: lists of known images, personal data in texts, violence" in card(folder)


def test_flags_that_differ_from_the_records_are_named(noted: Path, tmp_path: Path) -> None:
    folder = release(noted, tmp_path, "blur.face=0.5")
    (path,) = (
        path for path in (folder / "flags").rglob("*.parquet") if pq.read_table(path).num_rows == 3
    )
    rows = pq.read_table(path)
    pq.write_table(rows.filter(pa.compute.equal(rows["flag"], "email_address")), path)
    found = "\n".join(problems(folder))
    assert "scene_000003: its record says that it is blurred, and no row says where" in found
    assert "0.ocr.text_regions.1: its text has a telephone_number, and no row says so" in found
    assert "flags.blurred.face is 2, a recount gives 1" in found


def test_the_list_of_ingest_is_taken_down_and_told_by_its_digest(
    tmp_path: Path, caplog: pytest.LogCaptureFixture
) -> None:
    write_scenes(tmp_path / "images", 4)
    image = tmp_path / "images" / "scene_000001.jpg"
    listed = tmp_path / "hashes.txt"
    make_round(tmp_path / "work", tmp_path / "images")
    # The second one was refused at ingest.
    listed.write_text(f"{hashlib.sha256(image.read_bytes()).hexdigest()}\n{64 * '0'}\n")
    config = tmp_path / "work" / "config.yaml"
    config.write_text(config.read_text().replace("source:\n", f"source:\n  refuse: {listed}\n"))
    folder = released(tmp_path / "work")
    gone = {row["key"]: row["reason"] for row in table(folder, "removed") if row["id"] is None}
    assert gone == {"scene_000001": "takedown"}
    digest = hashlib.sha256(listed.read_bytes()).hexdigest()
    assert f"`hashes.txt`, 2 entries (sha256 `{digest}`)" in card(folder)
    assert "fit no sample" not in caplog.text
    assert str(tmp_path) not in (folder / "config.yaml").read_text()


@pytest.mark.parametrize("setting", ["takedown", "evaluation"])
def test_perceptual_hashes_are_compared_with_those_of_the_same_kind_only(
    noted: Path, tmp_path: Path, setting: str
) -> None:
    listed = tmp_path / "list.txt"
    listed.write_text("phash:0011223344556677")
    with pytest.raises(ValueError, match=f"^dedup.method=dhash: the lists of {setting} have perc"):
        release(noted, tmp_path, f"{setting}={listed}", "dedup.method=dhash")
