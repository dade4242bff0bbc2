"""A release is read by the tools of others, has the same bytes whenever it is made, and is made
once."""

from __future__ import annotations

import io
import json
import shutil
import signal
import subprocess
import sys
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import numpy as np
import pyarrow.parquet as pq
import pytest
import yaml
from PIL import Image
from pycocotools import mask as coco_mask

from pipeline.config import saved
from pipeline.release.build import build
from pipeline.release.config import parse
from pipeline.release.files import files_in
from pipeline.release.verify import verify
from pipeline.rows import ImageRow
from pipeline.storage.parquet import read_table
from pipeline.storage.store import Store
from tests.pipeline.release.rounds import BOX, TEXT, Inline, released, tars_by_the_card

SPLITS = ("splits.test=0.2", "splits.validation=0.1")
SAMPLES = 18
PER_SAMPLE = {"text": 1, "region": 2, "text_region": 1, "triplet": 1}


@pytest.fixture
def work(labelled: Path, tmp_path: Path) -> Path:
    return Path(shutil.copytree(labelled, tmp_path / "work"))


@pytest.fixture(scope="module")
def release(labelled: Path, tmp_path_factory: pytest.TempPathFactory) -> Path:
    work = shutil.copytree(labelled, tmp_path_factory.mktemp("release") / "work")
    return released(Path(work), *SPLITS)


def rows(release: Path, part: str) -> Iterator[dict[str, Any]]:
    for file in sorted((release / part).rglob("*.parquet")):
        yield from pq.read_table(file).to_pylist()


def sums(release: Path) -> str:
    return (release / "SHA256SUMS").read_text()


def test_every_file_has_a_checksum_that_others_can_check(release: Path) -> None:
    listed = [line.split("  ")[1] for line in sums(release).splitlines()]
    files = files_in(Store(str(release)), "")
    assert sorted([*listed, "SHA256SUMS"]) == files


def test_mlcroissant_loads_the_metadata_and_iterates_the_records(release: Path) -> None:
    import mlcroissant

    dataset = mlcroissant.Dataset(jsonld=str(release / "croissant.json"))
    assert not dataset.metadata.ctx.issues.errors
    assert dataset.metadata.version == "1.0.0"
    assert len(dataset.metadata.data_limitations) == 4
    samples = list(dataset.records("index_rows"))
    assert len({sample["index/key"] for sample in samples}) == SAMPLES
    boxes = [row["annotations/box"] for row in dataset.records("annotations_rows")]
    assert len(boxes) == SAMPLES * sum(PER_SAMPLE.values())
    assert list(BOX) in boxes


def test_datasets_loads_tables_by_the_header_of_the_card(release: Path, tmp_path: Path) -> None:
    import datasets

    objects = datasets.load_dataset(str(release), "objects", cache_dir=str(tmp_path))
    # 18 samples are cut at 3.6 and 5.4.
    sizes = {name: len(split) for name, split in objects.items()}
    assert sizes == {"test": 4, "validation": 1, "train": 13}
    first = objects["train"][0]
    assert first["objects"]["bbox"][0] == [20, 30, 100, 100]
    assert first["objects"]["category"] == ["circle", "square"]
    assert first["captions"]["text"] == [TEXT]
    annotations = datasets.load_dataset(str(release), cache_dir=str(tmp_path), name="annotations")
    types = [row["type"] for split in annotations.values() for row in split]
    counts = {type_: types.count(type_) // SAMPLES for type_ in PER_SAMPLE}
    assert counts == PER_SAMPLE


def test_datasets_loads_every_table_that_the_card_lists(release: Path, tmp_path: Path) -> None:
    import datasets

    header = yaml.safe_load((release / "README.md").read_text().split("---")[1])
    names = [config["config_name"] for config in header["configs"]]
    # No text has personal data, so there are no flags.
    assert names == ["objects", "annotations", "index", "lineage"]
    annotations = SAMPLES * sum(PER_SAMPLE.values())
    expected = {"objects": SAMPLES, "index": SAMPLES}
    for name in names:
        loaded = datasets.load_dataset(str(release), name, cache_dir=str(tmp_path))
        assert sum(map(len, loaded.values())) == expected.get(name, annotations)


def test_the_card_says_what_a_review_found_in_samples_picked_by_chance(work: Path) -> None:
    from pipeline.storage.reviews import Stood, add_stands

    store = Store(str(work))
    add_stands(store, "00-abc", {"a": Stood(judged=9, right=1), "b": Stood(judged=4, right=3)})
    # Somebody reviews a sample again.
    add_stands(store, "00-abc", {"a": Stood(judged=6, right=5)})
    folder = released(work)
    # Wilson's interval of 8 in 10.
    sentence = (
        "People reviewed 2 samples of the round 00-abc that were picked by chance. Of 10 boxes of "
        "machines there, 8 stood as they were: 80.0%, 95% interval 49.0% to 94.3%."
    )
    card = (folder / "README.md").read_text()
    assert sentence in card and "Nobody has judged" not in card
    metadata = json.loads((folder / "croissant.json").read_text())
    assert metadata["rai:dataAnnotationAnalysis"] == [sentence]
    assert verify(str(folder), lambda done, total: None).findings == []


def test_datasets_loads_tars_by_the_lines_of_the_card(
    release: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    loaded = tars_by_the_card(release, tmp_path, monkeypatch)
    assert len(loaded) == 13
    assert loaded[0]["jpg"].size == (192, 192)
    assert loaded[0]["json"]["annotations"]["texts"][0]["text"] == TEXT
    assert loaded[0]["__key__"] == loaded[0]["json"]["key"]


def test_pycocotools_reads_the_masks(release: Path) -> None:
    masks = [row["mask"] for row in rows(release, "annotations") if row["mask"]]
    assert len(masks) == SAMPLES
    pixels = coco_mask.decode({"size": [192, 192], "counts": masks[0].encode()})
    assert pixels.sum() == 100 * 100


def test_the_index_tells_where_bytes_lie_in_the_tar(release: Path) -> None:
    for row in rows(release, "index"):
        tar = (release / "shards" / row["split"] / f"{row['shard']}.tar").read_bytes()
        image = tar[row["image_offset"] :][: row["image_size"]]
        record = tar[row["json_offset"] :][: row["json_size"]]
        assert Image.open(io.BytesIO(image)).size == (row["width"], row["height"])
        assert json.loads(record)["key"] == row["key"]
        assert row["licence"] == "CC-BY-4.0"


def test_what_no_reader_could_use_is_left_out_with_a_reason(release: Path) -> None:
    reasons = {(row["type"], row["reason"]) for row in rows(release, "removed")}
    assert reasons == {("region", "low_score"), ("triplet", "span_not_in_text")}
    boxes = [row["box"] for row in rows(release, "annotations") if row["phrase"] == "square"]
    assert boxes[0] == [142, 152, 192, 192]


def test_each_annotation_names_the_signals_that_made_and_revised_it(
    release: Path, labelled: Path
) -> None:
    found = {row["id"]: row["signals"] for row in rows(release, "lineage")}
    stages = {id_: [name.split("-")[0] for name in names] for id_, names in found.items()}
    assert stages == {
        "0.caption.texts.0": ["caption"],
        "0.detect.regions.0": ["detect", "segment"],
        "0.detect.regions.1": ["detect"],
        "0.ocr.text_regions.0": ["ocr"],
        "0.ground.triplets.0": ["ground"],
    }
    for names in found.values():
        for name in names:
            assert (labelled / "signals" / name / "manifests").is_dir()


def test_the_same_inputs_give_the_same_bytes_in_another_folder(
    release: Path, labelled: Path, tmp_path: Path
) -> None:
    other = Path(shutil.copytree(labelled, tmp_path / "another" / "place"))
    assert sums(released(other, *SPLITS)) == sums(release)


KILLED = """
import os, signal, sys
from pathlib import Path
from tests.pipeline.release.rounds import released
replace, left = os.replace, [int(sys.argv[2])]
def dying(source, target):
    if "/release/scenes-1.0.0/" in target:
        left[0] -= 1
        if not left[0]:
            os.kill(os.getpid(), signal.SIGKILL)
    replace(source, target)
os.replace = dying
released(Path(sys.argv[1]), *sys.argv[3:])
"""


@pytest.mark.subprocess
def test_a_killed_build_goes_on_to_the_same_bytes(release: Path, work: Path) -> None:
    """It is killed at the 24th of its files, in the middle of the second shard."""
    command = [sys.executable, "-c", KILLED, str(work), "24", *SPLITS]
    done = subprocess.run(command, timeout=120)
    assert done.returncode == -signal.SIGKILL
    folder = work / "release/scenes-1.0.0"
    assert any(folder.rglob("shard-000000.tar")) and not (folder / "SHA256SUMS").exists()
    assert sums(released(work, *SPLITS)) == sums(release)


def test_a_released_version_is_not_written_again(work: Path) -> None:
    folder = released(work)
    before = {path: path.stat().st_mtime_ns for path in folder.rglob("*")}
    assert released(work) == folder
    assert {path: path.stat().st_mtime_ns for path in folder.rglob("*")} == before
    with pytest.raises(ValueError, match=r"version=1\.0\.0: .* give another version"):
        released(work, "splits.test=0.5")


def test_an_unfinished_release_of_other_settings_leaves_nothing_behind(work: Path) -> None:
    folder = released(work, "splits.dev=0.5")
    (folder / "SHA256SUMS").unlink()
    released(work)
    assert sorted(path.name for path in (folder / "shards").iterdir() if any(path.iterdir())) == [
        "train"
    ]


def test_a_release_of_references_has_no_images_but_their_checksums(work: Path) -> None:
    folder = released(work, "images=reference")
    stored = {row.key: row.sha256 for row in images(work)}
    found = list(rows(folder, "index"))
    assert {row["key"]: row["sha256"] for row in found} == stored
    assert {row["member"] for row in found} == {None}
    assert b"JFIF" not in b"".join(path.read_bytes() for path in folder.rglob("*.tar"))
    assert not verify(str(folder), lambda done, total: None).findings


def images(work: Path) -> list[ImageRow]:
    store = Store(str(work))
    tables = sorted(name for name in store.list("images") if name.endswith(".parquet"))
    return [row for name in tables for row in read_table(store, f"images/{name}", ImageRow)]


def test_a_person_says_what_the_release_is_and_which_round_it_holds(work: Path) -> None:
    (folder,) = (work / "rounds").iterdir()
    about = ("title=Scenes of shapes", "description=Drawn by a program", "language=la")
    release = released(work, *about, "date=2026-01-31", f"round={folder.name}", "images=reference")
    card = (release / "README.md").read_text()
    assert "# Scenes of shapes" in card and "Drawn by a program" in card and "- la" in card
    metadata = json.loads((release / "croissant.json").read_text())
    assert metadata["datePublished"] == "2026-01-31"
    assert json.loads((release / "release.json").read_text())["round"] == folder.name


def test_a_release_has_the_settings_with_which_its_round_was_begun(work: Path) -> None:
    store = Store(str(work))
    values = saved.values(store)
    first = (released(work, *SPLITS) / "config.yaml").read_text()
    # A later run of other settings makes another round, and the user releases the old one.
    values["filters"]["region"]["min_scores"] = {"ocr": 0.77}
    saved.save(store, values)
    old = released(work, *SPLITS, "version=2.0.0") / "config.yaml"
    assert yaml.safe_load(old.read_text())["run"] == yaml.safe_load(first)["run"]
    assert "ocr: 0.7\n" in first and "0.77" not in old.read_text()
    # Without the record of an older program, the settings are those of the last run.
    shutil.rmtree(work / "journal/settings")
    assert "0.77" in (released(work, *SPLITS, "version=3.0.0") / "config.yaml").read_text()


def test_nothing_is_released_without_a_licence(work: Path) -> None:
    with pytest.raises(ValueError, match=r"no licence for the sample scene_0000"):
        released(work, "sources.folder.names=flickr/*")
    named = ["name=a", "version=1"]
    with pytest.raises(ValueError, match=r"set sources\.folder\.licence to the licence of the"):
        build(Store(str(work)), saved.load(Store(str(work))), parse(named), Inline())
    with pytest.raises(ValueError, match=r"sources\.folder\.licence: not set; give it a value"):
        parse([*named, "sources.folder.names=a"])
    with pytest.raises(ValueError, match="licence: empty; give the licence"):
        parse([*named, "sources.folder.licence=''"])


def test_samples_get_the_licence_of_their_source(work: Path) -> None:
    folder = released(
        work, "sources.folder.names='*[0-4].jpg'", "sources.web.licence=https://example.org/terms"
    )
    for row in rows(folder, "index"):
        is_first = int(row["name"][-5]) <= 4
        assert row["source"] == ("folder" if is_first else "web")
    card = (folder / "README.md").read_text()
    assert "| web | https://example.org/terms | - | 8 |" in card
    assert "license:\n- cc-by-4.0\n- other\n" in card


def test_labels_that_people_have_not_found_good_enough_are_not_released(work: Path) -> None:
    with pytest.raises(ValueError, match="nobody has judged any"):
        released(work, "min_precision.regions=0.8")
    row = {"judged": 100, "right": 90, "precision": 0.9, "low": 0.826, "high": 0.945}
    audit = [{"type": "regions", "source": "all", **row}]
    (round_,) = (work / "rounds").iterdir()
    (round_ / "audit.json").write_text(json.dumps(audit))
    with pytest.raises(ValueError, match=r"the precision is 0\.900, .* at least 0\.826"):
        released(work, "min_precision.regions=0.85")
    card = (released(work, "min_precision.regions=0.8") / "README.md").read_text()
    assert "| regions | all | 90 of 100 | 0.900 | 0.826 - 0.945 |" in card


def test_files_name_no_folder_of_this_machine(release: Path, labelled: Path) -> None:
    for name in ("README.md", "croissant.json", "release.json", "config.yaml"):
        assert str(labelled.parent) not in (release / name).read_text()


def test_pixels_are_those_of_the_source(release: Path, labelled: Path) -> None:
    row = next(rows(release, "index"))
    tar = (release / "shards" / row["split"] / f"{row['shard']}.tar").read_bytes()
    image = Image.open(io.BytesIO(tar[row["image_offset"] :][: row["image_size"]]))
    source = Image.open(labelled.parent / "images" / row["name"])
    np.testing.assert_array_equal(np.asarray(image), np.asarray(source))
