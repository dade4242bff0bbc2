"""Exports of a round and of a release, each opened by the program that reads it."""

from __future__ import annotations

import json
import re
import shutil
from collections import Counter
from pathlib import Path

import numpy as np
import pytest
import yaml
from PIL import Image

from pipeline.cli import main
from pipeline.rows import Record
from pipeline.storage.rounds import open_round
from stages.florence.tasks import TASKS
from tests.pipeline.release.conftest import COUNT
from tests.pipeline.release.rounds import BOX, TEXT, released

HALF = 0.5
"""Pixels by which a coordinate may differ."""


@pytest.fixture(scope="module")
def release(labelled: Path, tmp_path_factory: pytest.TempPathFactory) -> Path:
    work = tmp_path_factory.mktemp("released") / "work"
    shutil.copytree(labelled, work)
    return released(work, "splits.validation=0.3")


@pytest.fixture(params=["round", "release"])
def exported(request: pytest.FixtureRequest, labelled: Path) -> Path:
    """A round, and a release of it."""
    if request.param == "round":
        return labelled
    folder: Path = request.getfixturevalue("release")
    return folder


def records_of(labelled: Path) -> dict[str, Record]:
    return {record.key: record for record in open_round(str(labelled)).records()}


def boxes_of(record: Record) -> list[tuple[str, list[float]]]:
    """(class, box inside of the image) of each kept region."""
    boxes = []
    for region in record.annotations.kept().regions:
        left, top, right, bottom = region.box
        boxes.append((region.phrase, [left, top, min(right, record.width), bottom]))
    return boxes


def export(format_: str, source: Path, out: Path, *options: str) -> Path:
    assert main(["export", format_, str(source), str(out), *options]) == 0
    return out


def assert_same(
    found: list[tuple[str, list[float]]], wanted: list[tuple[str, list[float]]]
) -> None:
    assert [name for name, _ in found] == [name for name, _ in wanted]
    for (_, box), (_, other) in zip(found, wanted, strict=True):
        assert np.abs(np.subtract(box, other)).max() < HALF


def test_yolo_is_read_by_supervision(
    exported: Path,
    labelled: Path,
    tmp_path: Path,
    capsys: pytest.CaptureFixture[str],
    caplog: pytest.LogCaptureFixture,
) -> None:
    import supervision

    out = export("yolo", exported, tmp_path / "yolo")
    answer = capsys.readouterr().out
    assert answer.strip() == f"{out}: {COUNT} images, {2 * COUNT} boxes"
    lines = [f"{COUNT} masks, {COUNT} text regions, {COUNT} texts, {COUNT} triplets"]
    if exported == labelled:
        # What a release has left out already.
        lines.append(f"{COUNT} triplets (span_not_in_text)")
    told = [record.getMessage() for record in caplog.records]
    assert len(told) == len(lines)
    assert all(line in message for line, message in zip(lines, told, strict=True))
    records = records_of(labelled)
    content = yaml.safe_load((out / "data.yaml").read_text())
    seen = 0
    for split in {content["train"], content["val"]}:
        labels = split.replace("images", "labels")
        dataset = supervision.DetectionDataset.from_yolo(
            str(out / split), str(out / labels), str(out / "data.yaml")
        )
        for path, _, detections in dataset:
            found = []
            for number, box in zip(detections.class_id, detections.xyxy, strict=True):
                found.append((dataset.classes[number], list(box)))
            assert_same(found, boxes_of(records[Path(path).stem]))
            seen += 1
    assert seen == COUNT


def test_the_class_numbers_of_yolo_do_not_depend_on_the_chosen_sources(
    labelled: Path, tmp_path: Path
) -> None:
    all_ = export("yolo", labelled, tmp_path / "all")
    some = export("yolo", labelled, tmp_path / "some", "--source", "caption")
    assert (all_ / "data.yaml").read_text() == (some / "data.yaml").read_text()
    texts = list((some / "labels/train").iterdir())
    assert len(texts) == COUNT and not any(text.read_text() for text in texts)


def test_equal_images_of_the_source_are_linked_and_others_copied(
    labelled: Path, tmp_path: Path
) -> None:
    originals = tmp_path / "images"
    originals.mkdir()
    source = labelled.parent / "images"
    names = sorted(file.name for file in source.iterdir())
    (originals / names[0]).write_bytes((source / names[0]).read_bytes())
    (originals / names[1]).write_bytes(b"changed since")
    out = export("fiftyone", labelled, tmp_path / "out", "--link", str(originals))
    linked = [file.name for file in (out / "data").iterdir() if file.is_symlink()]
    assert linked == [names[0]]
    for name in names:
        assert (out / "data" / name).read_bytes() == (source / name).read_bytes()


def test_images_of_several_sources_are_linked_to_the_folder_that_has_the_same_bytes(
    labelled: Path, tmp_path: Path, caplog: pytest.LogCaptureFixture
) -> None:
    source = labelled.parent / "images"
    first, second, *others = sorted(file.name for file in source.iterdir())
    photos, web, empty = (tmp_path / name for name in ("photos", "web", "empty"))
    for folder in (photos, web, empty):
        folder.mkdir()
    (photos / first).write_bytes((source / first).read_bytes())
    # Another source's image of the same name.
    (photos / second).write_bytes((source / first).read_bytes())
    (web / second).write_bytes((source / second).read_bytes())
    links = ("--link", str(photos), "--link", str(web), "--link", str(empty))
    out = export("yolo", labelled, tmp_path / "out", *links)
    found = {file.name: file for file in (out / "images").rglob("*.jpg")}
    assert found[first].readlink() == photos / first
    assert found[second].readlink() == web / second
    assert not any(found[name].is_symlink() for name in others)
    assert [message for message in caplog.messages if "--link" in message] == [
        f"--link {empty}: none of the images is there under its name in the source and with the "
        "same bytes, so nothing is linked to this folder; give the path of the source"
    ]


def test_label_studio_accepts_the_tasks_and_their_labels(
    exported: Path, labelled: Path, tmp_path: Path
) -> None:
    out = export("labelstudio", exported, tmp_path / "out")
    tasks = json.loads((out / "tasks.json").read_text())
    records = records_of(labelled)
    assert {task["data"]["key"] for task in tasks} == records.keys()
    for task in tasks:
        record = records[task["data"]["key"]]
        assert (out / task["data"]["image"].removeprefix("/data/local-files/?d=")).exists()
        (prediction,) = task["predictions"]
        ids = {result["id"] for result in prediction["result"]}
        kept = record.annotations.kept()
        assert ids == {a.id for a in (*kept.regions, *kept.texts, *kept.text_regions)}
        found = []
        for result in prediction["result"]:
            if result["type"] == "rectanglelabels":
                value = result["value"]
                left = value["x"] / 100 * record.width
                top = value["y"] / 100 * record.height
                right = left + value["width"] / 100 * record.width
                bottom = top + value["height"] / 100 * record.height
                found.append((value["rectanglelabels"][0], [left, top, right, bottom]))
        assert_same(found, boxes_of(record))
    label_interface = pytest.importorskip("label_studio_sdk.label_interface")
    interface = label_interface.LabelInterface((out / "config.xml").read_text())
    interface.validate()
    for task in tasks:
        assert interface.validate_prediction(task["predictions"][0], return_errors=True) == []


def test_the_converter_of_label_studio_finds_the_boxes(labelled: Path, tmp_path: Path) -> None:
    converter = pytest.importorskip("label_studio_sdk.converter")
    out = export("labelstudio", labelled, tmp_path / "out")
    tasks = json.loads((out / "tasks.json").read_text())
    for number, task in enumerate(tasks):
        # What Label Studio gives when every prediction is submitted as it stands.
        task["id"] = number
        task["annotations"] = [{"id": 1, "completed_by": 1, **task.pop("predictions")[0]}]
    (tmp_path / "annotated.json").write_text(json.dumps(tasks))
    convert = converter.Converter(
        (out / "config.xml").read_text(), str(tmp_path), download_resources=False
    )
    convert.convert_to_coco(str(tmp_path / "annotated.json"), str(tmp_path / "coco"), is_dir=False)
    result = json.loads((tmp_path / "coco" / "result.json").read_text())
    boxes = [entry["bbox"] for entry in result["annotations"] if entry["bbox"][2] > 90]
    left, top, right, bottom = BOX
    assert len(boxes) == COUNT
    for box in boxes:
        assert np.abs(np.subtract(box, [left, top, right - left, bottom - top])).max() < HALF


# The fields of its Detection (fiftyone/core/labels.py). An attribute with such a name takes the
# field's place, and FiftyOne 1.22 stops at an `id` that is not one of MongoDB.
OF_FIFTYONE = {
    "attributes",
    "bounding_box",
    "confidence",
    "id",
    "index",
    "label",
    "mask",
    "mask_path",
    "tags",
}


def test_fiftyone_has_every_box_as_shares(exported: Path, labelled: Path, tmp_path: Path) -> None:
    out = export("fiftyone", exported, tmp_path / "out")
    content = json.loads((out / "labels.json").read_text())
    records = records_of(labelled)
    assert content.keys() == {"labels"} and content["labels"].keys() == records.keys()
    assert {file.stem for file in (out / "data").iterdir()} == records.keys()
    for key, detections in content["labels"].items():
        record = records[key]
        found = []
        for detection in detections:
            assert detection["attributes"].keys().isdisjoint(OF_FIFTYONE)
            x, y, width, height = detection["bounding_box"]
            assert 0 <= x <= x + width <= 1 and 0 <= y <= y + height <= 1
            box = [x * record.width, y * record.height]
            box += [(x + width) * record.width, (y + height) * record.height]
            found.append((detection["label"], box))
        assert_same(found, boxes_of(record))


def test_datasets_reads_the_parquet_files(
    exported: Path, labelled: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    import datasets

    monkeypatch.setattr(datasets.config, "HF_DATASETS_OFFLINE", True)
    out = export("parquet", exported, tmp_path / "out")
    loaded = datasets.load_dataset(str(out), cache_dir=str(tmp_path / "cache"))
    expected = {"train"} if exported == labelled else {"train", "validation"}
    assert set(loaded) == expected
    records = records_of(labelled)
    keys = []
    for split in loaded.values():
        for row in split:
            record = records[row["key"]]
            keys.append(row["key"])
            assert row["image"].size == (record.width, record.height)
            objects = row["objects"]
            found = []
            for name, (x, y, width, height) in zip(
                objects["category"], objects["bbox"], strict=True
            ):
                found.append((name, [x, y, x + width, y + height]))
            assert_same(found, boxes_of(record))
            assert row["captions"]["text"] == [TEXT]
    assert sorted(keys) == sorted(records)


def test_florence_lines_are_the_examples_of_training(
    exported: Path, labelled: Path, tmp_path: Path
) -> None:
    out = export("florence", exported, tmp_path / "out")
    lines = []
    for file in sorted(out.glob("*.jsonl")):
        lines += [json.loads(line) for line in file.read_text().splitlines()]
    records = records_of(labelled)
    by_prompt = Counter(line["prefix"] for line in lines)
    assert by_prompt[TASKS["<CAPTION>"].prompt] == COUNT
    assert by_prompt["Locate the phrases in the caption: " + TEXT] == COUNT
    detection = "Locate the objects with category name in the image."
    for line in lines:
        path = out / line["image"]
        record = records[path.stem]
        with Image.open(path) as image:
            assert image.size == (record.width, record.height)
        assert line["suffix"]
        if line["prefix"] != detection:
            continue
        found = []
        for name, numbers in re.findall(r"(\w+)((?:<loc_\d+>){4})", line["suffix"]):
            bins = [int(number) for number in re.findall(r"\d+", numbers)]
            sizes = [record.width, record.height] * 2
            # A location stands for the middle of its thousandth of the side.
            box = [(bin_ + 0.5) * size / 1000 for bin_, size in zip(bins, sizes, strict=True)]
            found.append((name, box))
        assert_same(found, sorted(boxes_of(record)))


def test_only_the_asked_tasks_are_exported(labelled: Path, tmp_path: Path) -> None:
    out = export("florence", labelled, tmp_path / "out", "--task", "<OD>")
    lines = (out / "train.jsonl").read_text().splitlines()
    assert len(lines) == COUNT


def test_boxes_of_coco_lie_in_the_image_as_those_of_all_other_exports(
    exported: Path, tmp_path: Path
) -> None:
    out = export("coco", exported, tmp_path / "out", "--results")
    instances = json.loads((out / "instances.json").read_text())
    sizes = {image["id"]: (image["width"], image["height"]) for image in instances["images"]}
    squares = [e for e in instances["categories"] if e["name"] == "square"]
    results = json.loads((out / "results.json").read_text())
    for entries in (instances["annotations"], results):
        of_squares = [e for e in entries if e["category_id"] == squares[0]["id"]]
        assert len(of_squares) == COUNT
        for entry in of_squares:
            width, height = sizes[entry["image_id"]]
            assert entry["bbox"] == [width - 50, height - 40, 50, 40]
            assert entry.get("area", 2000) == 2000
