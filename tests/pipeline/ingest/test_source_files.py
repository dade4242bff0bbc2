"""Files of the source that were replaced, deleted or added under a name that has come in."""

import os
import shutil
from pathlib import Path

import pytest

from pipeline.config.run import SourceConfig
from pipeline.ingest import source_files
from pipeline.ingest.assignment import assign
from pipeline.ingest.source_files import announce_changes, read_listing, record_again, record_files
from pipeline.storage.store import Store
from stages import registry
from stages.sources.coco import CocoConfig
from stages.sources.folder import FolderConfig, FolderSource
from stages.sources.img2dataset import Img2DatasetConfig
from stages.sources.parquet import ParquetConfig
from stages.sources.webdataset import WebDatasetConfig
from tests.stages.sources.forms import pictures, write_coco, write_folder, write_forms


def folder(path: Path, limit: int | None = None) -> SourceConfig:
    return SourceConfig(use="folder", options=FolderConfig(path=str(path)), limit=limit)


def ran(store: Store, config: SourceConfig) -> None:
    record_files(store, {"": read_listing(config)})


def told(store: Store, config: SourceConfig, caplog: pytest.LogCaptureFixture) -> list[str]:
    caplog.clear()
    announce_changes(store, {"": config}, {"": read_listing(config)})
    return [message for message in caplog.messages if "not as before" in message]


def test_what_changed_is_gone_or_came_is_told_in_one_line_with_what_to_do(
    tmp_path: Path, caplog: pytest.LogCaptureFixture
) -> None:
    photos = write_folder(tmp_path / "photos", pictures(4))
    store, config = Store(str(tmp_path / "w")), folder(photos)
    ran(store, config)
    assert told(store, config, caplog) == []
    (photos / "000000000001.jpg").write_bytes(b"another")
    (photos / "000000000002.jpg").write_bytes(b"another")
    (photos / "000000000003.jpg").unlink()
    (photos / "z.jpg").write_bytes(b"a new name is no change")
    assert told(store, config, caplog) == [
        f"source.path={photos}: 3 files are not as before: 2 changed in size or time since they "
        "came in (000000000001.jpg), 1 gone (000000000003.jpg); what came in stays as it is, "
        f"another work starts anew, `fld retry {store.url}` reads again what failed"
    ]


def test_a_work_folder_that_knows_no_files_yet_learns_them_and_tells_nothing(
    tmp_path: Path, caplog: pytest.LogCaptureFixture
) -> None:
    photos = write_folder(tmp_path / "photos", pictures(2))
    store, config = Store(str(tmp_path / "w")), folder(photos)
    assign(store, config, read_listing(config).names)
    assert told(store, config, caplog) == []
    ran(store, config)
    (photos / "000000000000.jpg").write_bytes(b"another")
    ran(store, config)
    assert "1 changed" in told(store, config, caplog)[0]
    shutil.rmtree(tmp_path / "w" / "journal")
    assert told(store, config, caplog) == []


def test_a_limit_neither_hides_files_nor_learns_those_behind_it(
    tmp_path: Path, caplog: pytest.LogCaptureFixture
) -> None:
    photos = write_folder(tmp_path / "photos", pictures(3))
    store = Store(str(tmp_path / "w"))
    ran(store, folder(photos, limit=2))
    assert told(store, folder(photos, limit=1), caplog) == []
    (photos / "000000000002.jpg").write_bytes(b"it did not come in yet")
    assert told(store, folder(photos), caplog) == []


def test_images_that_a_coco_file_names_and_that_come_later_are_told_with_the_way_to_them(
    tmp_path: Path, caplog: pytest.LogCaptureFixture
) -> None:
    images = pictures(2)
    photos = write_folder(tmp_path / "photos", dict(list(images.items())[:1]))
    listed = [{"id": i, "file_name": name} for i, name in enumerate(images)]
    file = write_coco(tmp_path / "instances.json", listed, [], categories=[])
    options = CocoConfig(path=str(photos), instances=str(file))
    store, config = Store(str(tmp_path / "w")), SourceConfig(use="coco", options=options)
    ran(store, config)
    assert told(store, config, caplog) == []
    (photos / "000000000001.jpg").write_bytes(images["000000000001.jpg"])
    (line,) = told(store, config, caplog)
    assert line.endswith(
        "1 files are not as before: 1 there now but missing before (000000000001.jpg); "
        f"`fld retry {store.url}` reads again what failed"
    )
    record_again(store, registry.load("coco")[0](options), ["000000000001.jpg"])
    assert told(store, config, caplog) == []


def test_a_file_that_stands_for_several_names_counts_once(
    tmp_path: Path, caplog: pytest.LogCaptureFixture
) -> None:
    write_forms(tmp_path / "d", pictures(6), 2)
    for use, options, file in (
        ("webdataset", WebDatasetConfig, "webdataset/00001.tar"),
        ("img2dataset", Img2DatasetConfig, "img2dataset/00001.parquet"),
        ("parquet", ParquetConfig, "train.parquet"),
    ):
        path = tmp_path / "d" / (use if use != "parquet" else "train.parquet")
        config = SourceConfig(use=use, options=options(path=str(path)))
        store = Store(str(tmp_path / f"work-{use}"))
        ran(store, config)
        os.utime(tmp_path / "d" / file, (1, 1))
        (line,) = told(store, config, caplog)
        assert ": 1 files are not as before: 1 changed" in line, line


def test_the_stamps_lie_in_the_journal_and_no_image_table_knows_of_them(tmp_path: Path) -> None:
    photos = write_folder(tmp_path / "photos", pictures(1))
    store = Store(str(tmp_path / "w"))
    ran(store, folder(photos))
    files = [path.relative_to(tmp_path / "w") for path in (tmp_path / "w").rglob("*.parquet")]
    assert [str(file) for file in files] == ["journal/files/000000.parquet"]
    assert isinstance(FolderSource(FolderConfig(path=str(photos))), source_files.FileSource)


@pytest.mark.parametrize("inside", ["", "/", "/rounds/00-a/shards", "/../w/images"])
def test_a_source_in_its_own_work_folder_is_refused(tmp_path: Path, inside: str) -> None:
    (tmp_path / "w").mkdir()
    (tmp_path / "link").symlink_to(tmp_path / "w")
    for work in (f"{tmp_path}/w", f"{tmp_path}/w/", f"{tmp_path}/link"):
        with pytest.raises(ValueError, match=r"it lies in the work folder .*; give another work"):
            assign(Store(work), folder(Path(f"{tmp_path}/w{inside}")), ["a.jpg"], publish=False)


def test_a_work_folder_in_its_source_or_beside_it_is_fine(tmp_path: Path) -> None:
    for work in ("data/work", "data-work", "data/../other"):
        assign(Store(f"{tmp_path}/{work}"), folder(tmp_path / "data"), ["a.jpg"], publish=False)
