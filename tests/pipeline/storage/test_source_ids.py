"""The source's own ids in a work folder, and after its file was corrected."""

from __future__ import annotations

from pathlib import Path

from pipeline.storage.source_ids import publish_source_ids, read_source_ids
from pipeline.storage.store import Store
from stages.source import SourceIds, SourceWithIds
from stages.sources.coco import CocoConfig, CocoSource
from tests.stages.sources.forms import picture, write_coco, write_folder

DOG = {"id": 18, "name": "dog", "supercategory": "animal"}
CAT = {"id": 17, "name": "cat"}


def test_a_coco_source_gives_the_ids_of_its_files(tmp_path: Path) -> None:
    write_folder(tmp_path / "images", {"a.jpg": picture(1), "b.jpg": picture(2)})
    images = [{"id": 601, "file_name": "a.jpg"}, {"id": "left", "file_name": "b.jpg"}]
    instances = write_coco(tmp_path / "i.json", images, [], categories=[DOG, CAT])
    other = [{"id": 7, "file_name": "a.jpg"}]
    captions = write_coco(tmp_path / "c.json", other, [])
    config = CocoConfig(
        path=str(tmp_path / "images"), instances=str(instances), captions=str(captions)
    )
    source = CocoSource(config)
    assert isinstance(source, SourceWithIds)
    # The first file counts where two differ.
    assert source.ids() == SourceIds({"a.jpg": 601, "b.jpg": "left"}, [DOG, CAT])


def test_a_corrected_file_replaces_what_it_still_says(tmp_path: Path) -> None:
    store = Store(str(tmp_path / "work"))
    assert read_source_ids(store) == SourceIds()
    publish_source_ids(store, SourceIds())
    assert not store.exists("images/source_ids.json")
    publish_source_ids(store, SourceIds({"a.jpg": 1, "b.jpg": 2, "c.jpg": 3}, [DOG]))
    publish_source_ids(store, SourceIds({"a.jpg": 5, "d.jpg": 3}, [CAT]))
    # b is not listed any more and keeps its id; that of c has gone to d.
    assert read_source_ids(store) == SourceIds({"a.jpg": 5, "b.jpg": 2, "d.jpg": 3}, [CAT])
