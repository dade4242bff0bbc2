"""Samples go to people and come back: picked, reviewed, imported, honoured by the next run."""

from __future__ import annotations

import json
from collections.abc import Iterator
from dataclasses import replace
from pathlib import Path
from typing import Any

import numpy as np
import pytest

from pipeline.cli import main
from pipeline.config import saved
from pipeline.config.compose import compose
from pipeline.config.parse import parse
from pipeline.config.run import RunConfig
from pipeline.execution.provenance import result_row
from pipeline.execution.worker import Worker
from pipeline.ingest.assignment import assign, ingest_state, list_source
from pipeline.ingest.shard import Ingest
from pipeline.plan import graph, shard_state
from pipeline.quality.machine_labels import machine_records
from pipeline.quality.reviewed import DELETED, REVIEWED, Origin, marks, with_review
from pipeline.review.labels import reviewed_sample
from pipeline.review.picks import pick
from pipeline.schema import CROWD, HUMAN, Annotations, Mask, Record, Text
from pipeline.storage.layout import IMAGES, round_name
from pipeline.storage.reviews import read_stands
from pipeline.storage.rounds import Head, HeadAttempt, open_round, publish_head
from pipeline.storage.store import Store
from stages import registry
from stages.base import Sample
from tests.pipeline.release.rounds import write_scenes
from tests.pipeline.review.labels import record_of, region

# Detector, captions of boxes and parse: enough to see what a review changes.
ONLY = [f"~specialists.{name}" for name in ("ocr", "describe", "ground", "segment")]
ONLY += [
    "specialists.parse.after=[caption]",
    "refine.complete=[]",
    "refine.rounds=0",
    "refine.gate.held_out=0.6",
]
COUNT = 10
WHO = "ada@example.org"


def run_config(top: Path) -> RunConfig:
    words = ["source=folder", f"work={top / 'work'}", f"source.path={top / 'images'}"]
    values = compose([*words, "source.shard_size=5", *ONLY])
    saved.save(Store(str(top / "work")), values)
    return parse(values)


def label(top: Path) -> dict[str, Record]:
    """What `fld run` does for round 0, without Ray."""
    store = Store(str(top / "work"))
    run = run_config(top)
    listing = assign(store, run.source, list_source(run.source))
    state = ingest_state(store, run.source, listing)
    store.withdraw(IMAGES, dict.fromkeys(state.relabelled, ()))
    states = {}
    for shard, images in state.states.items():
        states[shard] = images
        if not images.has(IMAGES):
            states[shard] = Ingest(store.url, run.source, listing)(shard, images)
    nodes = graph.round_zero(run)
    planned = shard_state.plan(store, nodes, states)
    planned.withdraw_stale(store)
    worker = Worker(store.url, nodes, [node.name for node in nodes])
    for shard, todo in planned.states.items():
        worker(shard, todo)
    name = round_name(nodes[-1].folder)
    attempt = HeadAttempt(round=name, model=None, status="accepted")
    publish_head(store, Head(round=name, model=None, attempts=[attempt]))
    return {record.key: record for record in open_round(store.url).records()}


@pytest.fixture
def top(tmp_path: Path) -> Path:
    write_scenes(tmp_path / "images", COUNT)
    return tmp_path


@pytest.fixture
def seen(monkeypatch: pytest.MonkeyPatch) -> Iterator[list[str]]:
    """The keys of the samples that the detector sees."""
    keys: list[str] = []
    cls = registry.load("contours")[0]
    original = cls.__call__

    def spy(self: Any, batch: Any) -> Any:
        keys.extend(sample.key for sample in batch)
        return original(self, batch)

    monkeypatch.setattr(cls, "__call__", spy)
    yield keys


def submitted(tasks: list[Any]) -> list[Any]:
    """What Label Studio exports when each prediction was submitted as it stands."""
    for number, task in enumerate(tasks):
        result = [dict(each) for prediction in task["predictions"] for each in prediction["result"]]
        who = {"id": 3, "email": WHO}
        task["id"] = number
        task["annotations"] = [{"id": number, "completed_by": who, "result": result}]
    return tasks


def test_what_people_changed_stands_after_the_next_run_and_nothing_else_is_redone(
    top: Path, seen: list[str], capsys: pytest.CaptureFixture[str]
) -> None:
    before = label(top)
    work, out = str(top / "work"), top / "out"
    assert main(["review", "export", work, str(out), "--n", "6", "--random", "0.5"]) == 0
    assert "6 samples, 3 of them by chance" in capsys.readouterr().out
    tasks = submitted(json.loads((out / "tasks.json").read_text()))
    assert [task["data"]["pick"] for task in tasks].count("random") == 3
    wanted: dict[str, list[tuple[str, list[float]]]] = {}
    changes = 0
    for task in tasks:
        record = before[task["data"]["key"]]
        result = task["annotations"][0]["result"]
        if changes < 6:
            result[0]["value"].update(x=10, y=20, width=30, height=40)
            result[1]["value"]["rectanglelabels"] = ["zebra"]
            changes += 2
        elif changes == 6:
            del result[0]
            changes += 1
        scale = np.array([record.width, record.height] * 2) / 100
        boxes = []
        for each in result:
            value = each["value"]
            x, y = value["x"], value["y"]
            box = np.array([x, y, x + value["width"], y + value["height"]]) * scale
            boxes.append((value["rectanglelabels"][0], list(box)))
        wanted[record.key] = boxes
    assert changes == 7
    file = top / "annotated.json"
    file.write_text(json.dumps(tasks))
    seen.clear()
    assert main(["review", "import", work, str(file)]) == 0
    answer = capsys.readouterr().out
    assert answer.startswith("6 samples reviewed: ") and "6 changed" in answer
    ((_, stands),) = read_stands(Store(work)).items()
    judged = sum(stood.judged for stood in stands.values())
    right = sum(stood.right for stood in stands.values())
    assert len(stands) == 3
    assert f"boxes of machines in samples picked by chance: {right} of {judged} stood" in answer
    after = label(top)
    assert sorted(seen) == sorted(wanted)
    for key, record in after.items():
        if key not in wanted:
            assert record == before[key]
            continue
        kept = record.annotations.kept().regions
        assert {(region.source, region.revision) for region in kept} == {(HUMAN, WHO)}
        assert [region.phrase for region in kept] == [name for name, _ in wanted[key]]
        for found, (_, box) in zip(kept, wanted[key], strict=True):
            assert np.abs(np.subtract(found.box, box)).max() < 0.5
        # What no person could see keeps its own reason, such as a low score.
        wanted_fates = {r.id: r.dropped or REVIEWED for r in before[key].annotations.regions}
        fates = {r.id: r.dropped for r in record.annotations.regions if r.id in wanted_fates}
        assert fates == wanted_fates
    # The text that is composed of boxes speaks of the new class.
    texts = [t.text for r in after.values() for t in r.annotations.kept().texts]
    assert any("zebra" in text for text in texts)
    assert not any("zebra" in t.text for r in before.values() for t in r.annotations.texts)
    seen.clear()
    assert label(top) == after and seen == []


def test_boxes_come_back_from_coco_and_reviewed_samples_are_not_picked_again(top: Path) -> None:
    from pycocotools.coco import COCO

    before = label(top)
    work, out = str(top / "work"), top / "out"
    assert main(["review", "export", work, str(out), "--n", "4", "--random", "0"]) == 0
    content = json.loads((out / "instances.json").read_text())
    assert len(COCO(str(out / "instances.json")).getImgIds()) == 4
    first = content["annotations"][0]
    key = next(i["key"] for i in content["images"] if i["id"] == first["image_id"])
    first["bbox"][2] -= 3
    for image in content["images"]:
        # Other tools keep COCO's own fields alone.
        del image["key"], image["pick"]
    file = top / "reviewed.json"
    file.write_text(json.dumps(content))
    assert main(["review", "import", work, str(file), "--reviewer", "bob"]) == 0
    after = label(top)
    assert {r.revision for r in after[key].annotations.kept().regions} == {"bob"}
    x, y, width, height = first["bbox"]
    boxes = [region.box for region in after[key].annotations.kept().regions]
    assert any(np.allclose(box, [x, y, x + width, y + height]) for box in boxes)
    assert len(boxes) == len(before[key].annotations.kept().regions)
    again = pick(after.values(), COUNT, 0)
    reviewed = {image["file_name"].partition(".")[0] for image in content["images"]}
    assert len(reviewed) == 4 and reviewed.isdisjoint(each.key for each in again)


def test_verdicts_of_an_audit_confirm_or_remove_single_labels(top: Path) -> None:
    before = label(top)
    store = Store(str(top / "work"))
    record = next(r for r in before.values() if len(r.annotations.kept().regions) > 2)
    wrong, right, *others = record.annotations.kept().regions
    items = []
    for judged, verdict in ((wrong, "no"), (right, "yes"), (others[0], None)):
        item = {"key": record.key, "id": judged.id, "type": "regions", "source": "detect"}
        items.append({**item, "verdict": verdict})
    file = top / "audit.json"
    file.write_text(json.dumps({"round": open_round(store.url).url, "items": items}))
    assert main(["review", "import", store.url, str(file), "--reviewer", "eve"]) == 0
    after = label(top)[record.key].annotations
    kept = {(region.source, region.box) for region in after.kept().regions}
    assert (HUMAN, right.box) in kept
    assert wrong.box not in [box for _, box in kept]
    assert {(other.source, other.box) for other in others} <= kept
    assert len(kept) == len(others) + 1


def test_machines_add_nothing_to_a_reviewed_group(top: Path) -> None:
    node = graph.round_zero(run_config(top))[0]
    sample = Sample(key="a", size=(50, 40), annotations=marks(["regions"], WHO))
    text = Text(granularity="brief", text="A dog.")
    said = Annotations(regions=[region("", source="")], texts=[text])
    row = result_row(node, sample, said)
    assert [each.dropped for each in row.annotations.regions] == [REVIEWED]
    assert [each.dropped for each in row.annotations.texts] == [None]
    # To measure machines as if nobody had labelled, they are kept.
    record = record_of("a", *row.annotations.regions, *sample.annotations.regions)
    (measured,) = machine_records([record], {})
    assert [each.dropped for each in measured.annotations.regions] == [None]


def test_the_merge_sees_what_a_model_says_of_a_reviewed_group_and_cannot_add_it(
    top: Path,
) -> None:
    round_zero = graph.round_zero(run_config(top))
    head = round_zero[-1]
    model = graph.make_node(round_zero[0].entry, 1, [head], run_config(top).cluster)
    merge = graph.make_node(round_zero[0].entry, 1, [head, model], run_config(top).cluster)
    labels = marks(["regions"], WHO)
    sample = Sample(key="a", size=(50, 40), round=1, annotations=labels)
    found = result_row(model, sample, Annotations(regions=[region("", source="")]))
    assert [each.dropped for each in found.annotations.regions] == [None]
    sample = replace(sample, annotations=labels.overlaid(found.annotations))
    sure = [replace(each, confidence=0.9) for each in found.annotations.regions]
    merged = result_row(merge, sample, Annotations(regions=sure))
    assert [each.dropped for each in merged.annotations.regions] == [REVIEWED]


def test_a_review_replaces_the_labels_of_the_source_but_not_its_crowds() -> None:
    crowd = region("human.regions.9", source=HUMAN, dropped=CROWD)
    given = Annotations(regions=[region("human.regions.1", source=HUMAN), crowd])
    new = Origin("human.regions.new-1", WHO).of(region(""))
    review = marks(["regions"], WHO)
    review.regions.append(new)
    labels = with_review(given, review)
    assert [each for each in labels.regions if not each.dropped] == [new]
    assert crowd in labels.regions
    assert with_review(labels, review).regions == labels.regions


def test_a_renamed_box_keeps_its_mask_and_a_moved_one_loses_it() -> None:
    from pipeline.review.said import Answer, SaidBox

    mask = Mask(size=(40, 50), counts="x")
    old = [
        region("0.d.1", mask=mask, brief="a dog"),
        region("0.d.2", box=(20, 20, 30, 30), mask=mask),
        region("0.d.3", box=(5, 5, 30, 30), mask=mask, brief="a dog"),
        region("0.d.4", box=(6, 6, 20, 20)),
    ]
    boxes = [
        SaidBox(id="other", box=(0.2, 0, 10.3, 10), phrase="dog"),
        SaidBox(id="0.d.2", box=(20, 20, 35, 30), phrase="dog"),
        SaidBox(id="0.d.3", box=(5, 5.2, 30, 30), phrase="cat"),
        SaidBox(id="0.d.4", box=(7, 7, 20, 20), phrase="dog"),
    ]
    answer = Answer(key="a", groups=frozenset(["regions"]), boxes=boxes)
    reviewed = reviewed_sample(record_of("a", *old), answer, WHO)
    kept = [each for each in reviewed.labels.regions if not each.dropped]
    assert [each.mask for each in kept] == [mask, None, mask, None]
    assert [each.brief for each in kept] == ["a dog", None, None, None]
    assert [each.box for each in kept] == [
        old[0].box,
        (20, 20, 35, 30),
        old[2].box,
        (7, 7, 20, 20),
    ]
    assert [each.id for each in kept] == [f"human.regions.0_d_{number}" for number in range(1, 5)]
    # The box that had no mask has lost none.
    assert reviewed.lost_masks == 1


def test_texts_are_reviewed_only_where_they_were_asked_for(top: Path) -> None:
    before = label(top)
    out = top / "out"
    words = ["review", "export", str(top / "work"), str(out), "--n", "1", "--texts"]
    assert main(words) == 0
    (task,) = submitted(json.loads((out / "tasks.json").read_text()))
    for result in task["annotations"][0]["result"]:
        if result["from_name"] == "brief":
            result["value"]["text"] = ["A zebra stands beside a blue square."]
    (top / "done.json").write_text(json.dumps([task]))
    assert main(["review", "import", str(top / "work"), str(top / "done.json")]) == 0
    record = label(top)[task["data"]["key"]]
    (text,) = record.annotations.kept().texts
    assert text.text == "A zebra stands beside a blue square."
    assert text.source == HUMAN and text.parse is not None
    (old,) = [t for t in record.annotations.texts if t.source == "caption"]
    assert old.dropped == REVIEWED
    assert old.text == before[record.key].annotations.texts[0].text


def test_a_wrong_file_is_one_line(top: Path, capsys: pytest.CaptureFixture[str]) -> None:
    label(top)
    work, file = str(top / "work"), top / "file.json"
    wrong: list[tuple[object, str]] = [
        ({"boxes": []}, "give the JSON export of Label Studio, COCO's instances.json"),
        ([{"data": {"key": "nobody"}}], "has no sample nobody"),
        ([{"data": {"image": "x.jpg"}}], "is it of `fld review`?"),
        ({"round": "x/rounds/00-00000000", "items": []}, "no finished round there"),
        (tasks_with(top, {"rotation": 12}), "is turned; draw it upright"),
        (tasks_with(top, {}) * 2, "two answers for one sample"),
        (crowd(top), "is a crowd; a review takes single boxes only"),
        (tasks_with(top, {"x": None}), "has no left, top, width and height: [None,"),
        (tasks_with(top, {"x": 200}), "has no area inside of the image"),
        (tasks_with(top, {"rectanglelabels": []}), "needs one class"),
    ]
    for content, problem in wrong:
        file.write_text(json.dumps(content))
        capsys.readouterr()
        assert main(["review", "import", work, str(file)]) == 2
        error = capsys.readouterr().err
        assert problem in error and len(error.splitlines()) == 1
    assert not (top / "work" / "reviews").exists()


def tasks_with(top: Path, value: dict[str, Any]) -> list[Any]:
    """Tasks of which the last one has a wrong box."""
    out = top / "out"
    if not out.exists():
        assert main(["review", "export", str(top / "work"), str(out), "--n", "2"]) == 0
    tasks = submitted(json.loads((out / "tasks.json").read_text()))
    tasks[-1]["annotations"][0]["result"][0]["value"].update(value)
    return tasks


def crowd(top: Path) -> Any:
    """COCO's file with a crowd."""
    content = json.loads((top / "out" / "instances.json").read_text())
    content["annotations"][0]["iscrowd"] = 1
    return content


def test_a_deleted_label_is_named_so(top: Path) -> None:
    from pipeline.review.said import Answer

    answer = Answer(key="a", verdicts={"0.d.1": False})
    labels = reviewed_sample(record_of("a", region("0.d.1")), answer, WHO).labels
    assert [(each.dropped, each.revision) for each in labels.regions] == [(DELETED, WHO)]


def test_labels_of_people_that_no_round_has_yet_are_told_and_not_released(
    top: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    label(top)
    work, out = str(top / "work"), top / "out"
    assert main(["review", "export", work, str(out), "--n", "4"]) == 0
    tasks = submitted(json.loads((out / "tasks.json").read_text()))
    del tasks[0]["annotations"][0]["result"][0]
    file = top / "annotated.json"
    file.write_text(json.dumps(tasks))
    assert main(["review", "import", work, str(file)]) == 0
    capsys.readouterr()
    assert main(["review", "import", work, str(file)]) == 0
    assert "earlier reviews of 4 of these samples are replaced" in capsys.readouterr().out
    told = "4 samples have been reviewed since the last run, and no round has the labels of people"
    build = ["release", "build", work, "name=a", "version=1", "sources.folder.licence=CC0-1.0"]
    assert main(build) == 2
    assert f"fld: error: {told}" in capsys.readouterr().err
    assert main(["export", "yolo", work, str(top / "early")]) == 0
    assert f"fld: warning: {told}" in capsys.readouterr().err
    label(top)
    assert main(["export", "yolo", work, str(top / "later")]) == 0
    assert "reviewed since" not in capsys.readouterr().err


def test_a_file_that_nobody_has_submitted_is_no_review(
    top: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    label(top)
    work, out = str(top / "work"), top / "out"
    assert main(["review", "export", work, str(out), "--n", "3"]) == 0
    assert main(["review", "import", work, str(out / "tasks.json")]) == 2
    assert "none of its 3 samples is submitted" in capsys.readouterr().err
