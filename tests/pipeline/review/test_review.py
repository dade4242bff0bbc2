"""Samples go to people and come back: picked, reviewed, imported, honoured by the next run."""

from __future__ import annotations

import json
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import numpy as np
import pytest

from pipeline.cli import main
from pipeline.quality.reviewed import REVIEWED
from pipeline.review.picks import pick
from pipeline.schema import HUMAN
from pipeline.storage.reviews import read_stands
from pipeline.storage.rounds import open_round
from pipeline.storage.store import Store
from stages import registry
from tests.pipeline.review.labelled import COUNT, WHO, label, submitted


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
