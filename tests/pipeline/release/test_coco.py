"""The labels of a round as COCO's two files."""

import json
from pathlib import Path

from pipeline.release.coco import coco_of, image_ids, write_coco
from pipeline.schema import Annotations, Record, Region, Text


def record(key: str, name: str, *regions: Region, texts: tuple[Text, ...] = ()) -> Record:
    annotations = Annotations(texts=list(texts), regions=list(regions))
    return Record(key=key, name=name, width=40, height=30, sha256="", annotations=annotations)


def region(id_: str, source: str = "detect", **more: object) -> Region:
    return Region(**{"id": id_, "source": source, "box": (1, 2, 4, 6), "phrase": "dog", **more})


def test_images_keep_their_numbers_only_if_all_have_one() -> None:
    assert image_ids([record("a", "in/0012.jpg"), record("b", "7.jpg")]) == {"a": 12, "b": 7}
    assert image_ids([record("a", "0012.jpg"), record("b", "x.jpg")]) == {"a": 1, "b": 2}
    assert image_ids([record("a", "p/1.jpg"), record("b", "q/1.jpg")]) == {"a": 1, "b": 2}


def test_human_labels_get_their_coco_ids_back_and_others_free_ones() -> None:
    labels = [region("0.detect.1"), region("human.regions.1", "human"), region("0.detect.2")]
    instances, _ = coco_of([record("a", "1.jpg", *labels)])
    assert [entry["id"] for entry in instances["annotations"]] == [2, 1, 3]


def test_crowds_are_kept_as_crowds_and_dropped_labels_left_out() -> None:
    labels = [region("a", dropped="crowd"), region("b", dropped="low_score"), region("c")]
    instances, _ = coco_of([record("a", "1.jpg", *labels)])
    assert [entry["iscrowd"] for entry in instances["annotations"]] == [1, 0]
    assert instances["annotations"][0]["bbox"] == [1, 2, 3, 4]
    assert instances["annotations"][0]["area"] == 12


def test_labels_of_one_source_are_exported_alone(tmp_path: Path) -> None:
    text = Text(id="t", source="caption", granularity="brief", text="Ein Hündchen")
    labelled = record("a", "1.jpg", region("r"), region("s", "fuse"), texts=(text,))
    instances, captions = coco_of([labelled], ["fuse", "caption"])
    assert len(instances["annotations"]) == len(captions["annotations"]) == 1
    write_coco(tmp_path / "new", instances, captions)
    assert json.loads((tmp_path / "new/instances.json").read_text()) == instances
    assert "Hündchen" in (tmp_path / "new/captions.json").read_text()
