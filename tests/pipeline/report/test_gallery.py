from __future__ import annotations

import base64
import io
from dataclasses import replace

import numpy as np
from PIL import Image

from pipeline.report.disputes import ENSEMBLE, MODEL, SPECIALISTS, disputes
from pipeline.report.embedded import light_data_uri
from pipeline.report.gallery import gallery
from pipeline.report.views import PictureView, ReportData, RoundView
from pipeline.rows import Failure
from pipeline.schema import Annotations, Box, Mask, Region, Text, Triplet
from stages.geometry import encode_mask

BOX: Box = (8, 8, 40, 40)
FAR: Box = (44, 44, 60, 60)


def region(id_: str, box: Box = BOX, **more: object) -> Region:
    return Region(**{"id": id_, "source": "detect", "box": box, "phrase": "cup", **more})


def square() -> Mask:
    pixels = np.zeros((64, 64), np.uint8)
    pixels[8:40, 8:40] = 1
    return encode_mask(pixels)


def picture(**more: object) -> PictureView:
    file = io.BytesIO()
    Image.new("RGB", (64, 64), "white").save(file, "PNG")
    return PictureView(**{"key": "a", "image": file.getvalue(), "size": (64, 64), **more})


def report(*pictures: PictureView, head: str = "01-bb") -> ReportData:
    rounds = [
        RoundView(name="00-aa", status="accepted", kept={}),
        RoundView(name="01-bb", status="accepted", kept={}, parent="00-aa"),
    ]
    return ReportData(experiment="x", images=9, rounds=rounds, pictures=pictures, head=head)


def test_a_label_and_a_mask_are_stored_once_for_all_rounds() -> None:
    text = Text(id="t", source="caption", granularity="brief", text="A cup.")
    phrase = Triplet(id="p", text_id="t", phrase="A cup", start=0, end=5, box=BOX, mask=square())
    first = Annotations([text], [region("r", mask=square())], [], [phrase])
    later = replace(first, regions=[region("r", mask=square(), dropped="not_supported")])
    made = gallery(report(picture(rounds={"00-aa": first, "01-bb": later}, truth=first)))
    (sample,) = made.values["samples"]
    assert sample["rounds"] == [[0, 1, 2], [0, 3, 2], [0, 1, 2]]
    assert [label.get("dropped") for label in sample["labels"]] == [
        None,
        None,
        None,
        "not_supported",
    ]
    assert [label.get("mask") for label in sample["labels"]] == [None, 0, 0, 0]
    assert len(sample["masks"]) == len(made.images) == 1
    assert made.values["head"] == 1


def test_an_object_has_one_number_in_all_rounds_and_in_the_truth() -> None:
    first = Annotations(regions=[region("far", FAR), region("near")])
    later = Annotations(regions=[region("1.near", (9, 9, 41, 41))])
    truth = Annotations(regions=[region("t", (8, 9, 40, 41))])
    made = gallery(report(picture(rounds={"00-aa": first, "01-bb": later}, truth=truth)))
    numbers = {label["id"]: label["object"] for label in made.values["samples"][0]["labels"]}
    assert numbers == {"far": 0, "near": 1, "1.near": 1, "t": 1}


def test_each_round_tells_what_it_changed_in_the_round_that_it_began_with() -> None:
    first = Annotations(regions=[region("a"), region("b", FAR)])
    later = Annotations(regions=[region("a", dropped="not_supported"), region("b", FAR)])
    failures = {"01-bb": [Failure(stage="ocr", reason="out_of_memory", detail="2 GB")]}
    shown = picture(rounds={"00-aa": first, "01-bb": later}, failures=failures)
    (sample,) = gallery(report(shown)).values["samples"]
    assert [len(steps) for steps in sample["steps"]] == [0, 1]
    assert sample["steps"][1][0]["what"] == "dropped"
    assert "not_supported" in sample["steps"][1][0]["line"]
    assert sample["failures"] == [[], ["ocr: out_of_memory: 2 GB"]]


def test_a_sample_that_a_round_lacks_has_no_labels_there() -> None:
    (sample,) = gallery(report(picture(rounds={"00-aa": Annotations()}))).values["samples"]
    assert sample["rounds"] == [[], None, None] and sample["steps"] == [[], []]


def test_people_look_first_where_makers_disagree() -> None:
    annotations = Annotations(
        regions=[
            region("ensemble", FAR, agreement=0.5),
            region("sure", FAR, agreement=1.0),
            region("old", (0, 0, 6, 6), dropped="relabelled"),
            region("new", (0, 0, 6, 6), source="refine", round=1, phrase="mug", parents=["old"]),
            region("moved", (0, 50, 6, 60), source="refine", round=1, parents=["place"]),
            region("place", (0, 49, 6, 60), dropped="reshaped"),
            region("cup"),
            region("mug", source="given", phrase="mug"),
            region("other", source="detect", phrase="plate", dropped="low_score"),
        ]
    )
    assert disputes(annotations) == {
        "ensemble": [ENSEMBLE],
        "new": [MODEL],
        "old": [MODEL],
        "cup": [SPECIALISTS],
        "mug": [SPECIALISTS],
    }


def test_heavy_images_are_embedded_as_light_copies() -> None:
    noise = np.random.default_rng(0).integers(0, 256, (900, 1200, 3), np.uint8)
    file = io.BytesIO()
    Image.fromarray(noise).save(file, "PNG")
    uri = light_data_uri(file.getvalue())
    assert uri.startswith("data:image/webp;base64,")
    with Image.open(io.BytesIO(base64.b64decode(uri.split(",")[1]))) as copy:
        assert copy.size == (640, 480)
    small = picture(rounds={}).image
    assert light_data_uri(small) == "data:image/png;base64," + base64.b64encode(small).decode()
