"""The loop with real stages and a real nano model, one shard after the other in this process."""

from __future__ import annotations

import json
import random
from collections.abc import Callable, Iterator, Mapping
from dataclasses import replace
from pathlib import Path
from typing import Any

import pytest
from PIL import Image

from pipeline.errors import BrokenFiles
from pipeline.execution.reading import read_inputs, read_rows
from pipeline.ingest.assignment import list_sources
from pipeline.plan.graph import refine_nodes, witness_nodes
from pipeline.plan.journal import read_graph
from pipeline.plan.summaries import judgement_summary
from pipeline.refinement.judgements import judged_samples, merge_config
from pipeline.refinement.planning import plan_run
from pipeline.refinement.thresholds import count_judged, count_learned, curves_of, thresholds_of
from pipeline.rows import Record
from pipeline.schema import HUMAN, Region
from pipeline.storage import layout_journal
from pipeline.storage.arrow import to_dict
from pipeline.storage.source_ids import read_source_ids
from pipeline.storage.store import Store
from pipeline.training.data import TrainingSet
from pipeline.training.run import Training, publish_model
from stages.base import Sample, fold_of, held_out
from stages.embedded.scenes import DEMO, render
from stages.florence.config import TrainConfig
from stages.florence.model import load, save
from stages.florence.training import train
from stages.source import SourceIds
from tests.pipeline.refinement.played import (
    LOOSE,
    OFF,
    SCENES,
    Played,
    untrained,
)


def keys_of(data: TrainingSet) -> set[str]:
    return {key for shard in data.counts for key in data.keys(shard)}


def test_a_model_is_asked_only_about_samples_that_its_training_left_out(tmp_path: Path) -> None:
    loop = Played(tmp_path / "w", *SCENES, "refine.folds=2", "refine.gate.held_out=0.2")
    planned = loop.trainings(1).refining(None)
    assert list(planned) == [0, 1] and planned[0].folder != planned[1].folder
    learned = {fold: keys_of(t.data) for fold, t in planned.items()}
    models = loop.models(1, untrained(loop))
    nodes = loop.refine(1, models).nodes
    assert [node.name for node in nodes[:3]] == ["1.refine_0", "1.refine_1", "1.merge"]
    for fold, node in enumerate(nodes[:2]):
        asked = {key for key, row in loop.records(node).items() if len(row.annotations)}
        assert asked and not asked & learned[fold]
        assert asked == {key for key in loop.records(loop.head.node) if fold_of(key, 2) == fold}
    again = loop.trainings(2).refining(models)
    assert {t.start for t in again.values()} == {f"work:{m.folder}" for m in models.refining}


def test_the_second_look_is_planned_counted_and_read_by_the_merge_but_enters_no_round(
    tmp_path: Path,
) -> None:
    loop = Played(tmp_path / "w", *SCENES, "refine.folds=2", "refine.gate.held_out=0.3")
    models = loop.models(1, published(loop))
    attempt = loop.refine(1, models)
    nodes = witness_nodes(loop.run, 1, loop.head.node, models)
    assert [node.name for node in nodes] == ["1.witness_0", "1.witness_1"]
    sources = set()
    for fold, node in enumerate(nodes):
        assert node.is_before_merge and node.group == attempt.nodes[0].group
        rows = loop.records(node)
        seen = {key for key, row in rows.items() if len(row.annotations)}
        assert seen == {key for key in rows if fold_of(key, 2) == fold}
        for key, row in rows.items():
            made = {region.source for region in row.annotations.regions}
            assert held_out(key, 0.3) or "decoy" not in made
        for row in rows.values():
            sources |= {annotation.source for annotation in row.annotations.all()}
    assert sources == {"mirrored", "decoy", "looked"}
    refining = refine_nodes(loop.run, 1, loop.head.node, models)
    judged = judgement_summary(loop.run, refining, nodes, loop.head.node)
    head = loop.head.node.name
    assert judged.reads == (head, "1.refine_0", "1.refine_1", "1.witness_0", "1.witness_1")
    for record in loop.records(attempt.node).values():
        assert sources.isdisjoint(annotation.source for annotation in record.annotations.all())
    names = {node.name for node in nodes}
    for node in attempt.nodes:
        assert names <= set(node.reads) or node.entry.use != "merge"
        assert names.isdisjoint(node.reads) or node.entry.use == "merge"
    # `fld retry` and `fld status` read the journal, `fld gc` reads the plan, too.
    folders = {node.folder for node in nodes}
    assert folders <= {node.folder for node in read_graph(loop.store)}
    planned = plan_run(loop.store, loop.run, list_sources(loop.run))
    assert folders <= {stage.folder for stage in planned}
    unjudged = replace(loop.run.refine, gate=replace(loop.run.refine.gate, held_out=0.0), folds=1)
    assert witness_nodes(replace(loop.run, refine=unjudged), 1, loop.head.node, models) == []


def test_a_round_that_changes_nothing_is_rejected_and_says_so(tmp_path: Path) -> None:
    loop = Played(tmp_path / "w", *SCENES, "refine.folds=1", "refine.gate.held_out=0.3", *OFF)
    verdict = loop.refine(1, loop.models(1, untrained(loop))).verdict
    assert verdict.status == "rejected"
    assert verdict.reason.startswith("no change: the model found ")
    assert verdict.reason.endswith(". Round 0 is your result.")
    assert verdict.evidence["changes"]["regions"].keys() <= {"kept", "confirmed", "less_likely"}


def test_a_model_of_shuffled_labels_is_rejected_with_the_numbers(tmp_path: Path) -> None:
    loop = Played(tmp_path / "w", *SCENES, "refine.folds=1", "refine.gate.held_out=0.5", *LOOSE)

    def sabotage(training: Training) -> str:
        out = Path(loop.store.path(training.folder))
        settings = TrainConfig(
            stages=((64, 12),), batch_size=4, learning_rate=3e-3, tasks=("<OD>", "<CAPTION>")
        )
        train(settings, "nano", lambda step: shuffled(training.data, 4), out)
        return "shuffled"

    verdict = loop.refine(1, loop.models(1, sabotage)).verdict
    assert verdict.status == "rejected" and verdict.reason.startswith("worse: mean F1 on ")
    score = verdict.evidence["differences"]["score"]
    assert score["value"] < -0.05 and score["high"] < 0


def shuffled(data: TrainingSet, size: int) -> Iterator[list[Sample]]:
    """Samples under the labels of others."""
    order = random.Random(0)
    for batch in data.batches(0, size, 0, 0, 1):
        labels = [sample.annotations for sample in batch]
        order.shuffle(labels)
        yield [
            replace(sample, annotations=other) for sample, other in zip(batch, labels, strict=True)
        ]


def test_a_model_that_finds_hardly_any_old_label_again_changes_nothing(tmp_path: Path) -> None:
    careful = [f"refine.merge.{kind}.min_refound=0.1" for kind in ("texts", "regions", "triplets")]
    loop = Played(tmp_path / "w", *SCENES, "refine.folds=2", *LOOSE, *careful)
    attempt = loop.refine(1, loop.models(1, untrained(loop)))
    levels = attempt.nodes[2].entry.options.levels
    assert levels["texts"].refound == 0.0 and levels["regions"].refound < 0.1
    reasons = {
        a.dropped
        for row in loop.records(attempt.node).values()
        for a in row.annotations.all()
        if a.round == 1
    }
    assert reasons == {"not_trusted"}
    assert attempt.verdict.reason.startswith("no change")


def test_levels_are_measured_on_both_looks_at_all_samples(tmp_path: Path) -> None:
    loop = Played(tmp_path / "w", *SCENES, "refine.folds=1", "refine.gate.held_out=0.5")
    models = loop.models(1, untrained(loop))
    attempt = loop.refine(1, models)
    heads, said = loop.records(loop.head.node), loop.records(attempt.nodes[0])
    judged = {key for key, row in said.items() if held_out(key, 0.5) and row.failed is None}
    assert 0 < len(judged) < len(heads)
    seen = []
    witnesses = witness_nodes(loop.run, 1, loop.head.node, models)
    for shard in sorted(attempt.states):
        nodes = [attempt.nodes[0], *witnesses]
        seen += judged_samples(loop.store, loop.head.node, nodes, shard)
    assert {sample.key: sample.annotations for sample in seen} == {
        key: heads[key].annotations.overlaid(row.annotations) for key, row in said.items()
    }
    config = merge_config(loop.run)
    assert {sample.key for sample in seen if sample.look.took_place} - judged
    learned = []
    unlearned = []
    for sample in seen:
        looked = (sample.annotations, sample.look)
        (unlearned if sample.key in judged else learned).append(looked)
    counted = count_judged(unlearned, 1, config)
    expected = thresholds_of(counted, config, curves_of(counted, count_learned(learned, 1, config)))
    assert attempt.nodes[1].entry.options.levels == expected
    assert expected.keys() == {"texts", "regions", "triplets"}


def test_what_a_finished_round_has_told_is_not_read_again_unless_what_it_rests_on_has_changed(
    tmp_path: Path,
) -> None:
    loop = Played(tmp_path / "w", *SCENES, "refine.folds=1", "refine.gate.held_out=0.3", *OFF)
    models = loop.models(1, untrained(loop))
    attempt = loop.refine(1, models)
    for node in (loop.head.node, *attempt.nodes):
        for shard in attempt.states:
            loop.store.remove(node.table(shard))
    again = loop.refine(1, models)
    assert again == attempt
    # The sums are added up again from what the workers have counted.
    loop.store.remove(layout_journal.MEASURED)
    assert loop.refine(1, models) == attempt
    gate = replace(loop.run.refine.gate, held_out=0.4)
    loop.loop.run = replace(loop.run, refine=replace(loop.run.refine, gate=gate))
    with pytest.raises(BrokenFiles, match="missing"):
        loop.refine(1, models)


def test_what_an_earlier_model_believed_is_no_judgement(tmp_path: Path) -> None:
    loop = Played(tmp_path / "w", *SCENES, "refine.folds=1", *LOOSE)
    attempt = loop.refine(1, loop.models(1, untrained(loop)))
    shard = sorted(attempt.states)[0]
    kept = [
        a
        for row in read_rows(loop.store, attempt.node, shard)
        for a in row.annotations.kept().all()
    ]
    assert any(a.support is not None for a in kept)
    again = [
        a
        for row in read_inputs(loop.store, attempt.node, shard)
        for a in row.annotations.kept().all()
    ]
    assert [replace(a, support=None) for a in kept] == again


def test_human_labels_are_byte_equal_after_three_rounds_of_a_bad_model(tmp_path: Path) -> None:
    photos = tmp_path / "photos"
    photos.mkdir()
    images: list[dict[str, Any]] = []
    annotations: list[dict[str, Any]] = []
    for number in range(4):
        scene = render(DEMO, 0, number)
        Image.fromarray(scene.image).save(photos / f"{number}.png")
        images.append({"id": number, "file_name": f"{number}.png", "width": 192, "height": 192})
        for region in scene.truth.regions:
            x1, y1, x2, y2 = region.box
            annotations.append(
                {
                    "id": len(annotations) + 1,
                    "image_id": number,
                    "category_id": 1,
                    "bbox": [x1, y1, x2 - x1, y2 - y1],
                }
            )
    instances = tmp_path / "instances.json"
    categories: list[dict[str, object]] = [{"id": 1, "name": "thing"}]
    instances.write_text(
        json.dumps({"images": images, "annotations": annotations, "categories": categories})
    )
    loop = Played(
        tmp_path / "w",
        "source=coco",
        f"source.path={photos}",
        f"source.instances={instances}",
        "refine.annotate.max_tokens=40",
        "refine.folds=1",
        *LOOSE,
    )
    first = human(loop.records(loop.head.node))
    expected = SourceIds({f"{number}.png": number for number in range(4)}, categories)
    assert read_source_ids(loop.store) == expected
    for number in (1, 2, 3):
        loop.head = loop.refine(number, loop.models(number, untrained(loop)))
    assert len(first) == len(annotations) and human(loop.records(loop.head.node)) == first


def human(records: Mapping[str, Record]) -> list[str]:
    labels = [
        a for key in sorted(records) for a in records[key].annotations.all() if a.source == HUMAN
    ]
    assert all(isinstance(a, Region) for a in labels)
    return [json.dumps(to_dict(a), sort_keys=True) for a in labels]


def test_a_plan_is_the_loop_that_only_records(tmp_path: Path) -> None:
    stopping = ("refine.rounds=2", "refine.stop=no_gain", "refine.gate.held_out=0.3")
    loop = Played(tmp_path / "w", *SCENES, *stopping, *OFF)
    names = list_sources(loop.run)

    def planned() -> dict[str, tuple[int, int]]:
        stages = plan_run(loop.store, loop.run, names)
        return {stage.stage: (stage.done, stage.todo) for stage in stages}

    fresh = tmp_path / "fresh"
    before = plan_run(Store(str(fresh)), loop.run, names)
    assert not fresh.exists() and before[0].stage == "ingest" and before[0].todo == 2
    assert before[-1].stage == "2.train and what follows" and before[-1].folder is None
    after_zero = planned()
    # Counting is no work that a user knows of; it is shown if nothing else is left to do.
    assert "0.summary" not in after_zero
    assert after_zero["0.round"] == (2, 0) and after_zero["1.train"] == (0, 1)
    assert after_zero["1.refine and what follows"] == (0, 2)
    models = loop.models(1, published(loop))
    assert planned()["1.refine"] == (0, 2) and planned()["1.merge and what follows"] == (0, 2)
    attempt = loop.refine(1, models)
    stages = planned()
    assert {stages[node.name] for node in attempt.nodes} == {(2, 0)}
    assert not attempt.accepted and "2.train" not in stages  # no gain ends the loop


def test_a_plan_asks_the_gate_anew_when_its_settings_have_changed(tmp_path: Path) -> None:
    stopping = ("refine.rounds=2", "refine.stop=no_gain", "refine.gate.held_out=0.3")
    loop = Played(tmp_path / "w", *SCENES, *stopping, *LOOSE)
    attempt = loop.refine(1, loop.models(1, published(loop)))
    assert not attempt.accepted
    names = list_sources(loop.run)
    assert "2.train" not in {stage.stage for stage in plan_run(loop.store, loop.run, names)}
    # With these settings no round is too bad, so the run would go on.
    gate = replace(loop.run.refine.gate, min_gain=-1.0, tolerance=1.0)
    run = replace(loop.run, refine=replace(loop.run.refine, gate=gate))
    assert "2.train" in {stage.stage for stage in plan_run(loop.store, run, names)}


def published(loop: Played) -> Callable[[Training], str]:
    """The checkpoint of the repository with a manifest, as a training leaves it."""

    def get(training: Training) -> str:
        save(load("nano"), Path(loop.store.path(training.folder)))
        return publish_model(loop.store, training)

    return get
