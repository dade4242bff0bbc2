from __future__ import annotations

import hashlib
import json
import re
from pathlib import Path

import pytest
from PIL import Image

from pipeline.cli import main
from pipeline.rows import ImageRow, Record
from pipeline.schema import Annotations, Region
from pipeline.storage.manifest import Manifest
from pipeline.storage.parquet import publish_table
from pipeline.storage.rounds import Head, publish_head
from pipeline.storage.sources import key_of
from pipeline.storage.store import Store
from pipeline.storage.tars import TarWriter

ROUND = "rounds/00-aaaaaaaa"
NAMES = ("a.png", "b.png")
KEYS = [key_of("shard-000000", name) for name in NAMES]


@pytest.fixture
def work(tmp_path: Path) -> Path:
    """A work folder with one finished round of two samples."""
    store = Store(str(tmp_path / "work"))
    image = tmp_path / "image.png"
    Image.new("RGB", (40, 30)).save(image)
    sha256 = hashlib.sha256(image.read_bytes()).hexdigest()
    rows = []
    with store.publishing("images/shard-000000.tar") as sink:
        tar = TarWriter(sink)
        for name, key in zip(NAMES, KEYS, strict=True):
            (member,) = tar.write(key, {"png": image.read_bytes()})
            row = ImageRow(
                key=key, name=name, offset=member.offset, size=member.size, sha256=sha256
            )
            rows.append(row)
        tar.close()
    publish_table(store, "images/shard-000000.parquet", ImageRow, rows)
    found = Annotations(
        regions=[Region(id="r", source="detect", box=(4, 4, 20, 24), phrase="dog", score=0.9)]
    )
    records = [
        Record(key=key, name=name, width=40, height=30, sha256=sha256, annotations=found)
        for name, key in zip(NAMES, KEYS, strict=True)
    ]
    publish_table(store, f"{ROUND}/records/shard-000000.parquet", Record, records)
    count = {"in": 2, "kept": 2, "dropped": {}, "failed": {}}
    store.publish_manifest(
        ROUND, Manifest(shard="shard-000000", inputs="0" * 12, files={}, samples=count)
    )
    publish_head(store, Head(round=ROUND.removeprefix("rounds/"), model=None, attempts=[]))
    return tmp_path / "work"


def test_evaluate_prints_one_json_object(
    work: Path, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    truth = {
        "images": [{"id": 7, "file_name": "a.png"}],
        "categories": [{"id": 3, "name": "dog"}],
        "annotations": [{"id": 1, "image_id": 7, "category_id": 3, "bbox": [4, 4, 16, 20]}],
    }
    (tmp_path / "truth.json").write_text(json.dumps(truth))
    arguments = ["evaluate", "detection", "--ground-truth", str(tmp_path / "truth.json"), "--json"]
    for predictions in (work, work / ROUND):
        assert main([*arguments, "--predictions", str(predictions)]) == 0
        assert json.loads(capsys.readouterr().out)["AP50"] == pytest.approx(1)


def test_export_writes_what_is_asked_for(
    work: Path, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    out = tmp_path / "out"
    Store(str(work)).publish_json(
        "images/source_ids.json",
        {"images": {"a.png": 31, "b.png": 32}, "categories": [{"id": 5, "name": "dog"}]},
    )
    export = ["export", "coco", str(work), str(out)]
    assert main([*export, "--results"]) == 0
    assert "2 images, 2 boxes, 0 captions, 2 results" in capsys.readouterr().out
    found = json.loads((out / "results.json").read_text())
    box = {"category_id": 5, "score": 0.9, "bbox": [4, 4, 16, 20]}
    assert found == [{"image_id": 31, **box}, {"image_id": 32, **box}]
    (tmp_path / "classes.json").write_text('[{"id": 77, "name": "dog"}]')
    assert main([*export, "--categories", str(tmp_path / "classes.json")]) == 0
    instances = json.loads((out / "instances.json").read_text())
    assert instances["categories"] == [{"id": 77, "name": "dog"}]
    assert [image["id"] for image in instances["images"]] == [31, 32]
    (tmp_path / "classes.json").write_text('[{"id": 77, "name": "cat"}]')
    capsys.readouterr()
    for more, message in (
        (["--categories", str(tmp_path / "classes.json")], "the categories do not have dog"),
        (["--source", "detct"], "--source detct: .*did you mean detect"),
    ):
        assert main([*export, *more]) == 2
        assert re.search(message, capsys.readouterr().err)


def test_stats_writes_tables_and_plots(
    work: Path, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    assert main(["stats", str(work), "--out", str(tmp_path / "out")]) == 0
    assert (
        "| region-text | phrase | 2 (126M) | - | 2 (681M) | 1.00 (5.42) | 1.00 (1.19) |"
        in capsys.readouterr().out
    )
    assert {path.name for path in (tmp_path / "out").iterdir()} == {
        "statistics.json",
        "statistics.md",
        "statistics.png",
    }
    assert main(["stats", str(work / ROUND), "--json"]) == 0
    assert json.loads(capsys.readouterr().out)["annotations"]["total"] == 2


def test_an_audit_goes_from_page_to_precision(
    work: Path, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    page = tmp_path / "audit.html"
    assert main(["audit", "sample", str(work), "--n", "5", "--out", str(page)]) == 0
    round_, items = re.search(r'round: (".*?"), items: (\[.*\])};', page.read_text()).groups()  # type: ignore[union-attr]
    judged = [
        {**item, "verdict": verdict}
        for item, verdict in zip(json.loads(items), ["yes", "no"], strict=True)
    ]
    (tmp_path / "judged.json").write_text(
        json.dumps({"round": json.loads(round_), "items": judged})
    )
    capsys.readouterr()
    assert main(["audit", "score", str(tmp_path / "judged.json"), "--json"]) == 0
    printed = json.loads(capsys.readouterr().out)["precision"]
    assert [(row["source"], row["precision"]) for row in printed] == [("all", 0.5), ("detect", 0.5)]
    assert json.loads((work / ROUND / "audit.json").read_text()) == printed


@pytest.mark.parametrize(
    ("arguments", "message"),
    [
        (["stats", "nowhere"], "nowhere: no round there"),
        (
            ["evaluate", "ocr", "--ground-truth", "no.json", "--predictions", "no.json"],
            "ground truth no.json: no such",
        ),
        (["audit", "score", "no.json"], "audit no.json: no such file"),
    ],
)
def test_a_mistake_is_one_line_on_standard_error(
    arguments: list[str],
    message: str,
    tmp_path: Path,
    monkeypatch: pytest.MonkeyPatch,
    capsys: pytest.CaptureFixture[str],
) -> None:
    monkeypatch.chdir(tmp_path)
    assert main(arguments) == 2
    error = capsys.readouterr().err
    assert message in error and error.count("\n") == 1
    assert list(tmp_path.iterdir()) == []
