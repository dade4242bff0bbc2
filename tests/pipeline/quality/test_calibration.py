"""Thresholds that reach a wanted precision, by hand and through `fld calibrate`."""

from __future__ import annotations

import json
from pathlib import Path

import pytest
import yaml

from pipeline.cli import main
from pipeline.config.compose import compose, load
from pipeline.config.parse import parse
from pipeline.quality.calibrated_round import undecided
from pipeline.quality.calibration import (
    NEVER,
    CalibrateConfig,
    Curves,
    calibrate,
    thresholds,
)
from pipeline.quality.calibration_truth import Truth, of_source
from pipeline.quality.curves import curve
from pipeline.rows import Record
from pipeline.schema import Annotations, Box, Region, Text, TextRegion, Triplet
from pipeline.storage.manifest import Manifest
from pipeline.storage.parquet import publish_table
from pipeline.storage.store import Store

A: Box = (0.0, 0.0, 10.0, 10.0)
FAR: Box = (50.0, 50.0, 60.0, 60.0)
ROUND = "rounds/00-aaaaaaaa"


def region(
    box: Box = A, phrase: str = "circle", score: float | None = 0.8, **more: object
) -> Region:
    return Region(**{"source": "detect", "box": box, "phrase": phrase, "score": score, **more})


def curves(
    labels: list[Region], truth: list[Region], crowds: tuple[Region, ...] = (), least: int = 1
) -> dict[str, tuple[list[float], list[float]]]:
    known = Truth(Annotations(regions=truth), ("regions",), crowds)
    found = calibrate([(Annotations(regions=labels), known)], CalibrateConfig(min_labels=least))
    return {key: (c.threshold.tolist(), c.precision.tolist()) for (_, key), c in found.items()}


def test_a_curve_by_hand() -> None:
    found = curve([0.9, 0.5, 0.7, 0.3], [True, False, True, True], truths=4)
    assert found.threshold.tolist() == [0.9, 0.7, 0.5, 0.3]
    assert found.precision == pytest.approx([1, 1, 2 / 3, 3 / 4])
    assert found.recall == pytest.approx([1 / 4, 1 / 2, 1 / 2, 3 / 4])
    assert [found.reach(p) for p in (1.0, 0.75, 0.5)] == [1, 3, 3]


def test_equal_scores_stand_or_fall_together() -> None:
    found = curve([0.5, 0.5, 0.5], [True, False, False], truths=1)
    assert (found.threshold.tolist(), found.precision.tolist()) == ([0.5], [1 / 3])
    assert found.reach(0.5) is None


def test_a_truth_is_found_once_by_the_surest_label_of_its_category() -> None:
    labels = [region(score=0.5), region(score=0.9), region(phrase="star", score=0.4)]
    assert curves(labels, [region(score=None)])["detect"] == ([0.9, 0.5, 0.4], [1, 1 / 2, 1 / 3])


def test_specialists_do_not_compete_for_the_truth() -> None:
    found = curves([region(score=0.9), region(score=0.8, source="other")], [region(score=None)])
    assert found["detect"][1] == found["other"][1] == [1]


def test_a_label_in_a_crowd_of_its_category_is_neither_right_nor_wrong() -> None:
    inside = (52.0, 52.0, 58.0, 58.0)
    assert "detect" not in curves([region(inside)], [], (region(FAR),))
    assert curves([region(inside, "star")], [], (region(FAR),))["detect"] == ([0.8], [0])


def test_a_box_that_gave_way_to_a_human_one_is_judged_too() -> None:
    human = Region(id="human.regions.0", source="human", box=A, phrase="circle")
    same = region(id="0.detect.regions.0", dropped="duplicate_of_human")
    labels = Annotations(regions=[human, same])
    record = Record(key="a", name="a.jpg", width=99, height=99, sha256="", annotations=labels)
    ((_, free),) = undecided([record], parse(compose([])).filters)
    assert [r.id for r in free.regions] == [same.id]


def test_a_source_tells_of_its_kinds_only_and_its_crowds_are_crowds() -> None:
    known = of_source(Annotations(regions=[region(A), region(FAR, dropped="crowd")]), ("regions",))
    assert known.kinds == ("regions",)
    assert ([r.box for r in known.annotations.regions], [r.box for r in known.crowds]) == (
        [A],
        [FAR],
    )


def test_thresholds_come_per_specialist_and_per_class_with_enough_labels() -> None:
    dogs = [region((i * 20.0, 0.0, i * 20.0 + 10, 10.0), score=0.2 + i / 100) for i in range(40)]
    cats = [region(FAR, "star", score) for score in (0.25, 0.9)]
    known = Truth(Annotations(regions=[region(d.box, score=None) for d in dogs]), ("regions",))
    found: Curves = calibrate(
        [(Annotations(regions=dogs + cats), known)], CalibrateConfig(min_labels=30)
    )
    assert [key for _, key in found] == ["detect", "detect/circle"]
    assert found["regions", "detect/circle"].recall[-1] == 1
    assert thresholds(found, 1.0)["region_filter"] == {"detect": NEVER, "detect/circle": 0.2}
    assert thresholds(found, 0.95)["region_filter"]["detect"] == 0.2


def test_words_and_phrases_have_thresholds_too() -> None:
    quad = (0.0, 0.0, 9.0, 0.0, 9.0, 5.0, 0.0, 5.0)
    texts = [
        Text(id="t", granularity="brief", text="a circle"),
        Text(id="d", granularity="detailed", text="A circle."),
    ]

    def said(score: float | None, word: str) -> Annotations:
        read = [TextRegion(source="ocr", quad=quad, text=word, score=score)]
        pairs = [
            Triplet(
                source="ground", text_id=t.id, phrase=t.text[:5], start=0, end=5, box=A, score=score
            )
            for t in texts
        ]
        return Annotations(texts, [], read, pairs)

    truth = said(None, "STOP")
    told = Annotations(truth.texts[:1], [], truth.text_regions, truth.triplets[:1])
    kinds = ("text_regions", "triplets")
    found = calibrate(
        [(said(0.7, "stop"), Truth(told, kinds)), (said(0.4, "top"), Truth(told, kinds))],
        CalibrateConfig(),
    )
    assert {key: (c.threshold.tolist(), c.precision.tolist()) for key, c in found.items()} == {
        ("text_regions", "ocr"): ([0.7, 0.4], [1, 0.5]),
        ("triplets", "ground"): ([0.7, 0.4], [1, 1]),  # the detailed text has no truth
    }
    assert thresholds(found, 0.9) == {
        "region_filter": {"ocr": 0.7},
        "triplet_filter": {"ground": 0.4},
    }


@pytest.fixture
def work(tmp_path: Path) -> Path:
    """A finished round with the decisions of its filter.

    It holds a low and a sure circle at A, a double of the sure one, and a wrong star.
    """
    store = Store(str(tmp_path / "work"))
    store.publish("config.yaml", yaml.safe_dump(compose([f"work={tmp_path / 'work'}"])).encode())
    labels = [
        region(id="a", score=0.9),
        region(id="b", score=0.85, box=(0.0, 0.0, 10.0, 9.5), dropped="class_overlap"),
        region(id="c", score=0.1, box=FAR, dropped="low_score"),
        region(id="d", score=0.5, phrase="star", box=(20.0, 20.0, 30.0, 30.0)),
        region(id="e", score=0.95, phrase="star", dropped="fused"),
    ]
    records = [
        Record(
            key=key,
            name=f"in/{key}.png",
            width=99,
            height=99,
            sha256="",
            annotations=Annotations(regions=labels + more),
        )
        for key, more in (("x", []), ("y", [region(id="h", source="human", score=None)]))
    ]
    publish_table(store, f"{ROUND}/records/shard-000000.parquet", Record, records)
    count = {"in": 2, "kept": 2, "dropped": {}, "failed": {}}
    store.publish_manifest(
        ROUND, Manifest(shard="shard-000000", inputs="0" * 12, files={}, samples=count)
    )
    return tmp_path / "work"


def test_the_command_writes_filters_that_a_config_takes_and_the_curve(
    work: Path,
    tmp_path: Path,
    capsys: pytest.CaptureFixture[str],
    caplog: pytest.LogCaptureFixture,
) -> None:
    truth = {
        "images": [{"id": 7, "file_name": "x.png"}],
        "categories": [{"id": 3, "name": "circle"}],
        "annotations": [
            {"id": n, "image_id": 7, "category_id": 3, "bbox": [n, n, 10, 10]} for n in (0, 50)
        ],
    }
    (tmp_path / "truth.json").write_text(json.dumps(truth))
    arguments = [
        "calibrate",
        str(work / ROUND),
        "--out",
        str(tmp_path / "out"),
        "--json",
        "--min-labels",
        "2",
    ]
    assert main([*arguments, "--ground-truth", str(tmp_path / "truth.json")]) == 0
    printed = json.loads(capsys.readouterr().out)
    assert "2 of 2 thresholds rest on so few labels" in caplog.messages[0]
    assert caplog.messages[1].endswith("detect/star (1)")
    # Scores 0.9 right, 0.5 a wrong star, 0.1 right: the double and the fused one do not count.
    whole, dogs = printed["thresholds"]
    assert (whole["class"], whole["labels"], whole["threshold"], whole["recall"]) == (
        None,
        3,
        0.9,
        0.5,
    )
    assert (dogs["class"], dogs["labels"], dogs["threshold"], dogs["precision"]) == (
        "circle",
        2,
        0.1,
        1,
    )
    written = yaml.safe_load((tmp_path / "out/filters.yaml").read_text())
    assert written["region"]["min_scores"] == {"ocr": 0.7, "detect": 0.9, "detect/circle": 0.1}
    run = parse(load(tmp_path / "out/config.yaml", []))
    assert run.filters["region"].options.min_scores["detect/circle"] == 0.1
    assert json.loads((tmp_path / "out/curves.json").read_text())["curves"][0]["threshold"] == [
        0.9,
        0.5,
        0.1,
    ]
    assert (tmp_path / "out/curves.png").read_bytes().startswith(b"\x89PNG")


def test_without_a_file_the_labels_of_people_are_the_truth(
    work: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    assert (
        main(
            [
                "calibrate",
                str(work / ROUND),
                "--out",
                str(work / "out"),
                "--json",
                "--precision",
                "0.4",
            ]
        )
        == 0
    )
    printed = json.loads(capsys.readouterr().out)
    assert printed["samples"] == 1
    assert [
        (row["source"], row["threshold"], row["precision"]) for row in printed["thresholds"]
    ] == [("detect", 0.5, 0.5)]


def test_a_precision_that_is_no_share_is_refused(
    work: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    assert main(["calibrate", str(work / ROUND), "--precision", "90"]) == 2
    assert "--precision 90.0" in capsys.readouterr().err
