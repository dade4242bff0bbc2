"""What is measured of a round in which people have labelled, too."""

from __future__ import annotations

import logging

import pytest

from pipeline.config.compose import compose
from pipeline.config.parse import parse
from pipeline.quality.coco import GroundTruth
from pipeline.quality.evaluate import Choice, evaluate
from pipeline.quality.machine_labels import machine_records
from pipeline.rows import Record
from pipeline.schema import Annotations, Box, Region
from stages.base import Sample
from stages.filters.region import RegionFilter, RegionFilterConfig

DOG: Box = (10.0, 10.0, 50.0, 50.0)
CAT: Box = (60.0, 10.0, 90.0, 40.0)
FILTERS = parse(compose([])).filters


def region(id_: str, box: Box, score: float | None = 0.8, **more: object) -> Region:
    values = {"source": "detect", "phrase": "dog", "score": score, **more}
    return Region(id=id_, box=box, **values)


def human(id_: str, box: Box, phrase: str = "dog") -> Region:
    return region(id_, box, None, source="human", phrase=phrase)


def filtered(*regions: Region) -> Record:
    """A sample as a round has it: what its region filter leaves."""
    labels = Annotations(regions=list(regions))
    decided = RegionFilter(RegionFilterConfig())([Sample("a", (100, 80), annotations=labels)])
    labels = labels.overlaid(decided[0])
    return Record(key="a", name="a.jpg", width=100, height=80, sha256="", annotations=labels)


MACHINE = (
    region("0.detect.0", DOG, 0.9),
    region("0.detect.1", (11.0, 10.0, 50.0, 50.0), 0.7),
    region("0.detect.2", CAT, 0.2),
    region("0.detect.3", (60.0, 50.0, 90.0, 70.0), 0.6),
    # A box of another class at the place of a human one.
    region("0.detect.4", CAT, 0.85, phrase="wolf"),
)
PEOPLE = (human("human.regions.1", DOG), human("human.regions.2", CAT))


def test_without_its_human_labels_a_round_is_what_the_filters_make_of_the_machines() -> None:
    both = filtered(*MACHINE, *PEOPLE)
    dropped = {region.id: region.dropped for region in both.annotations.regions}
    assert dropped["0.detect.0"] == "duplicate_of_human"
    assert dropped["0.detect.4"] == "any_overlap"
    (measured,) = machine_records([both], FILTERS)
    assert measured.annotations == filtered(*MACHINE).annotations


def test_a_round_without_human_labels_stays_as_it_is() -> None:
    alone = filtered(*MACHINE)
    assert list(machine_records([alone], FILTERS)) == [alone]


def truth() -> GroundTruth:
    boxes = ([10, 10, 40, 40], [60, 10, 30, 30])
    return {
        "images": [{"id": 7, "file_name": "a.jpg"}],
        "categories": [{"id": 3, "name": "dog"}],
        "annotations": [
            {"id": number, "image_id": 7, "category_id": 3, "bbox": box}
            for number, box in enumerate(boxes, 1)
        ],
    }


def test_human_labels_are_left_out_and_that_is_told(caplog: pytest.LogCaptureFixture) -> None:
    records = [filtered(*MACHINE, *PEOPLE)]
    with caplog.at_level(logging.WARNING, "fld"):
        scores = evaluate("detection", truth(), records, choice=Choice(filters=FILTERS))
    # One of two dogs is found first, and a wrong box after it.
    assert scores["AP50"] == pytest.approx(51 / 101)
    assert caplog.messages == [
        "predictions: 2 machine-made boxes are measured; 2 human ones are left out, because nothing"
        " has predicted them (--source human takes them)"
    ]


def test_human_labels_that_are_asked_for_are_counted_aloud(
    caplog: pytest.LogCaptureFixture,
) -> None:
    records = [filtered(*MACHINE, *PEOPLE)]
    with caplog.at_level(logging.WARNING, "fld"):
        assert evaluate("detection", truth(), records, choice=Choice(sources=["human"]))["AP"] == 1
    assert caplog.messages == [
        "predictions: 2 of the 2 boxes are human labels, which nothing has predicted"
    ]


def test_nothing_but_human_labels_is_measured_aloud(caplog: pytest.LogCaptureFixture) -> None:
    with caplog.at_level(logging.WARNING, "fld"):
        scores = evaluate("detection", truth(), [filtered(*PEOPLE)], choice=Choice(filters=FILTERS))
    assert scores["AP"] == 1
    assert caplog.messages == [
        "predictions: 2 of the 2 boxes are human labels, which nothing has predicted"
    ]


def test_images_that_only_one_side_has_are_told_once_where_people_made_all_labels(
    caplog: pytest.LogCaptureFixture,
) -> None:
    more = truth()
    more["images"].append({"id": 8, "file_name": "b.jpg"})
    with caplog.at_level(logging.WARNING, "fld"):
        evaluate("detection", more, [filtered(*PEOPLE)], choice=Choice(filters=FILTERS))
    assert len(caplog.messages) == 2
    assert caplog.messages[0].startswith("1 of the 2 images of the ground truth are not in the")
    assert caplog.messages[1].startswith("predictions: 2 of the 2 boxes are human labels")


def test_one_source_is_measured_alone() -> None:
    other = region("0.other.0", CAT, 0.9, source="other")
    records = [filtered(*MACHINE, other)]
    assert evaluate("detection", truth(), records)["AR100"] == pytest.approx(1)
    assert evaluate("detection", truth(), records, choice=Choice(sources=["other"]))["AR100"] == 0.5


@pytest.mark.parametrize(
    ("name", "hint"), [("detct", "did you mean detect"), ("sam", "choose from detect, human")]
)
def test_a_source_that_is_not_there_is_refused(name: str, hint: str) -> None:
    with pytest.raises(ValueError, match=f"--source {name}: .*{hint}"):
        evaluate("detection", truth(), [filtered(*MACHINE, *PEOPLE)], choice=Choice(sources=[name]))


def test_a_file_has_no_sources() -> None:
    with pytest.raises(ValueError, match="--source: a JSON file"):
        evaluate("detection", truth(), [], choice=Choice(sources=["detect"]))


def test_a_round_as_ground_truth_tells_who_made_it(caplog: pytest.LogCaptureFixture) -> None:
    records = [filtered(*MACHINE[3:4], *PEOPLE)]
    with caplog.at_level(logging.WARNING, "fld"):
        evaluate("detection", records, records, choice=Choice(filters=FILTERS))
    assert caplog.messages[0] == (
        "ground truth: 2 of the 3 boxes of the round are human labels, the others machine-made"
    )
