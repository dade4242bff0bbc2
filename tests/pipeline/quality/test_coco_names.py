"""Which image of a round an image of a COCO file is, by its name, and what is refused."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any

import pytest

from pipeline.quality.calibration_truth import of_coco
from pipeline.quality.evaluate import evaluate
from pipeline.rows import Record
from pipeline.schema import Annotations, Region


def named(*names: str) -> list[Record]:
    """Records with a box of the class `box` each."""
    region = Region(source="detect", box=(4, 4, 24, 24), phrase="Box", score=0.9)
    records = []
    for number, name in enumerate(names):
        labels = Annotations(regions=[region])
        key = f"k{number}"
        records.append(
            Record(key=key, name=name, width=64, height=48, sha256="", annotations=labels)
        )
    return records


def boxes_in(*names: str, **more: Any) -> dict[str, Any]:
    """A COCO file with the same box in each image."""
    images = [{"id": i, "file_name": name} for i, name in enumerate(names)]
    annotations = [
        {"image_id": float(i), "category_id": "1", "bbox": [4, 4, 20, 20]}
        for i in range(len(names))
    ]
    categories = [{"id": 1, "name": " box "}]
    return {"images": images, "annotations": annotations, "categories": categories, **more}


def test_equal_names_in_several_folders_are_several_images() -> None:
    names = ("cam1/1.png", "cam2/1.png")
    scores = evaluate("detection", boxes_in(*names), named(*names))
    assert (scores["AP"], scores["missing"]) == (pytest.approx(1), 0)
    # Those of a part of the round do not stand for the others.
    scores = evaluate("detection", boxes_in("cam1/1.png"), named("cam2/1.png", "cam1/1.png"))
    assert (scores["AP"], scores["images"], scores["missing"]) == (pytest.approx(1), 1, 0)


@pytest.mark.parametrize(
    ("of_file", "of_round"),
    [
        (("1.png",), ("cam1/1.png", "cam2/1.png")),
        (("cam1/1.png", "cam2/1.png"), ("1.png",)),
    ],
)
def test_names_that_fit_several_images_are_refused_with_two_of_them(
    of_file: tuple[str, ...], of_round: tuple[str, ...], tmp_path: Path
) -> None:
    message = r"cam1/1.png and cam2/1.png have the same name without their folders"
    content = boxes_in(*of_file)
    with pytest.raises(ValueError, match=message):
        evaluate("detection", content, named(*of_round))
    file = tmp_path / "i.json"
    file.write_text(json.dumps(content))
    with pytest.raises(ValueError, match=message):
        of_coco(str(file), named(*of_round))


def test_one_id_or_one_name_for_two_things_is_refused() -> None:
    twice = boxes_in("a.png", "b.png")
    twice["images"][1]["id"] = "0"
    with pytest.raises(ValueError, match=r"images a.png and b.png have the same id 0"):
        evaluate("detection", twice, named("a.png"))
    same = boxes_in("a.png", categories=[{"id": 1, "name": "box"}, {"id": 2, "name": "box "}])
    with pytest.raises(ValueError, match="categories 1 and 2 are both named box"):
        evaluate("detection", same, named("a.png"))
    with pytest.raises(ValueError, match=r"images 0 and 1 are both a.png"):
        evaluate("detection", boxes_in("a.png", "a.png"), named("a.png"))


def test_members_of_one_name_in_several_tars_are_found_by_their_keys_alone() -> None:
    records = named("1.png", "1.png")
    with pytest.raises(ValueError, match=r"several images of the round may be 1.png"):
        evaluate("detection", boxes_in("1.png"), records)
    assert evaluate("detection", records, records)["AP"] == pytest.approx(1)
    keyed = boxes_in("x", "y")
    keyed["images"] = [{"id": "k0"}, {"id": "k1"}]
    for entry, key in zip(keyed["annotations"], ("k0", "k1"), strict=True):
        entry["image_id"] = key
    assert evaluate("detection", keyed, records)["AP"] == pytest.approx(1)
