"""Labels of the source: every stage reads them, human ones stay, corrections are noticed."""

import json
from dataclasses import replace
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from pycocotools import mask as rle

from pipeline.config.compose import compose
from pipeline.config.parse import parse
from pipeline.config.run import RunConfig
from pipeline.execution.provenance import result_row
from pipeline.execution.reading import read_rows
from pipeline.execution.worker import Worker
from pipeline.ingest.assignment import assign, ingest_state, list_source
from pipeline.ingest.shard import Ingest
from pipeline.plan import graph, shard_state
from pipeline.plan.shard_state import ShardState
from pipeline.release.coco import coco_of
from pipeline.rows import Record
from pipeline.schema import HUMAN, Annotations, Region, Text
from pipeline.storage.arrow import to_dict
from pipeline.storage.images import read_given
from pipeline.storage.layout import IMAGES
from pipeline.storage.store import Store
from stages import registry
from stages.base import Sample
from tests.stages.sources.forms import picture, write_coco, write_folder, write_webdataset

SHARD = "shard-000000"
NAMES = ["000000000007.jpg", "000000000009.jpg"]
INSTANCES: list[dict[str, Any]] = [
    {
        "id": 71,
        "image_id": 7,
        "category_id": 1,
        "bbox": [4.13, 5.5, 20.21, 10.07],
        "iscrowd": 0,
        "area": 200.0,
        "segmentation": [[4, 5, 24, 5, 24, 15, 4, 15]],
    },
    {
        "id": 900100000009,
        "image_id": 9,
        "category_id": 2,
        "bbox": [0, 0, 48, 40],
        "iscrowd": 1,
        "area": 50,
        "segmentation": {"size": [40, 48], "counts": [100, 50, 1770]},
    },
]
CAPTIONS = [
    {"id": i, "image_id": n, "caption": f"A red dog {i} runs on the grass."}
    for i, n in enumerate((7, 9, 7))
]
CATEGORIES = [{"id": 1, "name": "dog"}, {"id": 2, "name": "person"}]


def mask_of(segmentation: Any) -> np.ndarray:
    """What COCO's outline or run lengths cover: (40, 48) uint8."""
    if isinstance(segmentation, list):
        return rle.decode(rle.merge(rle.frPyObjects(segmentation, 40, 48)))
    if isinstance(segmentation["counts"], list):
        segmentation = rle.frPyObjects(segmentation, 40, 48)
    return rle.decode(segmentation)


# Detector, captions and parse: enough to see that all of them leave what was given alone.
ONLY = [f"~specialists.{name}" for name in ("ocr", "describe", "ground", "segment")]
ONLY += ["specialists.parse.after=[caption]", "refine.complete=[]"]


def run_config(folder: Path, instances: list[dict[str, Any]]) -> RunConfig:
    images = [
        {"id": int(name[:12]), "file_name": name, "width": 48, "height": 40} for name in NAMES
    ]
    instances_file = write_coco(folder / "instances.json", images, instances, categories=CATEGORIES)
    captions_file = write_coco(folder / "captions.json", images, CAPTIONS)
    files = [
        f"source.instances={instances_file}",
        f"source.captions={captions_file}",
    ]
    return parse(compose(["source=coco", f"source.path={folder / 'images'}", *files, *ONLY]))


def labelled(store: Store, run: RunConfig) -> tuple[ShardState, list[Record]]:
    """What `fld run` makes of round 0."""
    listing = assign(store, run.source, list_source(run.source))
    present = ingest_state(store, run.source, listing)
    store.withdraw(IMAGES, dict.fromkeys(present.relabelled, ()))
    images = present.states[SHARD]
    if not images.has(IMAGES):
        images = Ingest(store.url, run.source, listing)(SHARD, images)
    nodes = graph.round_zero(run)
    planned = shard_state.plan(store, nodes, {SHARD: images})
    planned.withdraw_stale(store)
    after = Worker(store.url, nodes, [node.name for node in nodes])(SHARD, planned.states[SHARD])
    return after, read_rows(store, nodes[-1], SHARD)


@pytest.fixture
def folder(tmp_path: Path) -> Path:
    write_folder(tmp_path / "images", {name: picture(i) for i, name in enumerate(NAMES)})
    return tmp_path


def human(record: Record) -> Annotations:
    """As they were given: a text's parse is what a stage says of it."""
    texts = [replace(text, parse=None) for text in record.annotations.texts]
    return replace(record.annotations, texts=texts).where(lambda a: a.locked)


def test_human_labels_reach_the_round_unchanged_and_go_back_to_coco_as_they_came(
    folder: Path,
) -> None:
    store = Store(str(folder / "work"))
    _, records = labelled(store, run_config(folder, INSTANCES))
    given = read_given(store, SHARD)
    for record in records:
        assert json.dumps(to_dict(human(record))) == json.dumps(to_dict(given[record.key]))
        assert all(
            text.parse and "dog" in text.parse.objects
            for text in record.annotations.texts
            if text.locked
        )
    export = coco_of(records, [HUMAN])
    instances, captions = export.instances, export.captions
    names = {category["id"]: category["name"] for category in instances["categories"]}
    assert captions["annotations"] == sorted(CAPTIONS, key=lambda c: c["image_id"])
    for entry, came in zip(instances["annotations"], INSTANCES, strict=True):
        assert {key: entry[key] for key in ("id", "image_id", "bbox", "iscrowd")} == {
            key: came[key] for key in ("id", "image_id", "bbox", "iscrowd")
        }
        assert names[entry["category_id"]] == {1: "dog", 2: "person"}[came["category_id"]]
        np.testing.assert_array_equal(
            mask_of(entry["segmentation"]),
            mask_of(came["segmentation"]),
        )


def test_a_corrected_label_redoes_its_sample_and_no_other(
    folder: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    store = Store(str(folder / "work"))
    done, before = labelled(store, run_config(folder, INSTANCES))
    assert labelled(store, run_config(folder, INSTANCES))[0] == done
    tar = (folder / "work" / "images" / f"{SHARD}.tar").read_bytes()
    seen: list[str] = []
    cls = registry.load("contours")[0]
    original = cls.__call__
    monkeypatch.setattr(
        cls,
        "__call__",
        lambda self, batch: seen.extend(s.key for s in batch) or original(self, batch),
    )
    _, after = labelled(
        store, run_config(folder, [{**INSTANCES[0], "bbox": [1, 1, 9, 9]}, INSTANCES[1]])
    )
    assert seen == [before[0].key]
    assert after[0].annotations.regions[0].box == (1, 1, 10, 10)
    assert after[1] == before[1]
    assert (folder / "work" / "images" / f"{SHARD}.tar").read_bytes() == tar


def test_a_stage_cannot_change_or_drop_a_human_label(folder: Path) -> None:
    node = graph.round_zero(run_config(folder, INSTANCES))[0]
    given = Annotations(
        texts=[Text(id="human.texts.1", source=HUMAN, granularity="brief", text="A dog.")],
        regions=[
            Region(id="human.regions.1", source=HUMAN, box=(0, 0, 9, 9), phrase="dog"),
            Region(id="0.detect.regions.0", source="detect", box=(0, 0, 9, 9), phrase="cat"),
        ],
    )
    said = Annotations(
        texts=[replace(given.texts[0], dropped="empty_text", confidence=0.1)],
        regions=[replace(r, dropped="low_score", support=-9.0) for r in given.regions],
    )
    row = result_row(node, Sample(key="a", size=(40, 40), annotations=given), said)
    assert [(a.id, a.dropped) for a in row.annotations.all()] == [
        ("0.detect.regions.0", "low_score")
    ]


def test_alt_texts_are_parsed_and_filtered(tmp_path: Path) -> None:
    texts = {"0.jpg": "A small dog runs on the green grass.", "1.jpg": "IMG 0042"}
    images = {name: picture(i) for i, name in enumerate(texts)}
    write_webdataset(tmp_path / "tars", images, 2, texts)
    overrides = ["source=webdataset", f"source.path={tmp_path / 'tars'}", *ONLY]
    _, records = labelled(Store(str(tmp_path / "work")), parse(compose(overrides)))
    alt = [
        text for record in records for text in record.annotations.texts if text.granularity == "alt"
    ]
    assert [(t.id, t.source, t.model, t.text) for t in alt] == [
        ("alt.texts.0", "alt", "webdataset", text) for text in texts.values()
    ]
    assert [t.dropped for t in alt] == [None, "low_object_complexity"]


PLACE = tuple[float, float, float, float]


def coco_of_one(folder: Path, size: tuple[int, int], bbox: list[int]) -> RunConfig:
    images = [{"id": 7, "file_name": NAMES[0], "width": size[0], "height": size[1]}]
    label = {**INSTANCES[0], "bbox": bbox, "segmentation": None}
    file = write_coco(folder / "one.json", images, [label], categories=CATEGORIES)
    settings = ["source=coco", f"source.path={folder / 'images'}", f"source.instances={file}"]
    return parse(compose([*settings, *ONLY]))


def images_done_again(store: Store, run: RunConfig) -> list[tuple[PLACE, str | None]]:
    """The labels after an ingest like that of `fld run`."""
    listing = assign(store, run.source, list_source(run.source))
    present = ingest_state(store, run.source, listing)
    store.withdraw(IMAGES, dict.fromkeys(present.relabelled, ()))
    if not present.states[SHARD].has(IMAGES):
        Ingest(store.url, run.source, listing)(SHARD, present.states[SHARD])
    assert ingest_state(store, run.source, listing).relabelled == []
    return [
        (r.box, r.dropped) for labels in read_given(store, SHARD).values() for r in labels.regions
    ]


def test_corrected_labels_are_placed_on_the_stored_image_whatever_its_file_is_now(
    folder: Path,
) -> None:
    store = Store(str(folder / "work"))
    images_done_again(store, coco_of_one(folder, (48, 40), [1, 2, 5, 5]))
    (folder / "images" / NAMES[0]).write_bytes(picture(5, (200, 96)))
    found = images_done_again(store, coco_of_one(folder, (200, 96), [150, 2, 5, 5]))
    assert found == [((150, 2, 155, 7), "size_mismatch")]
    (folder / "images" / NAMES[0]).unlink()
    found = images_done_again(store, coco_of_one(folder, (48, 40), [9, 9, 3, 3]))
    assert found == [((9, 9, 12, 12), None)]


def test_a_hiccup_while_labels_are_corrected_costs_no_image(
    folder: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    store = Store(str(folder / "work"))
    labelled(store, run_config(folder, INSTANCES))
    tar = (folder / "work" / "images" / f"{SHARD}.tar").read_bytes()
    corrected = run_config(folder, [{**INSTANCES[0], "bbox": [1, 1, 9, 9]}, INSTANCES[1]])
    (folder / "images" / NAMES[0]).unlink()
    (folder / "images" / NAMES[1]).write_bytes(picture(5))
    with monkeypatch.context() as hiccup, pytest.raises(OSError, match="storage"):
        hiccup.setattr(
            Store, "publish_manifest", lambda *_: (_ for _ in ()).throw(OSError("storage"))
        )
        labelled(store, corrected)
    _, records = labelled(store, corrected)
    assert [record.annotations.regions[0].box for record in records] == [
        (1, 1, 10, 10),
        (0, 0, 48, 40),
    ]
    assert (folder / "work" / "images" / f"{SHARD}.tar").read_bytes() == tar
