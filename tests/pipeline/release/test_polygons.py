"""The polygons of a COCO source, from its file through the stored tables to COCO's file again."""

from __future__ import annotations

import io
import json
from contextlib import redirect_stdout
from dataclasses import replace
from pathlib import Path
from typing import Any

import numpy as np
import pyarrow as pa
import pytest
from PIL import Image, ImageDraw, ImageOps
from pycocotools.coco import COCO

from pipeline.release.coco import coco_of, results_of, write_coco
from pipeline.release.content import MASK, content_of
from pipeline.rows import Record
from pipeline.schema import Annotations, Mask, Region
from pipeline.storage.arrow import arrow_schema, from_dict, from_table, to_dict, to_table
from stages.geometry import decode_mask, encode_mask
from stages.ingest import receive
from stages.sources.coco import CocoConfig, CocoSource
from stages.sources.shapes import mask_of

SIZE = (48, 40)
# Two parts, and corners between pixels.
PARTS = [[4.25, 5.5, 20.0, 6.0, 18.5, 15.5], [30.0, 20.0, 40.5, 20.0, 40.5, 33.25, 30.0, 33.0]]
RING = np.zeros(SIZE[::-1], np.uint8)
RING[10:30, 10:30] = 1
RING[15:20, 15:20] = 0


def runs_of(pixels: np.ndarray) -> list[int]:
    """COCO's run lengths of (height, width), not compressed."""
    flat = np.concatenate([[0], pixels.T.ravel(), [0]])
    # The first run is of zeros; the outermost pixels of the ring's picture are zeros.
    changes = np.flatnonzero(np.diff(flat))
    return np.diff(np.concatenate([[0], changes, [pixels.size]])).tolist()


def ingested(tmp_path: Path, orientation: int) -> Annotations:
    """Two labels of a picture: one of polygons, one with a hole."""
    images = tmp_path / "images"
    images.mkdir()
    exif = Image.Exif()
    exif[0x0112] = orientation
    Image.new("RGB", SIZE, "grey").save(images / "7.jpg", exif=exif)
    content: dict[str, Any] = {
        "images": [{"id": 7, "file_name": "7.jpg", "width": SIZE[0], "height": SIZE[1]}],
        "categories": [{"id": 18, "name": "dog"}],
        "annotations": [
            {"id": 1, "segmentation": PARTS, "bbox": [4.25, 5.5, 36.25, 27.75]},
            {
                "id": 2,
                "segmentation": {"size": [SIZE[1], SIZE[0]], "counts": runs_of(RING)},
                "bbox": [10, 10, 20, 20],
            },
        ],
    }
    for entry in content["annotations"]:
        entry.update(image_id=7, category_id=18, iscrowd=0)
    file = tmp_path / "instances.json"
    file.write_text(json.dumps(content))
    # On an upright picture of another shape, COCO's sizes say how the labels lie.
    source = CocoSource(CocoConfig(path=str(images), instances=str(file), upright=False))
    return receive(next(iter(source.read(["7.jpg"])))).given


def record_of(labels: Annotations, orientation: int = 1) -> Record:
    width, height = SIZE if orientation < 5 else SIZE[::-1]
    return Record(
        key="a",
        name="7.jpg",
        width=width,
        height=height,
        sha256="",
        annotations=labels,
    )


def stored(record: Record) -> Record:
    """A record as it comes back from a table and from the JSON of a tar."""
    (row,) = from_table(Record, to_table(Record, [record]))
    return from_dict(Record, json.loads(json.dumps(to_dict(row))))


def drawn(polygons: list[list[float]], size: tuple[int, int], factor: int = 8) -> np.ndarray:
    """What Pillow makes of polygons, (height, width) of 0 and 1, `factor` times as large."""
    width, height = size
    image = Image.new("L", (width * factor, height * factor))
    for polygon in polygons:
        ImageDraw.Draw(image).polygon([value * factor for value in polygon], fill=1)
    return np.asarray(image)


@pytest.mark.parametrize("orientation", range(1, 9))
def test_polygons_come_back_where_they_lie_on_the_upright_picture(
    orientation: int, tmp_path: Path
) -> None:
    record = stored(record_of(ingested(tmp_path, orientation), orientation))
    parts, ring = coco_of([record]).instances["annotations"]
    found: Any = parts["segmentation"]
    if orientation == 1:
        assert found == PARTS
    exif = Image.Exif()
    exif[0x0112] = orientation
    buffer = io.BytesIO()
    Image.fromarray(drawn(PARTS, SIZE)).save(buffer, "PNG", exif=exif)
    expected = np.asarray(ImageOps.exif_transpose(Image.open(buffer)))
    # Pillow fills the border, which mirrors otherwise: an eighth of a pixel of the picture. Half a
    # pixel would make a difference of 20%.
    differing = drawn(found, (record.width, record.height)) != expected
    assert differing.sum() < 0.06 * expected.sum()
    assert isinstance(ring["segmentation"], dict)
    assert parts["area"] == pytest.approx(expected.sum() / 64, rel=0.1)
    assert ring["area"] == RING.sum()


def test_pycocotools_and_supervision_read_both_forms(tmp_path: Path) -> None:
    record = stored(record_of(ingested(tmp_path, 1)))
    write_coco(tmp_path / "out", coco_of([record]))
    file = tmp_path / "out/instances.json"
    with redirect_stdout(io.StringIO()):
        coco = COCO(str(file))
    pixels = [coco.annToMask(entry) for entry in coco.loadAnns(coco.getAnnIds())]
    own = [decode_mask(region.mask) for region in record.annotations.regions if region.mask]
    np.testing.assert_array_equal(pixels, own)
    supervision = pytest.importorskip("supervision")
    loaded = supervision.DetectionDataset.from_coco(
        images_directory_path=str(tmp_path / "images"),
        annotations_path=str(file),
        force_masks=True,
    )
    (_, _, detections), *_ = loaded
    differing = (detections.mask != np.array(pixels).astype(bool)).sum(axis=(1, 2))
    # It draws with cv2, which fills the pixels of the border, too: at most one pixel along it.
    assert differing[0] <= 80 and differing[1] == 0


def test_what_changes_a_mask_has_no_polygons_and_results_are_run_lengths(tmp_path: Path) -> None:
    region = ingested(tmp_path, 1).regions[0]
    assert region.mask is not None and region.mask.polygons is not None
    changed = replace(region, mask=encode_mask(decode_mask(region.mask)))
    (entry,) = coco_of([record_of(Annotations(regions=[changed]))]).instances["annotations"]
    assert entry["segmentation"] == {"size": list(SIZE[::-1]), "counts": region.mask.counts}
    (result,) = results_of([record_of(Annotations(regions=[region]))])
    assert result["segmentation"] == entry["segmentation"]


def test_tables_from_before_there_were_polygons_are_readable() -> None:
    mask = Mask(size=(40, 48), counts="P`_fQ1")
    region = Region(id="human.regions.1", box=(1, 2, 3, 4), phrase="dog", mask=mask)
    record = record_of(Annotations(regions=[region]))
    plain = to_dict(record)
    del plain["annotations"]["regions"][0]["mask"]["polygons"]
    assert from_dict(Record, plain) == record
    text = arrow_schema(Record).field("annotations").type
    regions = [text.field(number) for number in range(text.num_fields)]
    of_mask = next(each for each in regions if each.name == "regions").type.value_type
    older = pa.struct([pa.field("size", pa.list_(pa.int64(), 2)), pa.field("counts", pa.string())])
    members = []
    for number in range(of_mask.num_fields):
        member = of_mask.field(number)
        members.append(pa.field("mask", older) if member.name == "mask" else member)
    table = pa.Table.from_pylist(
        plain["annotations"]["regions"],
        schema=pa.schema(members),
    )
    assert from_table(Region, table) == [region]


@pytest.mark.parametrize("polygon", [[1.0, 2.0, 3.0, 4.0], [1.0, 2.0, 3.0, 4.0, 5.0], [9e9] * 6])
def test_no_label_with_a_broken_polygon_is_released(polygon: list[float]) -> None:
    mask = mask_of(PARTS, SIZE)
    assert mask is not None
    region = Region(id="a", box=(4, 5, 40, 33), phrase="dog", mask=mask)
    assert not content_of(record_of(Annotations(regions=[region]))).left_out
    broken = replace(region, mask=replace(mask, polygons=(tuple(polygon),)))
    (left_out,) = content_of(record_of(Annotations(regions=[broken]))).left_out
    assert left_out.reason == MASK
