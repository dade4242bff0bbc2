"""What a plan costs, from rates that were measured in a work folder or given."""

import json
from pathlib import Path

import pytest

from pipeline import cli
from pipeline.config.compose import compose
from pipeline.config.parse import parse
from pipeline.config.run import RunConfig
from pipeline.refinement.cost import Known, Size, cost_of
from pipeline.refinement.planning import PlannedStage
from pipeline.storage import layout, layout_journal
from pipeline.storage.manifest import FileDigest, Manifest
from pipeline.storage.store import Store

HOUR = 3600


def config(tmp_path: Path, *settings: str) -> RunConfig:
    return parse(compose([f"work={tmp_path}", *settings]))


def planned(stage: str, folder: str | None, todo: int = 4) -> PlannedStage:
    return PlannedStage(stage=stage, folder=folder, done=4 - todo, todo=todo)


def test_hours_are_those_of_the_slowest_group_of_a_wave(tmp_path: Path) -> None:
    run = config(
        tmp_path,
        "refine.rounds=0",
        "cluster.groups={specialists: {cpus: 2, gpus: 0.5, actors: [1, 4]}}",
    )
    stages = [
        planned("ingest", layout.IMAGES),
        planned("0.detect", "signals/detect-1"),
        planned("0.ocr", "signals/ocr-1", todo=1),
        planned("0.region", "signals/region-1"),
    ]
    known = Known(
        rates={"ingest": 1000.0, "detect": 10.0, "ocr": 1.0, "region": 100.0},
        sizes={"ingest": 1e6, "detect": 1000.0},
    )
    cost = cost_of(run, stages, known, images=36_000, size=Size(cpus=64, gpus=8))
    found = {stage.stage: stage for stage in cost.stages}
    assert (found["0.detect"].images, found["0.ocr"].images) == (36_000, 9_000)
    assert found["0.detect"].gpu_hours == pytest.approx(0.5 * 36_000 / 10 / HOUR)
    assert cost.gpu_hours == pytest.approx(0.5 * (3600 + 9000) / HOUR)
    assert cost.core_hours == pytest.approx((36 + 2 * (3600 + 9000) + 360) / HOUR)
    assert cost.disk_gb == pytest.approx(36 + 0.036)
    # Ingest comes first; then four actors of the specialists are slower than the filters' two.
    assert cost.hours == pytest.approx((36 / 2 + (3600 + 9000) / 4) / HOUR)
    assert cost.unmeasured == []
    # Two GPU's halves are the room of four actors; half a GPU is that of one.
    small = cost_of(run, stages, known, images=36_000, size=Size(cpus=64, gpus=0.5))
    assert small.hours == pytest.approx((18 + 12_600 + 180) / HOUR)


def test_rounds_that_cannot_be_planned_yet_cost_what_their_steps_do(tmp_path: Path) -> None:
    run = config(tmp_path, "train.stages=[[64,10]]", "train.batch_size=8")
    stages = [planned("1.train and what follows", None), planned("2.train and what follows", None)]
    known = Known(rates={"train": 4.0, "refine": 2.0}, sizes={})
    cost = cost_of(run, stages, known, images=100, size=Size())
    found = {stage.stage: stage for stage in cost.stages}
    assert found["1.train"].images == 80 and found["1.train"].seconds == 20.0
    assert found["2.refine"].seconds == 50.0
    # Nothing is known of the merge and of all that follows.
    assert cost.hours == pytest.approx(2 * (20 + 50 / 2) / HOUR)
    assert {"1.merge", "2.merge", "1.round"} <= set(cost.unmeasured)


def test_rates_and_sizes_come_from_the_journal_and_the_manifests(tmp_path: Path) -> None:
    store = Store(str(tmp_path))
    for number in range(3):
        shard = layout.shard_name(number)
        counts = {"in": 10, "kept": 10, "dropped": {}, "failed": {}}
        for folder in (layout.IMAGES, layout.signals_folder("detect", "aa")):
            file = FileDigest("11", 5000)
            manifest = Manifest(shard=shard, inputs="a", files={"f": file}, samples=counts)
            store.publish_manifest(folder, manifest)
    times = {
        "detect": {"shards": 3, "samples": 30, "seconds": 6.0},
        "round": {"shards": 3, "samples": 0, "seconds": 2.0},
    }
    store.publish_json(layout_journal.RATES, times)
    known = Known.measured(store, {"ocr": 0.5, "detect": 7.0})
    assert known.rates == {"detect": 7.0, "round": 15.0, "ocr": 0.5}
    assert known.sizes == {"ingest": 500.0, "detect": 500.0}


def test_a_plan_that_no_machine_could_run_is_refused_with_the_numbers(
    tmp_path: Path, capsys: pytest.CaptureFixture[str], monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("CUDA_VISIBLE_DEVICES", "")
    words = ["plan", f"work={tmp_path}/w", "source.count=4", "refine.rounds=0"]
    group = "cluster.groups={specialists: {gpus: 2}}"
    assert cli.main([*words, group]) == 2
    assert (
        "cluster.groups.specialists: an actor wants 2 GPU, this machine has 0; lower it, or give "
        "the size of the cluster: --cpus N --gpus N" in capsys.readouterr().err
    )
    assert cli.main([*words, group, "--gpus", "1"]) == 2
    assert "wants 2 GPU, it has 1" in capsys.readouterr().err
    assert cli.main([*words, group, "--gpus", "4", "--rate", "detect=2", "--json"]) == 0
    cost = json.loads(capsys.readouterr().out)["cost"]
    assert cost["gpu_hours"] == pytest.approx(2 * 4 / 2 / HOUR)
    assert "0.ocr" in cost["unmeasured"] and "0.detect" not in cost["unmeasured"]
    assert cli.main([*words, "--rate", "detect=fast"]) == 2
    assert "--rate detect=fast: give STAGE=IMAGES_PER_SECOND" in capsys.readouterr().err


def test_the_images_of_a_source_are_not_counted_again_beside_those_of_all(tmp_path: Path) -> None:
    run = config(tmp_path, "refine.rounds=0")
    stages = [planned(name, layout.IMAGES) for name in ("ingest", "ingest coco", "ingest web")]
    known = Known(rates={"ingest": 10.0}, sizes={"ingest": 1e6})
    cost = cost_of(run, stages, known, images=1000, size=Size(cpus=64))
    assert [(stage.stage, stage.images) for stage in cost.stages] == [("ingest", 1000)]
    assert cost.disk_gb == pytest.approx(1) and cost.unmeasured == []
