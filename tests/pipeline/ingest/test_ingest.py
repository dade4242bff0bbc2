import io
from contextlib import nullcontext
from pathlib import Path

import numpy as np
import pytest
from PIL import Image

from pipeline.config.run import SourceConfig
from pipeline.ingest.assignment import assign, check_keys, list_source
from pipeline.ingest.assignment_log import ShardAssignment, append_assignments
from pipeline.ingest.shard import Ingest
from pipeline.plan.shard_state import ShardState
from pipeline.rows import ImageRow
from pipeline.storage.images import read_image_bytes, read_images
from pipeline.storage.layout import IMAGES
from pipeline.storage.parquet import read_table
from pipeline.storage.store import Store
from stages.sources.folder import FolderConfig
from stages.sources.webdataset import WebDatasetConfig
from tests.stages.sources.test_tars import tar


def picture(seed: int) -> bytes:
    buffer = io.BytesIO()
    Image.fromarray(np.random.default_rng(seed).integers(0, 255, (32, 32, 3), np.uint8)).save(
        buffer, "PNG"
    )
    return buffer.getvalue()


def folder(path: Path, shard_size: int = 2, limit: int | None = None) -> SourceConfig:
    return SourceConfig(
        use="folder", options=FolderConfig(path=str(path)), shard_size=shard_size, limit=limit
    )


def test_names_keep_their_shards_when_others_come(tmp_path: Path) -> None:
    store, config = Store(str(tmp_path / "w")), folder(tmp_path)
    first = assign(store, config, ["b", "d", "f"])
    assert first == {"shard-000000": ["b", "d"], "shard-000001": ["f"]}
    later = assign(store, config, ["a", "b", "c", "d", "e", "f"])
    assert later == {**first, "shard-000002": ["a", "c"], "shard-000003": ["e"]}
    assert assign(store, config, ["a", "b", "c", "d", "e", "f"]) == later


def test_a_plan_assigns_without_writing(tmp_path: Path) -> None:
    store = Store(str(tmp_path / "w"))
    assert list(assign(store, folder(tmp_path), ["a"], publish=False)) == ["shard-000000"]
    assert not (tmp_path / "w").exists()


def test_good_images_are_stored_and_bad_ones_are_rows_with_reasons(tmp_path: Path) -> None:
    photos, store = tmp_path / "photos", Store(str(tmp_path / "w"))
    photos.mkdir()
    contents = {"a.png": picture(0), "b.png": b"", "c.png": picture(1)[:2000], "d.png": picture(2)}
    for name, data in contents.items():
        (photos / name).write_bytes(data)
    config = folder(photos, shard_size=10)
    shards = assign(store, config, list_source(config))
    done = Ingest(store.url, config, shards)("shard-000000", ShardState())
    assert list(done.outputs) == [IMAGES]
    rows = {row.name: row for row in read_table(store, "images/shard-000000.parquet", ImageRow)}
    assert {name: row.failed for name, row in rows.items()} == {
        "a.png": None,
        "b.png": "empty_file",
        "c.png": "truncated",
        "d.png": None,
    }
    kept = read_images(store, "shard-000000")
    assert [row.name for row in kept] == ["a.png", "d.png"]
    assert list(read_image_bytes(store, "shard-000000")) == [contents["a.png"], contents["d.png"]]
    (manifest,) = store.manifests(IMAGES)
    assert manifest.samples == {
        "in": 4,
        "kept": 2,
        "dropped": {},
        "failed": {"empty_file": 1, "truncated": 1},
    }


def test_a_limit_takes_the_first_names(tmp_path: Path) -> None:
    for name in ("a.png", "b.png", "c.png"):
        (tmp_path / name).write_bytes(picture(0))
    assert list_source(folder(tmp_path, limit=2)) == ["a.png", "b.png"]


def test_a_file_that_is_gone_is_a_row_and_the_rest_of_its_shard_is_stored(tmp_path: Path) -> None:
    photos, store = tmp_path / "photos", Store(str(tmp_path / "w"))
    photos.mkdir()
    (photos / "a.png").write_bytes(picture(0))
    (photos / "b.png").symlink_to(tmp_path / "nowhere")
    config = folder(photos)
    Ingest(store.url, config, assign(store, config, ["a.png", "b.png"]))(
        "shard-000000", ShardState()
    )
    rows = read_table(store, "images/shard-000000.parquet", ImageRow)
    assert [(row.name, row.failed) for row in rows] == [("a.png", None), ("b.png", "unreadable")]


def test_another_source_on_the_same_work_folder_is_refused(tmp_path: Path) -> None:
    store = Store(str(tmp_path / "w"))
    assign(store, folder(tmp_path / "a"), ["x.jpg"])
    with pytest.raises(
        ValueError, match=r"source.path=.*/b: .* holds images of path=.*/a; give another work"
    ):
        assign(store, folder(tmp_path / "b"), ["x.jpg"])


@pytest.mark.parametrize("file", ["shard-000000.parquet", "shard-000001.parquet"])
def test_a_container_that_was_tried_again_keeps_its_samples_apart_when_a_table_is_lost(
    tmp_path: Path, file: str
) -> None:
    """The second shard of the tar stands for what failed in the first."""
    tars, store = tmp_path / "tars", Store(str(tmp_path / "w"))
    tars.mkdir()
    (tars / "x.tar").write_bytes(tar(("a.png", picture(0)), ("b.png", picture(1)[:2000])))
    config = SourceConfig(use="webdataset", options=WebDatasetConfig(path=str(tars)))
    Ingest(store.url, config, assign(store, config, ["x.tar"]))("shard-000000", ShardState())
    append_assignments(
        store, [ShardAssignment(shard="shard-000001", name="x.tar", replaces="shard-000000")]
    )
    (tars / "x.tar").write_bytes(tar(("a.png", picture(0)), ("b.png", picture(1))))
    listing = assign(store, config, ["x.tar"])
    Ingest(store.url, config, listing)("shard-000001", ShardState())
    tables = [f"images/shard-00000{i}.parquet" for i in range(2)]
    before = [read_table(store, table, ImageRow) for table in tables]
    (tmp_path / "w" / "images" / file).write_bytes(b"broken")
    store.withdraw(IMAGES, {file.partition(".")[0]: ()})
    Ingest(store.url, config, listing)(file.partition(".")[0], ShardState())
    after = [read_table(store, table, ImageRow) for table in tables]
    assert [[(r.name, bool(r.failed)) for r in rows] for rows in after] == [
        [("x.tar/a.png", False), ("x.tar/b.png", True)],
        [("x.tar/b.png", False)],
    ]
    assert after[1] == before[1]


def test_what_is_left_of_a_container_outlives_it(tmp_path: Path) -> None:
    tars, store = tmp_path / "tars", Store(str(tmp_path / "w"))
    tars.mkdir()
    (tars / "x.tar").write_bytes(tar(("a.png", picture(0)), ("b.png", picture(1))))
    config = SourceConfig(
        use="webdataset", options=WebDatasetConfig(path=str(tars), unique_keys=True)
    )
    listing = assign(store, config, ["x.tar"])
    Ingest(store.url, config, listing)("shard-000000", ShardState())
    (tars / "x.tar").unlink()
    for table in (None, b"broken"):
        store.withdraw(IMAGES, {"shard-000000": ()})
        if table:
            (tmp_path / "w" / "images" / "shard-000000.parquet").write_bytes(table)
        Ingest(store.url, config, listing)("shard-000000", ShardState())
        assert [row.key for row in read_images(store, "shard-000000")] == ["a", "b"]
        assert list(read_image_bytes(store, "shard-000000")) == [picture(0), picture(1)]


@pytest.mark.parametrize("unique", [True, False])
def test_a_source_whose_keys_are_not_as_unique_as_it_says_is_refused(
    tmp_path: Path, unique: bool
) -> None:
    tars, store = tmp_path / "tars", Store(str(tmp_path / "w"))
    tars.mkdir()
    for i in range(2):
        (tars / f"{i}.tar").write_bytes(tar(("same.png", picture(i)), (f"{i}.png", picture(i))))
    config = SourceConfig(
        use="webdataset", options=WebDatasetConfig(path=str(tars), unique_keys=unique)
    )
    listing = assign(store, config, list_source(config))
    for shard in listing:
        Ingest(store.url, config, listing)(shard, ShardState())
    message = (
        "source.unique_keys=True: shard-000000, shard-000001 all have an image of the key same"
    )
    with pytest.raises(ValueError, match=message) if unique else nullcontext():
        check_keys(store, config, list(listing))
