"""Broken images are found and made again as they were, whatever the source has become."""

from pathlib import Path

import pytest

from pipeline.config.compose import compose
from pipeline.config.parse import parse
from pipeline.config.run import RunConfig
from pipeline.ingest.assignment import assign, ingest_state, list_source
from pipeline.ingest.shard import Ingest
from pipeline.maintenance import retry
from pipeline.maintenance.verify import verify, withdraw
from pipeline.plan.shard_state import ShardState
from pipeline.rows import ImageRow
from pipeline.storage.layout import IMAGES
from pipeline.storage.parquet import read_table
from pipeline.storage.store import Store
from stages.embedded.source import ScenesConfig, ScenesSource
from tests.system.conftest import published

LOST = "scene_000004.jpg"


@pytest.fixture
def photos(tmp_path: Path) -> Path:
    folder = tmp_path / "photos"
    folder.mkdir()
    source = ScenesSource(ScenesConfig(count=6))
    for item in source.read(source.list()):
        assert item.data
        (folder / item.name).write_bytes(item.data)
    return folder


@pytest.fixture
def run(tmp_path: Path, photos: Path) -> RunConfig:
    folder = ["source=folder", f"source.path={photos}", "source.shard_size=3"]
    return parse(compose([f"work={tmp_path / 'work'}", *folder]))


def ingest(run: RunConfig) -> list[str]:
    """Bring in what is to do; returns the shards that were."""
    store = Store(run.work)
    listing = assign(store, run.source, list_source(run.source))
    states = ingest_state(store, run.source, listing).states
    todo = [shard for shard in listing if not states[shard].has(IMAGES)]
    for shard in todo:
        Ingest(store.url, run.source, dict(listing))(shard, ShardState())
    return todo


def flip(run: RunConfig, name: str, at: int) -> None:
    path = Path(run.work) / name
    data = bytearray(path.read_bytes())
    data[at] ^= 4
    path.write_bytes(data)


def mended(run: RunConfig) -> list[str]:
    """Verify and run again; returns the files that were broken."""
    store = Store(run.work)
    problems = verify(store, deep=True).problems
    withdraw(store, problems)
    ingest(run)
    return [problem.file for problem in problems]


def rows(run: RunConfig, shard: str) -> dict[str, str | None]:
    found: list[ImageRow] = read_table(Store(run.work), f"images/{shard}.parquet", ImageRow)
    return {row.name: row.failed for row in found}


@pytest.mark.parametrize(
    ("file", "at"),
    [("shard-000001.tar", 1000), ("shard-000001.tar", 5), ("shard-000000.parquet", 99)],
)
def test_a_flipped_byte_is_named_and_the_file_comes_out_as_it_was(
    run: RunConfig, file: str, at: int
) -> None:
    ingest(run)
    clean = published(Path(run.work))
    flip(run, f"images/{file}", at)
    assert mended(run) == [f"images/{file}"]
    assert published(Path(run.work)) == clean


def test_a_broken_manifest_is_named_and_made_again(run: RunConfig) -> None:
    ingest(run)
    clean = published(Path(run.work))
    (manifest,) = (Path(run.work) / "images/manifests").glob("shard-000001.*")
    for at in (3, len(manifest.read_bytes()) // 2):
        flip(run, f"images/manifests/{manifest.name}", at)
        assert mended(run) == [f"images/manifests/{manifest.name}"]
        assert published(Path(run.work)) == clean


def test_a_missing_file_is_named_without_reading_every_byte(run: RunConfig) -> None:
    ingest(run)
    (Path(run.work) / "images/shard-000000.tar").unlink()
    problems = verify(Store(run.work), deep=False).problems
    assert [(p.file, p.problem) for p in problems] == [("images/shard-000000.tar", "missing")]


def test_what_is_left_of_a_tar_outlives_the_source(run: RunConfig, photos: Path) -> None:
    ingest(run)
    for path in photos.iterdir():
        path.write_bytes(b"")
    flip(run, "images/shard-000001.tar", 1000)
    assert mended(run) == ["images/shard-000001.tar"]
    assert rows(run, "shard-000001") == {
        "scene_000003.jpg": "empty_file",
        LOST: None,
        "scene_000005.jpg": None,
    }


def test_another_image_of_the_source_does_not_take_the_place_of_a_broken_one(
    run: RunConfig, photos: Path
) -> None:
    ingest(run)
    (photos / "scene_000003.jpg").write_bytes((photos / "scene_000000.jpg").read_bytes())
    flip(run, "images/shard-000001.tar", 1000)
    mended(run)
    assert rows(run, "shard-000001")["scene_000003.jpg"] == "source_changed"


@pytest.mark.subprocess
@pytest.mark.parametrize("file", ["shard-000001.tar", "shard-000001.parquet"])
def test_an_image_that_came_in_at_another_try_stays_there_when_its_first_shard_is_mended(
    run: RunConfig, photos: Path, file: str
) -> None:
    data = (photos / LOST).read_bytes()
    (photos / LOST).unlink()
    (photos / LOST).symlink_to("nowhere")
    ingest(run)
    (photos / LOST).unlink()
    (photos / LOST).write_bytes(data)
    assert retry.withdraw(Store(run.work), run, None, "no_such_reason") == {}
    assert retry.withdraw(Store(run.work), run, None, None) == {"ingest": {"unreadable": 1}}
    assert ingest(run) == ["shard-000002"]
    clean = published(Path(run.work))
    flip(run, f"images/{file}", 1000)
    mended(run)
    assert rows(run, "shard-000001")[LOST] == "unreadable" and rows(run, "shard-000002") == {
        LOST: None
    }
    if file.endswith(".tar"):
        assert published(Path(run.work)) == clean


def test_a_retry_of_an_unknown_stage_is_refused_with_those_there_are(run: RunConfig) -> None:
    ingest(run)
    with pytest.raises(ValueError, match="--stage ocr2: no such stage; known: ingest"):
        retry.withdraw(Store(run.work), run, "ocr2", None)


@pytest.mark.parametrize("broken", ["table", "manifest", "both"])
def test_images_that_the_tar_holds_need_no_source(
    run: RunConfig, photos: Path, broken: str
) -> None:
    ingest(run)
    clean = published(Path(run.work))
    if broken in ("table", "both"):
        flip(run, "images/shard-000001.parquet", 99)
    if broken in ("manifest", "both"):
        (manifest,) = (Path(run.work) / "images/manifests").glob("shard-000001.*")
        flip(run, f"images/manifests/{manifest.name}", 300)
    (photos / LOST).unlink()
    (photos / "scene_000003.jpg").write_bytes((photos / "scene_000000.jpg").read_bytes())
    mended(run)
    assert rows(run, "shard-000001") == {
        "scene_000003.jpg": None,
        LOST: None,
        "scene_000005.jpg": None,
    }
    assert published(Path(run.work))["images/shard-000001.tar"] == clean["images/shard-000001.tar"]
    if broken == "manifest":
        assert published(Path(run.work)) == clean


def test_a_broken_image_beside_a_lost_table_comes_from_the_source(run: RunConfig) -> None:
    ingest(run)
    clean = published(Path(run.work))
    flip(run, "images/shard-000001.tar", 2000)
    flip(run, "images/shard-000001.parquet", 99)
    mended(run)
    assert published(Path(run.work)) == clean
