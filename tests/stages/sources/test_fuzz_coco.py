"""Generated COCO files: never a traceback, never a lost row, boxes where the generator put them.

Every image has an id, a name and a size of some form, and a picture of some orientation. Sound
labels lie on the grid that the file is drawn on; the others have something that makes no sense.
`scripts/test --slow` runs it.
"""

from __future__ import annotations

import io
import json
import tempfile
from collections.abc import Callable
from dataclasses import dataclass, field
from functools import cache
from pathlib import Path
from typing import Any

import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st
from PIL import Image

from pipeline.quality.evaluate import evaluate
from pipeline.rows import Record
from pipeline.schema import Annotations
from stages.base import SampleError
from stages.ingest import receive
from stages.sources.coco import CocoConfig, CocoSource
from stages.sources.coco_names import plain
from tests.pipeline.quality.test_coco_grids import as_predictions, exported, records_of

SIZES = ((64, 48), (48, 64), (64, 64))  # of upright pictures
FORMATS = {"jpg": "JPEG", "png": "PNG", "webp": "WEBP"}
JUNK: tuple[Any, ...] = (None, True, -1, 1.5, "", "x", [], {}, [None], {"a": 1}, 10**30, "\udcff")


@dataclass
class Expected:
    """What must come of one image."""

    name: str
    boxes: list[tuple[float, ...]] = field(default_factory=list)
    """The sound boxes on the upright picture."""
    labels: int = 0
    """How many labels there are in all."""


@dataclass
class Made:
    """A generated COCO file."""

    content: dict[str, Any]
    pictures: dict[str, bytes]
    expected: dict[str, Expected]
    upright: bool
    is_told: bool
    """Whether the sizes in it, or a picture without a turn, leave no doubt about the grid."""


@cache
def picture(kind: str, orientation: int, size: tuple[int, int]) -> bytes:
    """A picture with this upright size, as it lies in its file."""
    raw = size[::-1] if orientation >= 5 else size
    exif = Image.Exif()
    exif[0x0112] = orientation
    buffer = io.BytesIO()
    Image.new("RGB", raw, "white").save(buffer, kind, exif=exif)
    return buffer.getvalue()


def to_raw(x: float, y: float, orientation: int, size: tuple[int, int]) -> tuple[float, float]:
    """Where a point of the upright picture of this size lies in the file, by the EXIF standard."""
    width, height = size
    places: dict[int, Callable[[], tuple[float, float]]] = {
        1: lambda: (x, y),
        2: lambda: (width - x, y),
        3: lambda: (width - x, height - y),
        4: lambda: (x, height - y),
        5: lambda: (y, x),
        6: lambda: (y, width - x),
        7: lambda: (height - y, width - x),
        8: lambda: (height - y, x),
    }
    return places[orientation]()


ids = st.integers(0, 50)
id_forms = st.sampled_from([lambda n: n, float, str, lambda n: f" {n} "])
names = st.sampled_from(["{}", "a/{}", "./{}", "a\\{}", ".\\b\\{}", "Ä ö/{}", "b/c/{}"])
sides = st.sampled_from([lambda n: n, float, str, lambda n: f"{n} "])
no_sides = st.sampled_from([None, 0, -5, "x", 64.5, True, [64]])
corners = st.tuples(st.integers(0, 20), st.integers(0, 20), st.integers(1, 27), st.integers(1, 27))
outlines = st.sampled_from(["none", "polygon", "polygon and point", "runs", "junk"])


@st.composite
def coco_files(draw: st.DrawFn) -> Made:
    """A COCO file with its pictures."""
    upright = draw(st.booleans())
    made = Made({"images": [], "annotations": []}, {}, {}, upright, is_told=True)
    for number in draw(st.lists(ids, min_size=1, max_size=6, unique=True)):
        _add_image(draw, made, number)
    made.content["categories"] = [{"id": draw(id_forms)(3), "name": draw(names).format("dog ")}]
    for _ in range(draw(st.integers(0, 3))):
        made.content["annotations"].insert(0, draw(st.sampled_from(JUNK)))
    made.content["images"] = draw(st.permutations(made.content["images"]))
    if draw(st.booleans()) or not made.is_told:
        made.content["info"] = {"upright": upright}
    return made


def _add_image(draw: st.DrawFn, made: Made, number: int) -> None:
    """Add an image with its picture and its labels."""
    orientation = draw(st.integers(1, 8))
    size = draw(st.sampled_from(SIZES))
    suffix = draw(st.sampled_from(sorted(FORMATS)))
    name = draw(names).format(f"{number}.{suffix}")
    made.pictures[plain(name)] = picture(FORMATS[suffix], orientation, size)
    drawn = size[::-1] if orientation >= 5 and not made.upright else size
    image: dict[str, Any] = {"id": draw(id_forms)(number), "file_name": name}
    if draw(st.booleans()):
        width, height = drawn
        image |= {"width": draw(sides)(width), "height": draw(sides)(height)}
    elif draw(st.booleans()):
        image |= {"width": draw(no_sides), "height": draw(no_sides)}
    made.content["images"].append(image)
    is_unclear = orientation != 1 and (
        orientation < 5 or drawn == drawn[::-1] or size_is_missing(image)
    )
    made.is_told = made.is_told and not is_unclear
    expected = Expected(name)
    made.expected[name] = expected
    for _ in range(draw(st.integers(0, 3))):
        entry: dict[str, Any] = {"id": draw(id_forms)(len(made.content["annotations"]))}
        entry |= {"image_id": draw(id_forms)(number), "category_id": draw(id_forms)(3)}
        x, y, width, height = draw(corners)
        box = (x, y, x + width, y + height)
        if not made.upright:
            one = to_raw(box[0], box[1], orientation, size)
            other = to_raw(box[2], box[3], orientation, size)
            (x, right), (y, bottom) = map(sorted, zip(one, other, strict=True))
            width, height = right - x, bottom - y
        entry["bbox"] = [x, y, width, height]
        entry["segmentation"] = _outline(draw, (x, y, width, height), drawn)
        if draw(st.integers(0, 4)) == 0:
            part = draw(st.sampled_from(["bbox", "category_id"]))
            entry[part] = draw(st.sampled_from(JUNK))
        else:
            expected.boxes.append(tuple(map(float, box)))
        expected.labels += 1
        made.content["annotations"].append(entry)


def size_is_missing(image: dict[str, Any]) -> bool:
    return not str(image.get("width")).strip().startswith(("48", "64")) or (
        image.get("width") in (64.5, [64]) or image.get("height") in (64.5, [64], None, 0, -5, "x")
    )


def _outline(draw: st.DrawFn, box: tuple[float, ...], size: tuple[int, int]) -> Any:
    """The outline of a box, xywh on a picture of this size, in one of COCO's forms."""
    x, y, width, height = box
    form = draw(outlines)
    polygon = [x, y, x + width, y, x + width, y + height, x, y + height]
    if form == "polygon":
        return [polygon]
    if form == "polygon and point":
        return [[1, 1], polygon, []]
    if form == "runs":
        return {"size": [size[1], size[0]], "counts": [size[0] * size[1]]}
    return draw(st.sampled_from(JUNK)) if form == "junk" else []


def check(made: Made) -> None:
    """Read a generated file, and see that everything is where it was put."""
    with tempfile.TemporaryDirectory() as folder:
        images = Path(folder) / "images"
        for name, data in made.pictures.items():
            (images / name).parent.mkdir(parents=True, exist_ok=True)
            (images / name).write_bytes(data)
        file = Path(folder) / "i.json"
        file.write_text(json.dumps(made.content))
        found = labels_by_name(CocoSource(CocoConfig(path=str(images), instances=str(file))))
        assert found.keys() == made.expected.keys()
        for name, expected in made.expected.items():
            regions = found[name].regions
            assert len(regions) == expected.labels
            kept = [region for region in regions if region.dropped is None]
            assert [region.box for region in kept] == expected.boxes, name
            assert len({region.id for region in regions}) == len(regions)
        check_way_back(Path(folder), records_of(images, file), made)


def check_way_back(folder: Path, records: list[Record], made: Made) -> None:
    """The labels go out, are measured against what they came from, and come in again the same."""
    if not any(record.annotations.kept().regions for record in records):
        return
    first = exported(folder / "first", records)
    # Also where the sizes do not say so, an export is drawn on upright pictures.
    first.write_text(json.dumps({**json.loads(first.read_text()), "info": {"upright": True}}))
    again = {record.name: record for record in records_of(folder / "images", first)}
    for record in records:
        kept = record.annotations.kept().regions
        back = again[record.name].annotations.regions
        assert [(r.box, r.phrase, r.mask) for r in back] == [
            (r.box, r.phrase, r.mask) for r in kept
        ]
    scores = evaluate("detection", first, as_predictions(records))
    assert scores["AP"] == pytest.approx(1), scores


def labels_by_name(source: CocoSource) -> dict[str, Annotations]:
    """The labels of each image in the round. An image that cannot be read fails the test."""
    names = source.list()
    assert source.revision(names) == source.revision(names)
    labels = {}
    for item in source.read(names):
        try:
            labels[item.name] = receive(item).given
        except SampleError as error:
            raise AssertionError(f"{item.name}: {error}") from error
    return labels


@pytest.mark.slow
@settings(max_examples=1000, deadline=None, suppress_health_check=list(HealthCheck))
@given(coco_files())
def test_boxes_are_where_the_generator_put_them(made: Made) -> None:
    check(made)


LISTS = ("images", "annotations", "categories", "info")
VALUES = st.recursive(
    st.sampled_from([*JUNK, 1, 0, "1", 1.0, "a.png", 10**400, float("nan"), float("inf")]),
    lambda inner: (
        st.lists(inner, max_size=3)
        | st.dictionaries(
            st.sampled_from(
                [
                    *("id", "image_id", "category_id", "file_name", "name", "width", "height"),
                    *("bbox", "segmentation", "counts", "size", "iscrowd", "upright"),
                ]
            ),
            inner,
            max_size=5,
        )
    ),
    max_leaves=12,
)


@pytest.mark.slow
@settings(max_examples=3000, deadline=None, suppress_health_check=list(HealthCheck))
@given(st.fixed_dictionaries({}, optional=dict.fromkeys(LISTS, st.lists(VALUES, max_size=4))))
def test_whatever_stands_in_a_file_it_is_read_or_refused_in_a_line(content: Any) -> None:
    read_or_refuse(content)


def read_or_refuse(content: Any) -> None:
    """Read a file of any content; only a ValueError of one line may come of it."""
    with tempfile.TemporaryDirectory() as folder:
        (Path(folder) / "a.png").write_bytes(picture("PNG", 6, (64, 48)))
        file = Path(folder) / "i.json"
        file.write_text(json.dumps(content))
        try:
            source = CocoSource(CocoConfig(path=folder, instances=str(file)))
            names = source.list()
        except ValueError as error:
            assert "\n" not in str(error) and "source." in str(error)
            return
        source.revision(names)
        for item in source.read(names):
            if item.failed is None:
                receive(item)
