"""A work folder with the images of several sources, which keep apart and may get more."""

from __future__ import annotations

import hashlib
import json
from pathlib import Path

import pytest

from pipeline.config.compose import compose
from pipeline.config.parse import parse
from pipeline.ingest.assignment import list_sources
from pipeline.ingest.assignment_log import count_shards, shards_by_stem
from pipeline.ingest.by_source import counts_by_source
from pipeline.maintenance import retry
from pipeline.refinement.planning import plan_run
from pipeline.storage.images import read_given, read_images
from pipeline.storage.layout import IMAGES
from pipeline.storage.source_ids import read_all_ids
from pipeline.storage.sources import StoredSource, WorkSources, read_sources
from tests.pipeline.ingest.sources import Sources, ingested, run_of
from tests.stages.sources.forms import (
    picture,
    pictures,
    write_img2dataset,
)


def digests(folder: Path) -> dict[str, str]:
    """The sha256 of every file but those of the journal, by its path."""
    found = {}
    for path in sorted(folder.rglob("*")):
        name = str(path.relative_to(folder))
        if path.is_file() and not name.startswith("journal/"):
            found[name] = hashlib.sha256(path.read_bytes()).hexdigest()
    return found


def test_shards_and_keys_begin_with_the_name_of_their_source(tmp_path: Path, two: Sources) -> None:
    store = ingested(run_of(tmp_path / "w", two))
    assert sorted(store.done(IMAGES)) == ["coco-000000", "photos-000000", "photos-000001"]
    assert [row.key for row in read_images(store, "photos-000001")] == ["photos_000000000002"]
    assert [row.name for row in read_images(store, "photos-000001")] == ["000000000002.jpg"]
    given = read_given(store, "coco-000000")
    assert list(given) == ["coco_000000000001"]
    (region,) = given["coco_000000000001"].regions
    assert (region.phrase, region.box, region.source) == ("dog", (4, 5, 14, 25), "human")
    work = read_sources(store)
    assert [work.of(shard) for shard in ("coco-000000", "photos-000001")] == ["coco", "photos"]
    assert read_all_ids(store).images == {f"coco_{i:012d}": 100 + i for i in range(3)}
    assert shards_by_stem(store) == {"coco": 1, "photos": 2} and count_shards(store) == 3


def test_a_source_that_joins_later_changes_no_file_of_the_others(
    tmp_path: Path, two: Sources
) -> None:
    store = ingested(run_of(tmp_path / "w", two))
    before = digests(tmp_path / "w")
    web = write_img2dataset(tmp_path / "web", pictures(4), 2)
    three = {**two, "a-web": {"use": "img2dataset", "path": web}}
    todo = plan_run(
        store, run_of(tmp_path / "w", three), list_sources(run_of(tmp_path / "w", three))
    )
    assert (todo[0].done, todo[0].todo) == (3, 2)
    ingested(run_of(tmp_path / "w", three))
    after = digests(tmp_path / "w")
    assert {name: after.get(name) for name in before} == before
    assert sorted(store.done(IMAGES))[:2] == ["a-web-000000", "a-web-000001"]
    assert read_images(store, "a-web-000001")[0].key == "a-web_000000000002"


def test_images_that_a_source_gets_later_have_new_shards_of_that_source(
    tmp_path: Path, two: Sources
) -> None:
    store = ingested(run_of(tmp_path / "w", two))
    before = digests(tmp_path / "w")
    (tmp_path / "photos" / "new.jpg").write_bytes(picture(50))
    ingested(run_of(tmp_path / "w", two))
    assert read_images(store, "photos-000002")[0].key == "photos_new"
    after = digests(tmp_path / "w")
    assert {name: after.get(name) for name in before} == before


def test_the_only_source_of_earlier_runs_gets_a_name_and_keeps_its_shards_and_keys(
    tmp_path: Path, two: Sources
) -> None:
    photos = two["photos"]["path"]
    single = parse(compose(["source=folder", f"source.path={photos}", f"work={tmp_path / 'w'}"]))
    store = ingested(single)
    before = digests(tmp_path / "w")
    ingested(run_of(tmp_path / "w", two))
    assert sorted(store.done(IMAGES)) == ["coco-000000", "shard-000000"]
    assert read_images(store, "shard-000000")[0].key == "000000000000"
    assert read_sources(store).of("shard-000000") == "photos"
    after = digests(tmp_path / "w")
    assert {name: after.get(name) for name in before} == before
    (tmp_path / "photos" / "new.jpg").write_bytes(picture(50))
    ingested(run_of(tmp_path / "w", two))
    assert read_images(store, "shard-000001")[0].key == "new"


def test_keys_that_clash_with_those_of_the_first_source_end_the_run(
    tmp_path: Path, two: Sources
) -> None:
    photos = Path(str(two["photos"]["path"]))
    (photos / "coco_000000000001.jpg").write_bytes(picture(5))
    work = tmp_path / "w"
    ingested(parse(compose(["source=folder", f"source.path={photos}", f"work={work}"])))
    with pytest.raises(ValueError) as error:
        ingested(run_of(work, two))
    assert str(error.value) == (
        "sources.photos: coco-000000, shard-000000 all have an image of the key coco_000000000001;"
        " give another work, in which all keys begin with names"
    )


def test_two_label_files_of_one_folder_are_two_sources(tmp_path: Path, two: Sources) -> None:
    other = tmp_path / "other.json"
    other.write_text(json.dumps({"images": [], "annotations": [], "categories": []}))
    run = run_of(tmp_path / "w", {**two, "val": {**two["coco"], "instances": other}})
    assert list(run.all_sources) == ["photos", "coco", "val"]


def test_the_samples_of_each_source_are_counted_stage_by_stage(
    tmp_path: Path, two: Sources, caplog: pytest.LogCaptureFixture
) -> None:
    for file in (tmp_path / "photos").iterdir():
        file.write_bytes(b"no picture")
    store = ingested(run_of(tmp_path / "w", two))
    assert counts_by_source(store, []) == [
        {
            "source": "coco",
            "stages": [
                {
                    "stage": "ingest",
                    "folder": "images",
                    "done": 1,
                    "total": 1,
                    "samples": {"in": 3, "kept": 3, "failed": {}},
                }
            ],
        },
        {
            "source": "photos",
            "stages": [
                {
                    "stage": "ingest",
                    "folder": "images",
                    "done": 2,
                    "total": 2,
                    "samples": {"in": 3, "kept": 0, "failed": {"not_an_image": 3}},
                }
            ],
        },
    ]
    assert "sources.photos: none of its 3 images came in (not_an_image 3)" in caplog.text


@pytest.mark.subprocess
def test_failed_images_are_tried_again_in_shards_of_their_source(
    tmp_path: Path, two: Sources
) -> None:
    broken = tmp_path / "photos" / "000000000001.jpg"
    broken.write_bytes(b"no picture")
    run = run_of(tmp_path / "w", two)
    store = ingested(run)
    broken.write_bytes(picture(3))
    assert retry.withdraw(store, run, "ingest", None) == {"ingest": {"not_an_image": 1}}
    ingested(run)
    assert [row.key for row in read_images(store, "photos-000002")] == ["photos_000000000001"]


def test_the_source_of_a_key_is_the_one_whose_name_it_begins_with() -> None:
    work = WorkSources(
        {
            "a-web": StoredSource({}, "a-web"),
            "photos": StoredSource({}, "shard"),
            "coco": StoredSource({}, "coco"),
        }
    )
    keys = ("a-web_1_2", "coco_3", "web_1", "photos_1", "4")
    assert [work.of_key(key) for key in keys] == ["a-web", "coco", "photos", "photos", "photos"]
