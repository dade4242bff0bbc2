"""Data sets in the form of YOLO."""

from __future__ import annotations

from pathlib import Path

import numpy as np
import pytest

from stages.geometry import decode_mask
from tests.stages.sources.forms import picture, write_folder
from tests.stages.sources.labelled import boxes, labels_of, source_of


def write_yolo(folder: Path, lines: str, yaml: str) -> Path:
    write_folder(folder / "images" / "train", {"a.jpg": picture(1), "b.jpg": picture(2)})
    write_folder(folder / "images" / "test", {"c.jpg": picture(3)})
    write_folder(folder / "labels" / "train", {"a.txt": lines.encode()})
    (folder / "data.yaml").write_text(yaml)
    return folder


LINES = "1 0.5 0.5 0.5 0.2\n0 0 0 0.5 0 0.5 0.5 0 0.5\n7 0.5 0.5 0.5 0.5\n0 0.5 nan 1 1\n"
YAML = "path: ../sets/x\ntrain: ../images/train\nval:\nnames:\n  0: cat\n  1: dog\n"


def test_lines_of_yolo_are_boxes_and_polygons(tmp_path: Path) -> None:
    source = source_of("yolo", path=write_yolo(tmp_path / "set", LINES, YAML))
    found = labels_of(source)
    assert list(found) == ["images/train/a.jpg", "images/train/b.jpg"]
    assert boxes(found["images/train/a.jpg"]) == [
        ("dog", (12.0, 16.0, 36.0, 24.0), None),
        ("cat", (0.0, 0.0, 24.0, 20.0), None),
        ("", (12.0, 10.0, 36.0, 30.0), "unknown_category"),
        ("cat", (0.0, 0.0, 0.0, 0.0), "malformed_box"),
    ]
    mask = found["images/train/a.jpg"].regions[1].mask
    assert mask is not None and decode_mask(mask).sum() == 24 * 20
    assert len(found["images/train/b.jpg"]) == 0


def test_another_text_file_changes_the_revision(tmp_path: Path) -> None:
    folder = write_yolo(tmp_path / "set", LINES, YAML)
    before = source_of("yolo", path=folder).revision(["images/train/a.jpg"])
    (folder / "labels/train/a.txt").write_text("1 0.5 0.5 0.5 0.25\n")
    assert source_of("yolo", path=folder).revision(["images/train/a.jpg"]) != before


def test_splits_may_be_lists_of_files(tmp_path: Path) -> None:
    folder = write_yolo(tmp_path / "set", LINES, "train: t.txt\nnames: [cat, dog]\n")
    (folder / "t.txt").write_text("./images/train/b.jpg\n")
    assert source_of("yolo", path=folder).list() == ["images/train/b.jpg"]


@pytest.mark.parametrize(
    ("yaml", "message"),
    [
        ("names: 3\n", "names is no list of classes"),
        ("- a\n", "no names and splits in it"),
        ("train: images/trian\nnames: [a]\n", "no image lies in train: images/trian"),
        ("test: images/test\nnames: [a]\n", "data.yaml has none of these"),
    ],
)
def test_what_is_wrong_with_data_yaml_is_said_in_a_line(
    tmp_path: Path, yaml: str, message: str
) -> None:
    with pytest.raises(ValueError, match=message):
        source_of("yolo", path=write_yolo(tmp_path / "set", LINES, yaml)).list()


def test_what_supervision_writes_is_read(tmp_path: Path) -> None:
    supervision = pytest.importorskip("supervision")
    file = tmp_path / "a.jpg"
    file.write_bytes(picture(1))
    drawn = supervision.Detections(xyxy=np.array([[4.0, 8.0, 24.0, 20.0]]), class_id=np.array([1]))
    dataset = supervision.DetectionDataset(["cat", "dog"], [str(file)], {str(file): drawn})
    dataset.as_yolo(
        images_directory_path=str(tmp_path / "set/train/images"),
        annotations_directory_path=str(tmp_path / "set/train/labels"),
        data_yaml_path=str(tmp_path / "set/data.yaml"),
    )
    yaml = (tmp_path / "set/data.yaml").read_text()
    (tmp_path / "set/data.yaml").write_text(f"{yaml}train: ../train/images\n")
    found = labels_of(source_of("yolo", path=tmp_path / "set"))
    ((name, box, dropped),) = boxes(found["train/images/a.jpg"])
    assert (name, dropped) == ("dog", None)
    assert box == pytest.approx((4, 8, 24, 20), abs=0.01)
