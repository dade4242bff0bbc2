"""Images with labels of people in the forms of ImageNet, Open Images, YOLO, CVAT, Label Studio."""

from __future__ import annotations

import json
from collections.abc import Mapping
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from PIL import Image

from pipeline.schema import Annotations
from stages import registry
from stages.geometry import decode_mask
from stages.ingest import receive
from tests.stages.sources.forms import encoded, picture, write_folder

SIZE = (48, 40)


def source_of(use: str, **settings: Any) -> Any:
    cls, config = registry.load(use)
    return cls(
        config(
            **{
                name: str(value) if isinstance(value, Path) else value
                for name, value in settings.items()
            }
        )
    )


def labels_of(source: Any) -> dict[str, Annotations]:
    """The labels of every image as ingest gets them, in pixels of the stored picture."""
    names = source.list()
    return {item.name: receive(item).given for item in source.read(names)}


def boxes(labels: Annotations) -> list[tuple[str, tuple[float, ...], str | None]]:
    return [(r.phrase, tuple(round(x, 3) for x in r.box), r.dropped) for r in labels.regions]


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


# Open Images

BOXES = """ImageID,Source,LabelName,Confidence,XMin,XMax,YMin,YMax,IsOccluded,IsTruncated,IsGroupOf
0001eeaf4aed83f9,xclick,/m/0cmf2,1,0.25,0.75,0.1,0.9,0,0,0
000595fe6fee6369,xclick,/m/01g317,1,0,1,0,0.5,1,0,1
0001eeaf4aed83f9,xclick,/m/01g317,1,0.5,0.5,0.1,0.2,0,0,0
not_here,xclick,/m/01g317,1,0,1,0,1,0,0,0
"""
CLASSES = "/m/0cmf2,Airplane\n/m/01g317,Person\n"
LABELS = """ImageID,Source,LabelName,Confidence
000595fe6fee6369,verification,/m/01g317,1
000595fe6fee6369,verification,/m/0cmf2,0
"""


@pytest.fixture
def open_images(tmp_path: Path) -> Mapping[str, Path]:
    write_folder(
        tmp_path / "images",
        {f"{id_}.jpg": picture(1) for id_ in ("0001eeaf4aed83f9", "000595fe6fee6369", "other")},
    )
    files = {"boxes": BOXES, "classes": CLASSES, "labels": LABELS}
    for name, text in files.items():
        (tmp_path / f"{name}.csv").write_text(text)
    return {"path": tmp_path / "images", **{name: tmp_path / f"{name}.csv" for name in files}}


def test_boxes_of_open_images_are_in_pixels_and_groups_are_crowds(
    open_images: Mapping[str, Path],
) -> None:
    found = labels_of(source_of("open_images", **open_images))
    assert boxes(found["0001eeaf4aed83f9.jpg"]) == [
        ("Airplane", (12.0, 4.0, 36.0, 36.0), None),
        ("Person", (24.0, 4.0, 24.0, 8.0), "empty_box"),
    ]
    assert boxes(found["000595fe6fee6369.jpg"]) == [("Person", (0.0, 0.0, 48.0, 20.0), "crowd")]
    assert [text.text for text in found["000595fe6fee6369.jpg"].texts] == ["Person"]
    assert len(found["other.jpg"]) == 0


def test_another_row_changes_the_revision_of_its_image_alone(
    open_images: Mapping[str, Path],
) -> None:
    ids = ["0001eeaf4aed83f9.jpg", "000595fe6fee6369.jpg"]
    before = [source_of("open_images", **open_images).revision([id_]) for id_ in ids]
    open_images["boxes"].write_text(BOXES.replace("0,1,0,0.5", "0,1,0,0.6"))
    after = [source_of("open_images", **open_images).revision([id_]) for id_ in ids]
    assert (before[0] == after[0], before[1] == after[1]) == (True, False)


@pytest.mark.parametrize(
    ("file", "text", "message"),
    [
        ("boxes", "ImageID,LabelName,XMin\n", "no column YMin or XMax or YMax; its columns are"),
        ("boxes", BOXES.replace("0.25", "left"), "cannot be read"),
        ("classes", "/m/0cmf2\n", "expected two columns, a code and a name"),
        ("boxes", BOXES.replace("0001eeaf", "x").replace("000595fe", "y"), "no row of the CSV"),
    ],
)
def test_what_is_wrong_with_a_csv_file_is_said_in_a_line(
    open_images: Mapping[str, Path], file: str, text: str, message: str
) -> None:
    open_images[file].write_text(text)
    settings = {name: path for name, path in open_images.items() if name != "labels"}
    with pytest.raises(ValueError, match=message):
        source_of("open_images", **settings).list()


def test_classes_without_a_name_are_told(
    open_images: Mapping[str, Path], caplog: pytest.LogCaptureFixture
) -> None:
    open_images["classes"].write_text("LabelName,DisplayName\n/m/0cmf2,Airplane\n")
    source_of("open_images", **open_images).list()
    assert "1 classes have no name, such as /m/01g317" in caplog.text


def test_labels_of_a_picture_with_exif_are_turned_with_it(tmp_path: Path) -> None:
    """The boxes are drawn on the pixels of the file, which is stored upright."""
    exif = Image.Exif()
    exif[0x0112] = 6
    data = encoded(Image.new("RGB", SIZE), "JPEG", exif=exif)
    write_folder(tmp_path / "images", {"a.jpg": data})
    (tmp_path / "b.csv").write_text("ImageID,LabelName,XMin,XMax,YMin,YMax\na,x,0,0.5,0,0.25\n")
    settings = {"path": tmp_path / "images", "boxes": tmp_path / "b.csv"}
    found = labels_of(source_of("open_images", **settings))["a.jpg"]
    # 48 x 40 becomes 40 x 48: the left upper corner of the file is the right upper one.
    assert boxes(found) == [("x", (30.0, 0.0, 40.0, 24.0), None)]
    found = labels_of(source_of("open_images", upright=True, **settings))["a.jpg"]
    assert boxes(found) == [("x", (0.0, 0.0, 20.0, 12.0), None)]


# YOLO


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


# CVAT

CVAT = """<?xml version="1.0" encoding="utf-8"?>
<annotations>
  <version>1.1</version>
  <meta><task><labels>
    <label><name>car</name></label><label><name>dog</name></label>
  </labels></task></meta>
  <image id="0" name="cam/a.jpg" width="48" height="40">
    <box label="dog" occluded="0" xtl="4.0" ytl="5.5" xbr="14.0" ybr="25.5" z_order="0"></box>
    <box label="dog" xtl="4" ytl="5" xbr="14" ybr="25" rotation="30.0"></box>
    <polygon label="car" points="0.0,0.0;10.0,0.0;10.0,10.0;0.0,10.0"></polygon>
    <mask label="car" rle="1, 2, 3" left="20" top="30" width="3" height="2"></mask>
    <points label="dog" points="1,1"></points>
    <tag label="street"></tag>
  </image>
  <image id="1" name="cam/b.jpg" width="48" height="40"/>
</annotations>
"""


def test_boxes_polygons_and_masks_of_cvat_come_in(
    tmp_path: Path, caplog: pytest.LogCaptureFixture
) -> None:
    write_folder(tmp_path / "images", {"a.jpg": picture(1), "b.jpg": picture(2)})
    (tmp_path / "annotations.xml").write_text(CVAT)
    source = source_of("cvat", path=tmp_path / "images", xml=tmp_path / "annotations.xml")
    found = labels_of(source)
    assert boxes(found["cam/a.jpg"]) == [
        ("dog", (4.0, 5.5, 14.0, 25.5), None),
        ("dog", (0.0, 0.0, 0.0, 0.0), "malformed_box"),
        ("car", (0.0, 0.0, 10.0, 10.0), None),
        ("car", (20.0, 30.0, 23.0, 32.0), None),
    ]
    polygon, drawn = found["cam/a.jpg"].regions[2].mask, found["cam/a.jpg"].regions[3].mask
    assert polygon is not None and decode_mask(polygon).sum() == 100
    assert drawn is not None
    rows, columns = np.nonzero(decode_mask(drawn))
    assert list(zip(rows.tolist(), columns.tolist(), strict=True)) == [(30, 21), (30, 22)]
    assert len(found["cam/b.jpg"]) == 0
    assert "2 tags, points, lines and skeletons are left out" in caplog.text
    assert source.ids().images == {"cam/a.jpg": 1, "cam/b.jpg": 2}


@pytest.mark.parametrize(
    ("text", "message"),
    [
        ("<annotations></annotations>", "no <image> in <annotations>"),
        ("<annotations><track/></annotations>", "export a video as images"),
        ("<annotations>", "not XML"),
        ('<!DOCTYPE a [<!ENTITY b "c">]><annotations/>', "a document type is in it"),
    ],
)
def test_what_is_wrong_with_the_xml_is_said_in_a_line(
    tmp_path: Path, text: str, message: str
) -> None:
    (tmp_path / "a.xml").write_text(text)
    with pytest.raises(ValueError, match=message):
        source_of("cvat", path=tmp_path, xml=tmp_path / "a.xml")


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
