"""Images with the CSV files of Open Images."""

from __future__ import annotations

from collections.abc import Mapping
from pathlib import Path

import pytest
from PIL import Image

from tests.stages.sources.forms import encoded, picture, write_folder
from tests.stages.sources.labelled import SIZE, boxes, labels_of, source_of

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
