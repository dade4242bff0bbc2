"""The labels of a round as COCO's files."""

from __future__ import annotations

import io
import json
from contextlib import redirect_stdout
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from pycocotools import mask as coco_mask
from pycocotools.coco import COCO
from pycocotools.cocoeval import COCOeval

from pipeline.release.class_file import read_categories
from pipeline.release.coco import coco_of, results_of, write_coco
from pipeline.release.ids import ClassTable, Numbering, class_table, coco_numbers, image_ids
from pipeline.rows import Record
from pipeline.schema import Annotations, Mask, Region, Text

PHOTOS = Path(__file__).parents[4] / "shared/data/photos"


def record(key: str, name: str, *regions: Region, texts: tuple[Text, ...] = ()) -> Record:
    annotations = Annotations(texts=list(texts), regions=list(regions))
    return Record(key=key, name=name, width=40, height=30, sha256="", annotations=annotations)


def region(id_: str, source: str = "detect", **more: object) -> Region:
    return Region(**{"id": id_, "source": source, "box": (1, 2, 4, 6), "phrase": "dog", **more})


def mask() -> Mask:
    bitmap = np.zeros((30, 40), np.uint8, "F")
    bitmap[2:6, 1:3] = 1
    return Mask(size=(30, 40), counts=coco_mask.encode(bitmap)["counts"].decode())


def read_by_pycocotools(records: list[Record], folder: Path) -> COCO:
    write_coco(folder, coco_of(records))
    with redirect_stdout(io.StringIO()):
        return COCO(str(folder / "instances.json"))


def test_an_image_has_the_number_of_its_file() -> None:
    assert image_ids([record("a", "in/0012.jpg"), record("b", "7.jpg")], {}) == {"a": 12, "b": 7}


def test_an_id_does_not_depend_on_the_other_images() -> None:
    named = [record("a", "0012.jpg"), record("b", "x.jpg"), record("c", "p/1.jpg")]
    ids = image_ids(named, {})
    assert ids["a"] == 12 and ids["c"] == 1
    # Whole numbers up to 2 ** 53 are exact in JSON and in float64.
    assert 2**52 <= ids["b"] < 2**53
    for alone in named:
        assert image_ids([alone], {})[alone.key] == ids[alone.key]


def test_a_number_that_two_files_have_is_the_id_of_neither() -> None:
    ids = image_ids([record("a", "p/1.jpg"), record("b", "q/1.jpg")], {})
    assert len(set(ids.values())) == 2 and 1 not in ids.values()
    assert image_ids([record("a", "99999999999999999.jpg")], {})["a"] < 2**53


def test_the_ids_of_the_source_go_back_and_no_other_image_takes_one() -> None:
    given = {"a": 601, "b": "left-7"}
    named = [record("a", "x.jpg"), record("b", "y.jpg"), record("c", "601.jpg")]
    ids = image_ids(named, given)
    assert (ids["a"], ids["b"]) == (601, "left-7")
    assert isinstance(ids["c"], int) and ids["c"] >= 2**52


def test_human_labels_get_their_coco_ids_back_and_others_keep_theirs() -> None:
    labels = [region("0.detect.1"), region("human.regions.1", "human"), region("0.detect.2")]
    sample = record("a", "1.jpg", *labels)
    ids = [entry["id"] for entry in coco_of([sample]).instances["annotations"]]
    assert ids[1] == 1 and len(set(ids)) == 3
    for sources in (["detect"], ["human"]):
        alone = [entry["id"] for entry in coco_of([sample], sources).instances["annotations"]]
        assert set(alone) <= set(ids)
    # The same id in two images, as a file with repeated ids gives.
    twice = [record(key, f"{key}.jpg", region("human.regions.1", "human")) for key in "ab"]
    first, second = [entry["id"] for entry in coco_of(twice).instances["annotations"]]
    assert first == 1 and second != 1


TABLE: list[Any] = [
    {"id": 1, "name": "person", "supercategory": "person"},
    {"id": 18, "name": "dog", "supercategory": "animal"},
    {"id": 44, "name": "bottle", "supercategory": "kitchen"},
]


def test_the_categories_of_the_source_go_back_and_new_ones_come_behind() -> None:
    sample = record("a", "1.jpg", region("a"), region("b", phrase="zebra"))
    table = class_table([sample], TABLE)
    instances = coco_of([sample], numbering=Numbering(table)).instances
    assert instances["categories"] == [*TABLE, {"id": 45, "name": "zebra"}]
    assert [entry["category_id"] for entry in instances["annotations"]] == [18, 45]
    # Without its box a new class is not listed, and the classes of the source are.
    assert coco_of([], numbering=Numbering(table)).instances["categories"] == TABLE


def test_the_numbers_of_coco_are_those_of_its_own_file() -> None:
    numbers = coco_numbers()
    assert len(numbers) == 80
    assert [numbers[name] for name in ("person", "stop sign", "toothbrush")] == [1, 13, 90]
    if PHOTOS.exists():
        listed = json.loads((PHOTOS / "instances.json").read_text())["categories"]
        assert numbers == {category["name"]: category["id"] for category in listed}


def test_a_class_has_one_number_whatever_is_exported() -> None:
    labels = [
        region("a", phrase="dog"),
        region("b", phrase="axolotl", dropped="low_score"),
        region("c", "refine", phrase="aardvark", round=1),
        region("d", phrase="yak"),
    ]
    sample = record("a", "1.jpg", *labels)
    for sources in ([], ["refine"], ["detect"]):
        listed = coco_of([sample], sources).instances["categories"]
        numbers = {category["name"]: category["id"] for category in listed}
        # 18 is COCO's. Then the classes of round 0, also of dropped labels, then that of round 1.
        assert numbers.items() <= {"dog": 18, "yak": 92, "aardvark": 93}.items()
    # An earlier round has the same numbers.
    before = coco_of([record("a", "1.jpg", *labels[:2], labels[3])]).instances["categories"]
    assert before == [{"id": 18, "name": "dog"}, {"id": 92, "name": "yak"}]


def test_the_classes_of_a_detector_are_counted_in_its_order() -> None:
    classes = ["helmet", "vest", "glove"]
    for phrases in (["glove"], ["vest", "glove"], ["vest", "boot"]):
        sample = record("a", "1.jpg", *[region(name, phrase=name) for name in phrases])
        numbering = Numbering(class_table([sample], (), classes))
        listed = coco_of([sample], numbering=numbering).instances["categories"]
        expected = {"helmet": 1, "vest": 2, "glove": 3, "boot": 4}
        assert listed == [{"id": expected[name], "name": name} for name in phrases]


def test_a_file_fixes_the_categories_and_a_class_that_it_lacks_is_refused(tmp_path: Path) -> None:
    for content in ({"categories": TABLE}, TABLE):
        (tmp_path / "c.json").write_text(json.dumps(content))
        assert read_categories(str(tmp_path / "c.json")) == TABLE
    fixed = Numbering(ClassTable(TABLE))
    instances = coco_of([record("a", "1.jpg", region("a"))], numbering=fixed).instances
    assert instances["categories"] == TABLE
    lacking = record("a", "1.jpg", region("a"), region("b", phrase="zebra"))
    with pytest.raises(ValueError, match="the categories do not have zebra"):
        coco_of([lacking], numbering=fixed)


@pytest.mark.parametrize(
    ("content", "message"),
    [
        ({"images": []}, "no categories; give a COCO file"),
        ([], "no categories"),
        (["dog"], "needs a number and a name: dog"),
        ([{"id": "1", "name": "dog"}], "needs a number and a name"),
        ([{"id": True, "name": "dog"}], "needs a number and a name"),
        ([{"id": 1, "name": "dog"}, {"id": 1, "name": "cat"}], "cat or its id 1 is there twice"),
        ([{"id": 1, "name": "dog"}, {"id": 2, "name": " dog"}], "dog or its id 2 is there twice"),
    ],
)
def test_a_file_that_fixes_nothing_is_refused(
    content: object, message: str, tmp_path: Path
) -> None:
    (tmp_path / "c.json").write_text(json.dumps(content))
    with pytest.raises(ValueError, match=message):
        read_categories(str(tmp_path / "c.json"))


def test_crowds_are_kept_as_crowds_and_dropped_labels_left_out() -> None:
    labels = [region("a", dropped="crowd"), region("b", dropped="low_score"), region("c")]
    export = coco_of([record("a", "1.jpg", *labels)])
    entries = export.instances["annotations"]
    assert [entry["iscrowd"] for entry in entries] == [1, 0]
    assert entries[0]["bbox"] == [1, 2, 3, 4]
    assert entries[0]["area"] == 12
    assert len(results_of([record("a", "1.jpg", *labels)])) == 1


def test_labels_of_one_source_are_exported_alone(tmp_path: Path) -> None:
    text = Text(id="t", source="caption", granularity="brief", text="Ein H\u00fcndchen", score=0.5)
    labelled = record("a", "1.jpg", region("r"), region("s", "fuse"), texts=(text,))
    export = coco_of([labelled], ["fuse", "caption"])
    entries = export.captions["annotations"]
    assert len(export.instances["annotations"]) == len(entries) == 1
    assert entries[0]["score"] == 0.5
    write_coco(tmp_path / "new", export)
    assert json.loads((tmp_path / "new/instances.json").read_text()) == export.instances
    assert "H\u00fcndchen" in (tmp_path / "new/captions.json").read_text()
    assert not (tmp_path / "new/results.json").exists()


def test_a_score_is_what_the_merge_believes_or_else_that_of_the_source() -> None:
    labels = [
        region("a", score=0.4),
        region("b", score=0.4, confidence=0.9),
        region("human.regions.3", "human"),
    ]
    entries = coco_of([record("a", "1.jpg", *labels)]).instances["annotations"]
    assert [entry.get("score") for entry in entries] == [0.4, 0.9, None]


def test_pycocotools_reads_all_that_is_written(tmp_path: Path) -> None:
    samples = [
        record("a", "1.jpg", region("a", mask=mask()), region("human.regions.5", "human")),
        record("b", "2.jpg", region("b", score=0.5)),
    ]
    coco = read_by_pycocotools(samples, tmp_path)
    shown = io.StringIO()
    with redirect_stdout(shown):
        coco.info()
    assert "upright: True" in shown.getvalue()
    # Of pycocotools 2.0.9 and 2.0.10, `loadRes` copies it.
    assert coco.dataset["info"] and coco.dataset["licenses"] == []
    masked, plain = coco.loadAnns(coco.getAnnIds(imgIds=[1]))
    assert coco.annToMask(masked).sum() == 8
    assert "segmentation" not in plain
    with redirect_stdout(io.StringIO()):
        captions = COCO(str(tmp_path / "captions.json"))
        captions.info()
    assert captions.getImgIds() == [1, 2]


@pytest.mark.parametrize(
    ("sources", "count", "precision"),
    # Without its human label, recall ends at 2 / 3: pycocotools takes 67 of 101 points up to there.
    [(["detect"], 2, 67 / 101), ([], 3, 1)],
)
def test_pycocotools_scores_the_results(
    sources: list[str], count: int, precision: float, tmp_path: Path
) -> None:
    labels = [
        region("a", mask=mask(), score=0.4),
        region("b", box=(9, 9, 20, 20)),
        region("human.regions.5", "human", box=(20, 2, 30, 9)),
    ]
    samples = [record("a", "1.jpg", *labels)]
    coco = read_by_pycocotools(samples, tmp_path)
    write_coco(tmp_path, coco_of(samples), results_of(samples, sources))
    with redirect_stdout(io.StringIO()):
        found = coco.loadRes(str(tmp_path / "results.json"))
        scored = COCOeval(coco, found, "bbox")
        scored.evaluate()
        scored.accumulate()
        scored.summarize()
    assert len(found.anns) == count
    assert scored.stats[0] == pytest.approx(precision)
