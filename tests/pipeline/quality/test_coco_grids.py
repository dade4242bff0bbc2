"""Turned pictures with labels on both pixel grids, all the way: in, measured, out, in and out."""

from __future__ import annotations

import io
import json
from collections.abc import Sequence
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from PIL import Image

from pipeline.ingest.shard import stamped
from pipeline.quality.calibration_truth import of_coco
from pipeline.quality.evaluate import evaluate
from pipeline.release.coco import coco_of, write_coco
from pipeline.rows import Record
from pipeline.schema import Annotations
from stages.ingest import receive
from stages.source import make_key
from stages.sources.coco import CocoConfig, CocoSource
from tests.stages.sources.forms import write_coco as write_file
from tests.stages.sources.forms import write_folder

FORMATS = {"jpg": "JPEG", "png": "PNG", "tif": "TIFF", "webp": "WEBP"}
UPRIGHT = (64, 48)
BOX = (6, 4, 26, 20)  # xyxy on the upright picture


@dataclass(frozen=True)
class Photo:
    """A picture as a camera stores it, and its box on both grids."""

    name: str
    data: bytes
    orientation: int
    raw_size: tuple[int, int]
    raw_box: tuple[int, int, int, int]


def stored(pixels: np.ndarray, orientation: int) -> np.ndarray:
    """Upright pixels as a camera stores them; the EXIF standard says where row 0 and column 0 of
    the file are to be seen."""
    if orientation in (5, 6, 7, 8):
        pixels = pixels.swapaxes(0, 1)
    # Visual places of row 0: 3 and 4 bottom, 6 and 7 right; of column 0: 2 and 3 right, 7 and 8
    # bottom.
    if orientation in (3, 4, 6, 7):
        pixels = pixels[::-1]
    if orientation in (2, 3, 7, 8):
        pixels = pixels[:, ::-1]
    return pixels


def photo(name: str, kind: str, orientation: int, size: tuple[int, int] = UPRIGHT) -> Photo:
    """A white picture with a black box."""
    x1, y1, x2, y2 = BOX
    upright = np.full((size[1], size[0], 3), 255, np.uint8)
    upright[y1:y2, x1:x2] = 0
    raw = np.ascontiguousarray(stored(upright, orientation))
    rows, columns = np.nonzero(raw[..., 0] == 0)
    exif = Image.Exif()
    exif[0x0112] = orientation
    buffer = io.BytesIO()
    Image.fromarray(raw).save(buffer, kind, exif=exif)
    return Photo(
        name=name,
        data=buffer.getvalue(),
        orientation=orientation,
        raw_size=(raw.shape[1], raw.shape[0]),
        raw_box=(
            int(columns.min()),
            int(rows.min()),
            int(columns.max()) + 1,
            int(rows.max()) + 1,
        ),
    )


def forty_photos() -> list[Photo]:
    """Every orientation in every format, and a square picture of every orientation."""
    photos = []
    for orientation in range(1, 9):
        for suffix in FORMATS:
            name = f"{suffix}{orientation}.{suffix}"
            photos.append(photo(name, FORMATS[suffix], orientation))
        photos.append(photo(f"square{orientation}.png", "PNG", orientation, (64, 64)))
    return photos


def coco_content(photos: Sequence[Photo], upright: bool, sizes: bool = True) -> dict[str, Any]:
    """The boxes and masks of the pictures on one of the two grids."""
    images, annotations = [], []
    for number, picture in enumerate(photos, 1):
        width, height = picture.raw_size
        if upright and picture.orientation >= 5:
            width, height = height, width
        x1, y1, x2, y2 = BOX if upright else picture.raw_box
        image: dict[str, Any] = {"id": number, "file_name": picture.name}
        if sizes:
            image |= {"width": width, "height": height}
        images.append(image)
        annotations.append(
            {
                "id": number,
                "image_id": number,
                "category_id": 1,
                "bbox": [x1, y1, x2 - x1, y2 - y1],
                "segmentation": [[x1, y1, x2, y1, x2, y2, x1, y2]],
                "iscrowd": 0,
            }
        )
    categories = [{"id": 1, "name": "box"}]
    return {"images": images, "annotations": annotations, "categories": categories}


def records_of(folder: Path, file: Path, **settings: Any) -> list[Record]:
    """What ingest makes of a COCO file, as the records of a round."""
    source = CocoSource(CocoConfig(path=str(folder), instances=str(file), **settings))
    records = []
    for item in source.read(source.list()):
        image = receive(item)
        transform = None
        if image.orientation != 1:
            transform = f"exif_orientation_{image.orientation}"
        records.append(
            Record(
                key=make_key(item.name),
                name=item.name,
                width=image.width,
                height=image.height,
                sha256="",
                transform=transform,
                annotations=stamped(image.given, "coco"),
            )
        )
    return records


def exported(folder: Path, records: Sequence[Record]) -> Path:
    """The export of some records."""
    write_coco(folder, coco_of(records))
    return folder / "instances.json"


def as_predictions(records: Sequence[Record]) -> list[Record]:
    """The same labels as if a detector had made them."""
    predicted = []
    for record in records:
        regions = [replace(r, source="detect", score=0.9) for r in record.annotations.regions]
        predicted.append(replace(record, annotations=Annotations(regions=regions)))
    return predicted


def boxes_of(records: Sequence[Record]) -> dict[str, tuple[float, ...]]:
    return {record.name: record.annotations.regions[0].box for record in records}


@pytest.mark.parametrize("upright", [False, True], ids=["raw", "upright"])
def test_every_orientation_in_every_format_keeps_its_box_all_the_way(
    tmp_path: Path, upright: bool
) -> None:
    photos = forty_photos()
    folder = write_folder(tmp_path / "in", {p.name: p.data for p in photos})
    file = tmp_path / "instances.json"
    file.write_text(json.dumps(coco_content(photos, upright)))
    records = records_of(folder, file)
    expected = {picture.name: pytest.approx(BOX, abs=0.5) for picture in photos}
    assert len(records) == len(photos) and boxes_of(records) == expected
    for kind in ("detection", "segmentation"):
        scores = evaluate(kind, file, as_predictions(records))
        assert (scores["AP"], scores["missing"]) == (pytest.approx(1), 0)
    truth_of = of_coco(str(file), records)
    for record in records:
        truth = truth_of(record)
        assert truth is not None and truth.annotations.regions[0].box == pytest.approx(BOX, abs=0.5)
        assert truth.annotations.regions[0].mask == record.annotations.regions[0].mask
    first = exported(tmp_path / "first", records)
    again = records_of(folder, first)
    assert boxes_of(again) == expected
    second = exported(tmp_path / "second", again)
    assert json.loads(second.read_text()) == json.loads(first.read_text())
    assert evaluate("segmentation", second, as_predictions(records))["AP"] == pytest.approx(1)


def test_pictures_whose_sizes_do_not_tell_follow_those_of_the_same_file(tmp_path: Path) -> None:
    photos = [photo(f"{n}.png", "PNG", n) for n in (2, 3, 6)]
    folder = write_folder(tmp_path / "in", {p.name: p.data for p in photos})
    for upright in (False, True):
        file = tmp_path / "i.json"
        file.write_text(json.dumps(coco_content(photos, upright)))
        assert set(boxes_of(records_of(folder, file)).values()) == {BOX}


def test_where_nothing_tells_the_grid_one_line_says_so(
    tmp_path: Path, caplog: pytest.LogCaptureFixture
) -> None:
    photos = [photo("2.png", "PNG", 2), photo("6.png", "PNG", 6, (64, 64))]
    folder = write_folder(tmp_path / "in", {p.name: p.data for p in photos})
    file = tmp_path / "i.json"
    content = coco_content(photos, upright=True)
    file.write_text(json.dumps(content))
    records = records_of(folder, file)
    assert set(boxes_of(records).values()) != {BOX}
    (message,) = caplog.messages
    assert "2 pictures that viewers turn by their EXIF orientation have labels" in message
    assert "source.upright=true or false" in message
    caplog.clear()
    # The file that the labels came from is read as the source read it.
    assert evaluate("detection", file, as_predictions(records))["AP"] == pytest.approx(1)
    (message,) = caplog.messages
    assert "2 pictures" in message and '"info": {"upright": true}' in message
    caplog.clear()
    assert set(boxes_of(records_of(folder, file, upright=True)).values()) == {BOX}
    # A file may say it itself.
    file.write_text(json.dumps({**content, "info": {"upright": True}}))
    records = records_of(folder, file)
    assert set(boxes_of(records).values()) == {BOX}
    assert evaluate("detection", file, as_predictions(records))["AP"] == pytest.approx(1)
    assert caplog.messages == []


def test_a_file_with_both_grids_is_told_and_each_picture_counts_by_its_size(
    tmp_path: Path, caplog: pytest.LogCaptureFixture
) -> None:
    photos = [photo("6.png", "PNG", 6), photo("8.png", "PNG", 8), photo("1.png", "PNG", 1)]
    folder = write_folder(tmp_path / "in", {p.name: p.data for p in photos})
    raw, upright = coco_content(photos, False), coco_content(photos, True)
    for part in ("images", "annotations"):
        raw[part][0] = upright[part][0]
    file = tmp_path / "i.json"
    file.write_text(json.dumps(raw))
    assert set(boxes_of(records_of(folder, file)).values()) == {BOX}
    (message,) = caplog.messages
    assert "1 have the size of the upright picture and 1 that of the file" in message


def test_boxes_on_the_upright_picture_with_the_size_of_the_file_are_told_and_can_be_set(
    tmp_path: Path, caplog: pytest.LogCaptureFixture
) -> None:
    """As Label Studio writes them."""
    portrait = photo("portrait.jpg", "JPEG", 6, (48, 64))
    folder = write_folder(tmp_path / "in", {portrait.name: portrait.data})
    image = {"id": 0, "file_name": portrait.name, "width": 64, "height": 48}
    label = {"id": 0, "image_id": 0, "category_id": 0, "bbox": [4, 40, 20, 20]}
    outline = [[4, 40, 24, 40, 24, 60, 4, 60]]
    file = write_file(
        tmp_path / "i.json",
        [image],
        [{**label, "segmentation": outline}],
        categories=[{"id": 0, "name": "box"}],
    )
    for settings in ({}, {"upright": False}):
        records_of(folder, file, **settings)
        (message,) = caplog.messages
        assert "boxes of 1 pictures stick out" in message and "set source.upright=true" in message
        caplog.clear()
    (record,) = records_of(folder, file, upright=True)
    (region,) = record.annotations.regions
    assert (region.box, region.dropped) == ((4, 40, 24, 60), None)
    assert region.mask is not None and region.mask.size == (64, 48)
    assert caplog.messages == []


def test_truth_of_another_size_is_refused(tmp_path: Path) -> None:
    photos = [photo("1.png", "PNG", 1)]
    folder = write_folder(tmp_path / "in", {p.name: p.data for p in photos})
    content = coco_content(photos, False)
    file = tmp_path / "i.json"
    file.write_text(json.dumps(content))
    records = records_of(folder, file)
    content["images"][0] |= {"width": 128, "height": 96}
    file.write_text(json.dumps(content))
    message = "1 images have another size than in the round, 1.png 128x96 and not 64x48"
    with pytest.raises(ValueError, match=message):
        evaluate("detection", file, as_predictions(records))
    with pytest.raises(ValueError, match=message):
        of_coco(str(file), records)


def test_the_revision_changes_with_the_decision_and_is_stable_without_one(tmp_path: Path) -> None:
    photos = [photo("2.png", "PNG", 2), photo("6.png", "PNG", 6)]
    folder = write_folder(tmp_path / "in", {p.name: p.data for p in photos})
    file = tmp_path / "i.json"

    def revision(content: dict[str, Any], **settings: Any) -> str:
        file.write_text(json.dumps(content))
        source = CocoSource(CocoConfig(path=str(folder), instances=str(file), **settings))
        return source.revision(["2.png"])

    upright = coco_content(photos, upright=True)
    raw = {**upright, "images": coco_content(photos, upright=False)["images"]}
    assert revision(upright) == revision(upright) != revision(raw)
    assert revision(upright, upright=True) == revision(raw, upright=True)
    assert revision(upright, upright=True) != revision(upright, upright=False)


def test_of_an_outline_in_the_truth_only_what_makes_no_sense_is_left_out() -> None:
    photos = [photo("1.png", "PNG", 1)]
    content = coco_content(photos, upright=False)
    (entry,) = content["annotations"]
    (good,) = entry["segmentation"]
    prediction = {**entry, "score": 1.0}
    for outline in ([good, [1, 1]], [[], good]):
        entry["segmentation"] = outline
        assert evaluate("segmentation", content, [prediction])["AP"] == pytest.approx(1)
    entry["segmentation"] = [[]]
    assert evaluate("detection", content, [prediction])["AP"] == pytest.approx(1)
    with pytest.raises(ValueError, match=r"ground truth annotations\[0\]: no 'segmentation'"):
        evaluate("segmentation", content, [prediction])
