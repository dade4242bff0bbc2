"""Images with labels of people: folders of classes, Label Studio, Objects365."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any

import pytest

from tests.stages.sources.forms import picture, write_folder
from tests.stages.sources.labelled import boxes, labels_of, source_of

# ImageNet's folders


def test_the_class_of_an_image_is_the_folder_that_it_lies_in(
    tmp_path: Path, caplog: pytest.LogCaptureFixture
) -> None:
    for number, name in enumerate(("train/n01/a.JPEG", "n02/b.jpg", "c.jpg")):
        file = tmp_path / "set" / name
        file.parent.mkdir(parents=True, exist_ok=True)
        file.write_bytes(picture(number))
    source = source_of("class_folders", path=tmp_path / "set")
    found = labels_of(source)
    texts = {
        name: [(t.text, t.granularity, t.source) for t in own.texts] for name, own in found.items()
    }
    assert texts == {
        "c.jpg": [],
        "n02/b.jpg": [("n02", "label", "human")],
        "train/n01/a.JPEG": [("n01", "label", "human")],
    }
    assert (
        "1 images lie in no folder of a class and have no label; the first is c.jpg" in caplog.text
    )
    assert source.revision(["n02/b.jpg"]) == ""


def test_names_of_classes_come_from_a_file_which_may_be_corrected(tmp_path: Path) -> None:
    write_folder(tmp_path / "set" / "n01", {"a.jpg": picture(1)})
    file = tmp_path / "LOC_synset_mapping.txt"
    file.write_text("n01 tench, Tinca tinca\nn02\tgoldfish\n")
    source = source_of("class_folders", path=tmp_path / "set", names=file)
    (text,) = labels_of(source)["n01/a.jpg"].texts
    assert text.text == "tench, Tinca tinca"
    before = source.revision(["n01/a.jpg"])
    file.write_text("n01 tench\n")
    assert source_of("class_folders", path=tmp_path / "set", names=file).revision(
        ["n01/a.jpg"]
    ) not in ("", before)
    file.write_text("n01\n")
    with pytest.raises(ValueError, match="line 1 has no name behind n01"):
        source_of("class_folders", path=tmp_path / "set", names=file)


# Label Studio


def task(image: str, **more: Any) -> dict[str, Any]:
    result = {
        "id": "r1",
        "type": "rectanglelabels",
        "original_width": 48,
        "original_height": 40,
        "image_rotation": 0,
        "value": {
            "x": 25,
            "y": 10,
            "width": 50,
            "height": 80,
            "rotation": 0,
            "rectanglelabels": ["dog"],
        },
    }
    newest = {"updated_at": "2026-02", "result": [result, {"type": "choices"}]}
    older = {"updated_at": "2026-01", "result": []}
    cancelled = {"updated_at": "2026-03", "was_cancelled": True, "result": []}
    return {"data": {"image": image}, "annotations": [newest, older, cancelled], **more}


@pytest.mark.parametrize(
    "image",
    [
        "/data/upload/1/0a1b2c3d-a.jpg",
        "/data/local-files/?d=sets%2Fx%2Fa.jpg",
        "https://host/bucket/a.jpg?token=1",
        "s3://bucket/sets/a.jpg",
        "a.jpg",
    ],
)
def test_the_newest_rectangles_of_label_studio_come_in(tmp_path: Path, image: str) -> None:
    write_folder(tmp_path / "images", {"a.jpg": picture(1)})
    (tmp_path / "tasks.json").write_text(json.dumps([task(image)]))
    source = source_of("labelstudio", path=tmp_path / "images", tasks=tmp_path / "tasks.json")
    assert boxes(labels_of(source)["a.jpg"]) == [("dog", (12.0, 4.0, 36.0, 36.0), None)]


def test_a_task_that_names_no_picture_is_refused(tmp_path: Path) -> None:
    (tmp_path / "tasks.json").write_text(json.dumps([task("a.jpg"), {"id": 7, "data": {}}]))
    with pytest.raises(ValueError, match=r"task 7 names no picture in data\.image"):
        source_of("labelstudio", path=tmp_path, tasks=tmp_path / "tasks.json")


# Objects365 is COCO JSON with names of its own


def test_the_names_crowds_and_empty_boxes_of_objects365_come_in(tmp_path: Path) -> None:
    """Its names begin with `images/v1/`, and its archives unpack to `patch0/`."""
    write_folder(tmp_path / "set" / "patch0", {"objects365_v1_00420917.jpg": picture(1)})
    write_folder(tmp_path / "set" / "patch8", {"objects365_v2_00900001.jpg": picture(2)})
    images = [
        {
            "id": 420917,
            "file_name": "images/v1/patch0/objects365_v1_00420917.jpg",
            "width": 48,
            "height": 40,
            "license": 5,
            "url": "",
        },
        {
            "id": 900001,
            "file_name": "images/v2/patch8/objects365_v2_00900001.jpg",
            "width": 48,
            "height": 40,
        },
    ]
    common = {"image_id": 420917, "category_id": 1, "isfake": 0, "isreflected": 0}
    annotations = [
        {**common, "id": 1, "iscrowd": 0, "area": 200.5, "bbox": [4.25, 5.5, 10.5, 20.25]},
        {**common, "id": 2, "iscrowd": 1, "area": 96, "bbox": [0, 0, 12, 8]},
        {**common, "id": 3, "iscrowd": 0, "area": 0, "bbox": [3, 3, 0, 9]},
        {**common, "id": 4, "iscrowd": 0, "area": 9, "bbox": [45.0, 38.0, 4.0, 3.0]},
    ]
    file = tmp_path / "zhiyuan_objv2_train.json"
    categories = [{"id": 1, "name": " Person "}]
    file.write_text(
        json.dumps({"images": images, "annotations": annotations, "categories": categories})
    )
    found = labels_of(source_of("coco", path=tmp_path / "set", instances=file))
    assert boxes(found["images/v1/patch0/objects365_v1_00420917.jpg"]) == [
        ("Person", (4.25, 5.5, 14.75, 25.75), None),
        ("Person", (0.0, 0.0, 12.0, 8.0), "crowd"),
        ("Person", (3.0, 3.0, 3.0, 12.0), "empty_box"),
        ("Person", (45.0, 38.0, 49.0, 41.0), None),
    ]
    assert len(found["images/v2/patch8/objects365_v2_00900001.jpg"]) == 0
