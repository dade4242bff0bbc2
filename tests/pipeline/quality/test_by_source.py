"""Statistics, metrics and evaluations of the images of one source of a run with several."""

from __future__ import annotations

import json
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest

from pipeline import cli
from pipeline.config import saved
from pipeline.config.compose import compose
from pipeline.config.parse import parse
from pipeline.ingest.assignment import list_sources
from pipeline.refinement.executor import RunExecutor
from pipeline.refinement.loop import Loop
from pipeline.report.data import report_data
from pipeline.report.history import sample_history
from pipeline.report.html import write_report
from pipeline.report.status import status
from pipeline.report.terminal import rounds_table, status_text
from pipeline.storage import layout_journal
from pipeline.storage.rounds import open_round
from pipeline.storage.store import Store
from tests.pipeline.release.rounds import Inline
from tests.stages.sources.forms import picture, write_folder

LEFT_OUT = ("ocr", "caption", "describe", "parse", "region_text", "score", "ground", "segment")
KINDS = ("texts", "regions", "text_regions", "triplets")


@pytest.fixture(scope="module")
def work(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Path]:
    """Round 0 of four scenes with truth and of two grey pictures, with boxes of one detector."""
    top = tmp_path_factory.mktemp("by_source")
    write_folder(top / "plain", {f"{i}.jpg": picture(i) for i in range(2)})
    words = [
        f"work={top / 'w'}",
        "refine.rounds=0",
        "refine.complete=[]",
        "sources.scenes.use=scenes",
        "sources.scenes.count=4",
        "sources.plain.use=folder",
        f"sources.plain.path={top / 'plain'}",
        *[f"specialists.{name}=null" for name in LEFT_OUT],
        *[f"filters.{name}=null" for name in ("text", "triplet")],
    ]
    values = compose(words)
    run = parse(values)
    store = Store(run.work)
    saved.save(store, values)
    Loop(store, run, RunExecutor(store, run, engine=Inline())).rounds(list_sources(run))
    yield top / "w"


def of_round(work: Path, name: str) -> dict[str, Any]:
    store = Store(str(work))
    return store.read_json(f"{open_round(store.url).folder}/{name}")


def test_the_statistics_of_the_sources_add_up_to_those_of_the_round(work: Path) -> None:
    statistics = of_round(work, "statistics.json")
    by_source = statistics["by_source"]
    assert {name: own["images"] for name, own in by_source.items()} == {"plain": 2, "scenes": 4}
    assert statistics["images"] == 6
    assert by_source["scenes"]["annotations"]["region_text"] > 0
    for kind, count in statistics["annotations"].items():
        assert count == sum(own["annotations"][kind] for own in by_source.values())


def test_only_the_source_with_truth_has_a_score(work: Path) -> None:
    metrics = of_round(work, "metrics.json")
    assert {name: own["samples"] for name, own in metrics["by_source"].items()} == {
        "plain": 2,
        "scenes": 4,
    }
    assert metrics["by_source"]["plain"]["truth"] is None
    score = metrics["by_source"]["scenes"]["truth"]["all"]["score"]
    assert score == metrics["truth"]["all"]["score"]
    for kind in KINDS:
        parts = [own["kept"][kind] for own in metrics["by_source"].values()]
        assert metrics["kept"][kind] == sum(parts)


def test_stats_and_evaluate_take_the_images_of_one_source(
    work: Path, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    assert cli.main(["stats", str(work), "--out", str(tmp_path)]) == 0
    assert "| scenes | 4 |" in capsys.readouterr().out
    assert cli.main(["stats", str(work), "--image-source", "scenes", "--json"]) == 0
    assert json.loads(capsys.readouterr().out)["images"] == 4
    keys = [record.key for record in open_round(str(work), "plain").records()]
    assert keys == ["plain_0", "plain_1"]
    for name, message in (
        ("scene", "--image-source scene: {} has no images of this source; did you mean scenes?"),
        ("web", "--image-source web: {} has no images of this source; choose from plain, scenes"),
    ):
        assert cli.main(["stats", str(work), "--image-source", name, "--json"]) == 2
        assert message.format(work) in capsys.readouterr().err


def test_the_table_of_rounds_and_the_report_tell_the_sources_apart(work: Path) -> None:
    data = report_data(Store(str(work)), "demo", 2)
    lines = rounds_table(data.rounds).splitlines()
    (head,) = [line.split() for line in lines if line.startswith("round") and "source" in line]
    assert head[:3] == ["round", "source", "samples"]
    rows = [line.split() for line in lines if line.split()[1:2] in (["plain"], ["scenes"])]
    assert [(row[1], row[2]) for row in rows] == [("plain", "2"), ("scenes", "4")]
    assert "By the source of the images" in write_report(data)


def test_a_finished_run_adds_up_nothing_again(work: Path) -> None:
    kept = {path.name for path in (work / layout_journal.MEASURED).rglob("total*.json")}
    assert kept == {"total.json", "total-plain.json", "total-scenes.json"}


def test_a_name_that_two_sources_have_is_answered_with_the_keys(tmp_path: Path) -> None:
    write_folder(tmp_path / "a", {"x.jpg": picture(1), "y.jpg": picture(2)})
    write_folder(tmp_path / "b", {"x.jpg": picture(3)})
    words = [f"work={tmp_path / 'w'}", "refine.rounds=0"]
    for name in ("a", "b"):
        words += [f"sources.{name}.use=folder", f"sources.{name}.path={tmp_path / name}"]
    run = parse(compose(words))
    store = Store(run.work)
    RunExecutor(store, run, engine=Inline()).ingest(list_sources(run))
    with pytest.raises(ValueError) as error:
        sample_history(store, "x.jpg")
    assert str(error.value) == (
        "x.jpg: several sources have an image of this name; give a key: a_x or b_x"
    )
    assert sample_history(store, "y.jpg").image.key == "a_y"
    assert sample_history(store, "b_x").shard == "b-000000"


def test_the_status_has_a_column_of_kept_samples_for_each_source(work: Path) -> None:
    lines = status_text(status(Store(str(work)), 0)).splitlines()
    place = next(place for place, line in enumerate(lines) if line.startswith("kept by source"))
    assert lines[place].split() == ["kept", "by", "source", "plain", "scenes"]
    assert lines[place + 1].split() == ["ingest", "2/2", "4/4"]
    assert lines[place + 2].split() == ["0.detect", "2/2", "4/4"]
