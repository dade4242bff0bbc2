"""A work folder with the images of several sources, which keep apart and may get more."""

from __future__ import annotations

import hashlib
import json
from collections.abc import Mapping
from pathlib import Path

import pytest

from pipeline.config.compose import compose
from pipeline.config.parse import parse
from pipeline.config.run import RunConfig
from pipeline.ingest.assignment import assign_all, list_sources, naming
from pipeline.ingest.assignment_log import count_shards, shards_by_stem
from pipeline.ingest.by_source import counts_by_source
from pipeline.ingest.refused import Refused
from pipeline.ingest.several import IngestAll, SourceWork
from pipeline.ingest.source_files import names_of, read_listings
from pipeline.maintenance import retry
from pipeline.plan.shard_state import ShardState
from pipeline.refinement.executor import RunExecutor
from pipeline.refinement.planning import plan_run
from pipeline.storage.images import read_given, read_images
from pipeline.storage.layout import IMAGES
from pipeline.storage.source_ids import read_all_ids
from pipeline.storage.sources import StoredSource, WorkSources, read_sources
from pipeline.storage.store import Store
from stages.base import StageError
from tests.pipeline.release.rounds import Inline
from tests.stages.sources.forms import (
    picture,
    pictures,
    write_coco,
    write_folder,
    write_img2dataset,
)

Sources = Mapping[str, Mapping[str, object]]


def run_of(work: Path, sources: Sources, *more: str) -> RunConfig:
    words = [f"work={work}", "refine.rounds=0"]
    for name, settings in sources.items():
        words += [f"sources.{name}.{key}={value}" for key, value in settings.items()]
    return parse(compose([*words, *more]))


def ingested(run: RunConfig) -> Store:
    store = Store(run.work)
    RunExecutor(store, run, engine=Inline()).ingest(list_sources(run))
    return store


def digests(folder: Path) -> dict[str, str]:
    """The sha256 of every file but those of the journal, by its path."""
    found = {}
    for path in sorted(folder.rglob("*")):
        name = str(path.relative_to(folder))
        if path.is_file() and not name.startswith("journal/"):
            found[name] = hashlib.sha256(path.read_bytes()).hexdigest()
    return found


@pytest.fixture
def two(tmp_path: Path) -> Sources:
    """A folder and COCO annotations of pictures with the same names."""
    images = pictures(3)
    write_folder(tmp_path / "photos", images)
    write_folder(tmp_path / "coco", {name: picture(9 + i) for i, name in enumerate(images)})
    listed = [
        {"id": 100 + i, "file_name": name, "width": 48, "height": 40}
        for i, name in enumerate(images)
    ]
    box = {"id": 7, "image_id": 101, "category_id": 1, "bbox": [4, 5, 10, 20]}
    categories = [{"id": 1, "name": "dog"}]
    write_coco(tmp_path / "instances.json", listed, [box], categories=categories)
    return {
        "photos": {"use": "folder", "path": tmp_path / "photos", "shard_size": 2},
        "coco": {
            "use": "coco",
            "path": tmp_path / "coco",
            "instances": tmp_path / "instances.json",
        },
    }


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


def test_a_source_that_is_gone_or_has_another_name_is_refused_in_a_line(
    tmp_path: Path, two: Sources
) -> None:
    work = tmp_path / "w"
    ingested(run_of(work, two))
    photos = two["photos"]["path"]
    coco = {"coco": two["coco"]}
    for sources, message in (
        (
            coco,
            f"sources: {work} holds images of the source photos; add it again by "
            f"sources.photos.use=folder sources.photos.path={photos}, or give another work",
        ),
        (
            {**coco, "snaps": two["photos"]},
            f"sources.snaps: {work} holds these images as the source photos, and its keys begin "
            "with that name; call it photos, or give another work",
        ),
        (
            {**two, "coco": {**two["coco"], "path": photos}, "photos": {**two["photos"]}},
            f"sources.coco: the same images as sources.photos ({photos}) would come in twice; "
            "leave one of the two out",
        ),
        (
            {**two, "coco": {"use": "folder", "path": tmp_path / "coco"}},
            f"sources.coco.use=folder: {work} holds images of use=coco; give another work",
        ),
    ):
        with pytest.raises(ValueError) as error:
            run = run_of(work, sources)
            assign_all(Store(run.work), run.all_sources, {}, publish=False)
        assert str(error.value) == message
    single = parse(compose(["source=folder", f"source.path={photos}", f"work={work}"]))
    with pytest.raises(ValueError) as error:
        ingested(single)
    assert str(error.value) == (
        f"source.use=folder: {work} holds images of the sources coco, photos; give all of them as "
        "sources.NAME, or give another work"
    )


def test_a_source_without_a_name_must_be_among_those_with_names(
    tmp_path: Path, two: Sources
) -> None:
    work = tmp_path / "w"
    photos = two["photos"]["path"]
    ingested(parse(compose(["source=folder", f"source.path={photos}", f"work={work}"])))
    with pytest.raises(ValueError) as error:
        ingested(run_of(work, {"coco": two["coco"]}))
    assert str(error.value) == (
        f"sources: {work} holds images of a source that had no name; add it by "
        f"sources.NAME.use=folder sources.NAME.path={photos} with a NAME of your choice, or give "
        "another work"
    )


@pytest.mark.parametrize(
    ("words", "message"),
    [
        (
            ["sources.a_b.use=scenes"],
            "sources.a_b: use small letters, digits and single - between them for a name, at most "
            "32",
        ),
        (["sources.A.use=scenes"], "sources.A: use small letters"),
        (["sources.shard.use=scenes"], "sources.shard: shards of a run with one source"),
        (["sources.a.path=x"], "sources.a.use: not set; name a source (sources.a.use=folder)"),
        (
            ["sources.coco.use=scenes", "sources.cocoo.limit=3"],
            "sources.cocoo: no such source; did you mean sources.coco? "
            "A new source needs sources.cocoo.use=...",
        ),
        (["sources.a.use=scenes", "source.limit=3"], "source and sources: give one of the two"),
        (["source=null"], "source: not set; give it a value (source=folder source.path=DIR)"),
        (["sources.a=null"], "source: not set; give it a value"),
        (["sources.a.use=folder", "sources.a.pth=x"], "sources.a.pth: no such setting"),
        (
            ["sources.a.use=scenes", "sources.b.use=scenes"],
            "sources.b: the same images as sources.a",
        ),
    ],
)
def test_what_sources_may_not_be_is_said_in_a_line(words: list[str], message: str) -> None:
    values = compose(["sources.a=null", *words] if words == ["sources.a=null"] else words)
    if words == ["sources.a=null"]:
        values = {**values, "source": None}
    with pytest.raises(ValueError) as error:
        parse(values)
    assert str(error.value).startswith(message)


def test_two_label_files_of_one_folder_are_two_sources(tmp_path: Path, two: Sources) -> None:
    other = tmp_path / "other.json"
    other.write_text(json.dumps({"images": [], "annotations": [], "categories": []}))
    run = run_of(tmp_path / "w", {**two, "val": {**two["coco"], "instances": other}})
    assert list(run.all_sources) == ["photos", "coco", "val"]


def test_warnings_and_errors_of_a_source_name_it(
    tmp_path: Path, two: Sources, caplog: pytest.LogCaptureFixture
) -> None:
    (tmp_path / "photos" / "notes.txt").write_text("")
    listings = read_listings(run_of(tmp_path / "w", two))
    assert names_of(listings)["photos"] == [f"{i:012d}.jpg" for i in range(3)]
    assert f"sources.photos.path={tmp_path / 'photos'}: 1 files are no images" in caplog.text
    moved = {**two, "photos": {**two["photos"], "path": tmp_path / "nowhere"}}
    with pytest.raises(ValueError, match=r"^sources\.photos\.path=.*nowhere: no such folder"):
        list_sources(run_of(tmp_path / "w", moved))


def test_a_source_that_a_worker_cannot_open_ends_the_run_in_a_line(
    tmp_path: Path, two: Sources
) -> None:
    run = run_of(tmp_path / "w", two)
    names = list_sources(run)
    (tmp_path / "instances.json").rename(tmp_path / "elsewhere.json")
    config = run.sources["coco"]
    work = SourceWork(config, {"coco-000000": names["coco"]}, Refused.of(config, "coco"))
    with pytest.raises(StageError) as error:
        IngestAll(run.work, {"coco": work})("coco-000000", ShardState())
    assert str(error.value) == (
        f"sources.coco.instances={tmp_path / 'instances.json'}: no such file"
    )


def test_only_settings_in_a_message_are_renamed() -> None:
    with pytest.raises(ValueError) as error, naming("web"):
        raise ValueError("source.path=/a/source.old: only tables; use source=parquet")
    assert str(error.value) == (
        "sources.web.path=/a/source.old: only tables; use sources.web.use=parquet"
    )


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
